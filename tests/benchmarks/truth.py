"""A truth to search in: a continuous response that the recorded curves support, of which each replay draws another.

    task = Task.read(read_space(CURVES / "pedestrians.yaml"))
    truth = task.draw("gp", seed=3)  # or "trees"
    truth.mean({"learning_rate": 1e-3, ...}, "9")  # mean mAP over seeds after one schedule of 9 epochs
    truth.score({...}, "9", rng)  # that of one run, and its noise in standard deviations
    task.gates("gp")  # whether searches in it tell anything: each gate's figure, and whether it holds

The response at full length f is a Gaussian process (Matern 5/2, a length scale for each parameter) on the recorded
configurations' means, whose noise is known: a seed's variance over the number of seeds. The response on another path is
a + b f + d with a Gaussian process d of its own, so that a draw is joint over rungs and each draw has its own optimum.
The second truth is made of extremely randomised trees on resampled configurations, which are also given what a parabola
in all parameters guesses.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy.stats import kendalltau
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from tests.benchmarks.curve_table import Cube, Table
from tuning.space.space import SearchSpace

# N configurations, P parameters, F features of a prior's draw

Kind = Literal["gp", "trees"]
FEATURES = 2048
"""Random Fourier features of a draw from the prior."""
COMMON = 0.12
"""Share of a seed's variance that all configurations have in common."""
ALONG = {"3+6": 0.35, "3+6+18": 0.35, "9+18": 0.35}
"""How a run's noise correlates with that of the cycle before: on paths that `continue`. 0 for the others."""
FOLDS = 10
TREES = 15
RANDOM = 30
"""Random runs whose best is compared between truth and table."""


def path_end(path: str) -> int:
    """The epochs behind the weights at a path's end: 9 for 3+6, for 9 and for 27@9, the middle of a schedule of 27."""
    return sum(map(int, path.split("@")[-1].split("+")))


@dataclass(frozen=True)
class Response:
    """Means of configurations on one path, and what is known of their noise."""

    places_NP: np.ndarray
    """In the unit cube."""
    means_N: np.ndarray
    seeds_N: np.ndarray
    """Runs behind each mean."""
    sd_N: np.ndarray
    """Standard deviation of one run, smooth in the mean."""

    @property
    def variance_N(self) -> np.ndarray:
        """Of the means."""
        return self.sd_N**2 / self.seeds_N

    def part(self, some: Sequence[int]) -> "Response":
        """Some of the configurations."""
        return Response(*(column[some] for column in (self.places_NP, self.means_N, self.seeds_N, self.sd_N)))


def fit_gp(places_NP: np.ndarray, values_N: np.ndarray, variance_N: np.ndarray) -> GaussianProcessRegressor:
    """A Gaussian process with a length scale for each parameter, by maximum likelihood from three starts."""
    scale = float(values_N.std()) or 1.0
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(np.ones(places_NP.shape[1]), (0.05, 30.0), nu=2.5)
    model = GaussianProcessRegressor(kernel, alpha=variance_N / scale**2, n_restarts_optimizer=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a length scale at its bound: a parameter that does nothing
        model.fit(places_NP, (values_N - values_N.mean()) / scale)
    model.mean_, model.scale_ = float(values_N.mean()), scale
    return model


def gp_predict(model: GaussianProcessRegressor, places_NP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of the response (without a run's noise)."""
    mean_N, sd_N = model.predict(places_NP, return_std=True)
    return model.mean_ + model.scale_ * mean_N, model.scale_ * sd_N


class GpDraw:
    """One draw of a Gaussian process given its data, as a function (Wilson et al. 2020, Matheron's rule)."""

    def __init__(self, model: GaussianProcessRegressor, rng: np.random.Generator):
        kernel = model.kernel_
        variance, lengths_P = kernel.k1.constant_value, np.atleast_1d(kernel.k2.length_scale)
        # The spectral density of Matern 5/2 is a multivariate t with 5 degrees of freedom.
        normal_FP = rng.standard_normal((FEATURES, len(lengths_P)))
        self._waves_FP = normal_FP / lengths_P / np.sqrt(rng.chisquare(5, (FEATURES, 1)) / 5)
        self._phases_F = rng.uniform(0, 2 * np.pi, FEATURES)
        self._weights_F = rng.standard_normal(FEATURES) * np.sqrt(2 * variance / FEATURES)
        self._model = model
        noise_N = rng.standard_normal(len(model.X_train_)) * np.sqrt(model.alpha)
        self._gap = GaussianProcessRegressor(kernel, alpha=model.alpha, optimizer=None)
        self._gap.fit(model.X_train_, model.y_train_ - self._prior(model.X_train_) - noise_N)

    def _prior(self, places_NP: np.ndarray) -> np.ndarray:
        return np.cos(places_NP @ self._waves_FP.T + self._phases_F) @ self._weights_F

    def __call__(self, places_NP: np.ndarray) -> np.ndarray:
        inside = self._prior(places_NP) + self._gap.predict(places_NP)
        return self._model.mean_ + self._model.scale_ * inside


class TreesDraw:
    """Extremely randomised trees on the configurations `some`, with some configurations twice and some not at all.

    They are given the parameters, what a parabola in them guesses and, of a path below the top, the draw `above` it. A
    tree answers with recorded means alone: a draw has no peak that nothing recorded supports.
    """

    def __init__(
        self, response: Response, some: np.ndarray, rng: np.random.Generator, above: "TreesDraw | None" = None
    ):
        seen_N = response.means_N + rng.standard_normal(len(response.means_N)) * np.sqrt(response.variance_N)
        places_NP, seen_N = response.places_NP[some], seen_N[some]
        self._above = above
        self._parabola = make_pipeline(PolynomialFeatures(2), RidgeCV(np.logspace(-4, 1, 11)))
        guesses_N = cross_val_predict(self._parabola, places_NP, seen_N, cv=GroupKFold(FOLDS), groups=some)
        self._parabola.fit(places_NP, seen_N)
        self._trees = ExtraTreesRegressor(TREES, random_state=int(rng.integers(2**31)), n_jobs=1)
        self._trees.fit(self._features(places_NP, guesses_N), seen_N)

    def _features(self, places_NP: np.ndarray, guesses_N: np.ndarray) -> np.ndarray:
        above = [] if self._above is None else [self._above(places_NP)]
        return np.column_stack([places_NP, guesses_N, *above])

    def __call__(self, places_NP: np.ndarray) -> np.ndarray:
        return np.asarray(self._trees.predict(self._features(places_NP, self._parabola.predict(places_NP))))


Draw = GpDraw | TreesDraw


class Truth:
    """One draw: what every configuration scores on every path."""

    def __init__(self, task: "Task", kind: Kind, seed: int):
        self.task = task
        rng = np.random.default_rng([seed, 0 if kind == "gp" else 1])
        self._common = {path: float(rng.standard_normal()) for path in task.responses}
        if kind == "gp":
            top = GpDraw(task.model, rng)
            self._paths: dict[str, Any] = {}
            for path in task.responses:
                if path == task.top:
                    self._paths[path] = top
                else:
                    self._paths[path] = _Sum(top, *task.lines[path], GpDraw(task.rests[path], rng))
        else:
            some = rng.random(len(task.table.places))  # the same configurations for all paths
            self._paths = task.trees(some, rng)

    def means(self, places_NP: np.ndarray, path: str) -> np.ndarray:
        """Mean mAP over seeds at the end of a path."""
        return np.clip(self._paths[path](np.atleast_2d(places_NP)), 0.0, 1.0)

    def mean(self, parameters: Mapping[str, Any], path: str) -> float:
        """`means` of one configuration."""
        return float(self.means(self.task.place(parameters), path)[0])

    def score(
        self, parameters: Mapping[str, Any], path: str, rng: np.random.Generator, before: float = 0.0
    ) -> tuple[float, float]:
        """mAP of one run at a path's end, and its noise in standard deviations; `before` is the last cycle's noise."""
        mean, along = self.mean(parameters, path), ALONG.get(path, 0.0)
        own = along * before + np.sqrt(1 - along**2) * float(rng.standard_normal())
        noise = np.sqrt(1 - COMMON) * own + np.sqrt(COMMON) * self._common[path]
        return mean + float(self.task.sd(path, np.array([mean]))[0] * noise), own

    @cached_property
    def best(self) -> float:
        """The highest mean at full length: of 4,096 Sobol points, and of those near the best of them."""
        rng = np.random.default_rng(0)
        points, values = self.task.points, self.means(self.task.pool, self.task.top)
        for spread in (0.1, 0.03):
            leaders = points[np.argsort(values)[-20:]]
            near = np.clip(leaders.repeat(50, 0) + spread * rng.standard_normal((1000, points.shape[1])), 0, 0.999)
            near = self.task.snap(near)
            near_values = self.means(self.task.places_at(near), self.task.top)
            points, values = np.vstack([points, near]), np.append(values, near_values)
        return float(values.max())


class _Sum:
    """a + b f + d."""

    def __init__(self, top: Draw, a: float, b: float, rest: Draw):
        self._top, self._a, self._b, self._rest = top, a, b, rest

    def __call__(self, places_NP: np.ndarray) -> np.ndarray:
        return self._a + self._b * self._top(places_NP) + self._rest(places_NP)


@dataclass(frozen=True)
class Task:
    """A space, the responses recorded in it, and the models that draws are made of."""

    space: SearchSpace
    table: Table

    @classmethod
    def read(cls, space: SearchSpace) -> "Task":
        return cls(space, Table.read(space))

    @property
    def top(self) -> str:
        """The path of one schedule of full length."""
        return str(self.table.rungs[-1])

    @property
    def paths(self) -> list[tuple[str, int]]:
        """The paths that searches take, with the epoch at which they are scored."""
        low, middle, top = self.table.rungs
        ends = [str(low), str(middle), str(top), f"{low}+{middle - low}", f"{middle}+{top - middle}"]
        cut = [(f"{top}@{rung}", rung) for rung in (low, middle)]
        return [*((path, path_end(path)) for path in [*ends, f"{low}+{middle - low}+{top - middle}"]), *cut]

    @cached_property
    def cube(self) -> Cube:
        """Where the space's configurations lie."""
        return Cube(self.space)

    def place(self, parameters: Mapping[str, Any]) -> np.ndarray:
        """A configuration in the unit cube."""
        return self.cube.place(parameters)

    def places_at(self, points_NP: np.ndarray) -> np.ndarray:
        """The places of what points stand for: where the space is plain, snapped points themselves."""
        return points_NP if self.cube.is_plain else self.cube.places_at(points_NP)

    def snap(self, points_NP: np.ndarray) -> np.ndarray:
        """Where the space is plain, choices and whole numbers put where `to_unit` puts them."""
        if not self.cube.is_plain:
            return points_NP
        snapped = points_NP.copy()
        for column, parameter in enumerate(self.space.parameters):
            if parameter.kind == "categorical":
                count = len(parameter.choices)
                snapped[:, column] = (np.floor(snapped[:, column] * count) + 0.5) / count
            elif parameter.kind == "int":
                span = float(parameter.high - parameter.low)
                snapped[:, column] = np.floor(snapped[:, column] * (span + 1)) / span
        return snapped

    @cached_property
    def pool(self) -> np.ndarray:
        """The places of `points`."""
        return self.places_at(self.points)

    @cached_property
    def points(self) -> np.ndarray:
        """4,096 Sobol points, as the space has them."""
        from scipy.stats import qmc

        sobol = qmc.Sobol(len(self.space.parameters), scramble=True, seed=1).random_base2(12)
        return self.snap(np.minimum(sobol, 0.999))

    @cached_property
    def responses(self) -> dict[str, Response]:
        """By path."""
        found = {}
        for path, epoch in self.paths:
            scores = self.table.scores(path.split("@")[0], epoch).groupby("configuration")
            means, counts = scores.mean(), scores.count()
            numbers = list(means.index)
            found[path] = Response(
                self.table.places[numbers], means.to_numpy(), counts.to_numpy(), self.sd(path, means.to_numpy())
            )
        return found

    @cached_property
    def _noise(self) -> dict[str, np.ndarray]:
        """By path: a parabola of a run's log variance over its configuration's mean."""
        fits = {}
        for path, epoch in self.paths:
            scores = self.table.scores(path.split("@")[0], epoch).groupby("configuration")
            several = scores.count() > 1
            means, variances = scores.mean()[several], scores.var()[several]
            freedom = (scores.count()[several] - 1).to_numpy(dtype=float)
            # The mean of log(chi2 / n) with n degrees of freedom is below 0 by this much.
            from scipy.special import digamma

            shift = digamma(freedom / 2) - np.log(freedom / 2)
            logs = np.log(np.maximum(variances.to_numpy(), 1e-8)) - shift
            fits[path] = np.polyfit(means.to_numpy(), logs, 2, w=np.sqrt(freedom))
        return fits

    def sd(self, path: str, means_N: np.ndarray) -> np.ndarray:
        """Standard deviation of a run around its configuration's mean."""
        return np.sqrt(np.exp(np.clip(np.polyval(self._noise[path], means_N), np.log(9e-6), np.log(2.5e-3))))

    @cached_property
    def model(self) -> GaussianProcessRegressor:
        """The response at full length."""
        response = self.responses[self.top]
        return fit_gp(response.places_NP, response.means_N, response.variance_N)

    @cached_property
    def lines(self) -> dict[str, tuple[float, float]]:
        """a and b of each other path."""
        return {path: self._line(path) for path in self.responses if path != self.top}

    def _line(self, path: str) -> tuple[float, float]:
        response = self.responses[path]
        b, a = np.polyfit(gp_predict(self.model, response.places_NP)[0], response.means_N, 1)
        return float(a), float(b)

    @cached_property
    def rests(self) -> dict[str, GaussianProcessRegressor]:
        """What the line leaves of each other path."""
        models = {}
        for path, (a, b) in self.lines.items():
            response = self.responses[path]
            top_N, sd_N = gp_predict(self.model, response.places_NP)
            variance_N = response.variance_N + (b * sd_N) ** 2
            models[path] = fit_gp(response.places_NP, response.means_N - a - b * top_N, variance_N)
        return models

    def trees(
        self, some: np.ndarray, rng: np.random.Generator, train: Sequence[int] | None = None
    ) -> dict[str, TreesDraw]:
        """A joint draw of trees, by path. `some`, 0 to 1, says which configurations it sees, of those of `train`."""
        drawn: dict[str, TreesDraw] = {}
        for path in sorted(self.responses, key=lambda path: path != self.top):
            response = self.responses[path] if train is None else self.responses[path].part(train)
            chosen = (some * len(response.means_N)).astype(int)
            drawn[path] = TreesDraw(response, chosen, rng, drawn.get(self.top))
        return drawn

    def draw(self, kind: Kind, seed: int) -> Truth:
        """A truth; the same for the same seed."""
        return Truth(self, kind, seed)

    @cached_property
    def pace(self) -> dict[tuple[Any, ...], float]:
        """Seconds an epoch over the mean of all, by batch size and images per identity."""
        rows = self.table.rows.dropna(subset=["seconds"])
        by_number = rows.groupby("configuration")["seconds"].median()
        keys = [self._pace_key(self.table.configurations[number]) for number in by_number.index]
        seconds: dict[tuple[Any, ...], list[float]] = {}
        for key, value in zip(keys, by_number, strict=True):
            seconds.setdefault(key, []).append(float(value))
        mean = float(by_number.mean())
        return {key: float(np.median(values)) / mean for key, values in seconds.items()}

    @staticmethod
    def _pace_key(parameters: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(parameters.get(name) for name in ("batch_size", "images_per_identity"))

    def expected_cost(self, parameters: Mapping[str, Any], epochs: int) -> float:
        """What so many epochs take at the recorded pace, in full lengths of a configuration of mean pace."""
        return epochs / path_end(self.top) * self._pace_of(parameters)

    def _pace_of(self, parameters: Mapping[str, Any]) -> float:
        """By batch size and images per identity; where the space is not plain, by all settings."""
        if self.cube.is_plain:
            return self.pace[self._pace_key(parameters)]
        return float(np.exp(self._log_pace.predict(self.place(parameters)[None])[0]))

    @cached_property
    def _log_pace(self) -> RidgeCV:
        """A plane through the logarithms of the recorded configurations' paces, over their mean."""
        seconds = self.table.rows.dropna(subset=["seconds"]).groupby("configuration")["seconds"].median()
        places_NP = self.table.places[list(seconds.index)]
        return RidgeCV(np.logspace(-4, 1, 11)).fit(places_NP, np.log(seconds / seconds.mean()))

    def gates(self, kind: Kind) -> dict[str, tuple[float, bool]]:
        """Figures that say whether the truth stands for the table, each with whether it suffices."""
        figures: dict[str, tuple[float, bool]] = {}
        for path in (self.top, *(str(rung) for rung in self.table.rungs[:-1])):
            r2, tau, tau_best, inside = self._held_out(kind, path)
            figures[f"R2 {path}"] = r2, r2 >= 0.95
            figures[f"tau {path}"] = tau, tau >= 0.8
            if path == self.top:
                figures[f"tau best third {path}"] = tau_best, tau_best >= 0.6
            figures[f"90 % intervals {path}"] = inside, 0.85 <= inside <= 0.95
        for rung in self.table.rungs[:-1]:
            recorded = self.table.kendall("restart", rung)[0]
            simulated = self._simulated_tau(kind, str(rung))
            figures[f"tau {rung} with final, simulated - recorded"] = (
                simulated - recorded,
                abs(simulated - recorded) <= 0.05,
            )
        simulated, recorded = self._best_of(kind)
        noise = float(self.sd(self.top, np.array([recorded]))[0])
        figures[f"best of {RANDOM} at random, simulated - recorded"] = (
            simulated - recorded,
            abs(simulated - recorded) <= noise,
        )
        return figures

    def _held_out(self, kind: Kind, path: str) -> tuple[float, float, float, float]:
        """Ten-fold: R2 and Kendall's tau (all, and the best third) of means, share of runs in their 90 % intervals."""
        response = self.responses[path]
        guess_N, sd_N = np.empty(len(response.means_N)), np.empty(len(response.means_N))
        for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(response.places_NP):
            part = response.part(train)
            if kind == "gp":
                model = fit_gp(part.places_NP, part.means_N, part.variance_N)
                guess_N[test], sd_N[test] = gp_predict(model, response.places_NP[test])
            else:
                draws = []
                for n in range(10):
                    rng = np.random.default_rng(n)
                    trees = self.trees(rng.random(len(train)), rng, train)
                    draws.append(trees[path](response.places_NP[test]))
                guess_N[test], sd_N[test] = np.mean(draws, 0), np.std(draws, 0)
        means_N = response.means_N
        rest = float(((means_N - guess_N) ** 2).sum() / ((means_N - means_N.mean()) ** 2).sum())
        best = np.argsort(means_N)[-len(means_N) // 3 :]
        half_N = 1.645 * np.sqrt(sd_N**2 + response.variance_N)
        inside = float((np.abs(means_N - guess_N) <= half_N).mean())
        taus = [float(kendalltau(means_N[chosen], guess_N[chosen]).statistic) for chosen in (slice(None), best)]
        return 1 - rest, taus[0], taus[1], inside

    def _best_of(self, kind: Kind, draws: int = 20) -> tuple[float, float]:
        """The mean of the best score of RANDOM random runs at full length: simulated, and recorded."""
        rng, response = np.random.default_rng(0), self.responses[self.top]

        def best(means_N: np.ndarray) -> float:
            means_N = rng.choice(means_N, (500, RANDOM))
            return float((means_N + self.sd(self.top, means_N) * rng.standard_normal(means_N.shape)).max(1).mean())

        # The recorded means have their own noise, which would make the best too good.
        noise = float(np.mean(response.variance_N)) / float(np.var(response.means_N))
        recorded = response.means_N.mean() + np.sqrt(1 - noise) * (response.means_N - response.means_N.mean())
        simulated = [best(self.draw(kind, seed).means(self.pool, self.top)) for seed in range(draws)]
        return float(np.mean(simulated)), best(recorded)

    def _simulated_tau(self, kind: Kind, path: str, draws: int = 20) -> float:
        """Kendall's tau between a rung's and the final scores of simulated runs of the recorded configurations."""
        numbers, taus = list(self.table.seeds), []
        places_NP = self.table.places[numbers]
        for seed in range(draws):
            truth, rng = self.draw(kind, seed), np.random.default_rng(seed)
            ends = []
            for each in (path, self.top):
                mean_N = truth.means(places_NP, each)
                ends.append(mean_N + self.sd(each, mean_N) * rng.standard_normal(len(mean_N)))
            taus.append(float(kendalltau(*ends).statistic))
        return float(np.mean(taus))


def describe_gates(figures: Mapping[str, tuple[float, bool]]) -> Sequence[str]:
    """A line for each gate."""
    return [f"{name:45s} {value:6.3f}  {'holds' if holds else 'FAILS'}" for name, (value, holds) in figures.items()]
