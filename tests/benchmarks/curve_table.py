"""The recorded curves as a table to look up: what a configuration scored, by seed, mode and rung."""

import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tuning.decide.places import Places
from tuning.space.batches import nearest_trainable
from tuning.space.parameter import Parameter
from tuning.space.schedules import Mode, schedules
from tuning.space.space import SearchSpace

CURVES = Path(__file__).parent / "curves"
COLUMNS = (
    "configuration",
    "seed",
    "path",
    "epoch",
    "val_mAP",
    "val_rank1",
    "loss",
    "metric_loss",
    "accuracy",
    "active_triplets",
    "learning_rate",
    "seconds",
)
"""Columns of the CSV; `path` is the lengths of the cycles that lead there, the present one last, and `epoch` counts the
epochs behind the weights, over all of them."""
MODES: tuple[Mode, ...] = ("restart", "continue", "cut")


def path_to(rung: int, rungs: Sequence[int], mode: Mode = "continue") -> str:
    """The lengths in epochs of the cycles that lead to a rung, e.g. 1+2+6; of `cut`, the one cycle that passes it."""
    plan = schedules(rungs, mode)
    ends = next(schedule.ends for schedule in plan if schedule.ends >= rung)
    cycles = [schedule for schedule in plan if schedule.ends <= ends]
    return "+".join(str(schedule.num_epochs) for schedule in (cycles if mode == "continue" else cycles[-1:]))


def to_unit(parameter: Parameter, value: Any) -> float:
    """A parameter's value as a place in [0, 1]: along its range, or among its choices."""
    if parameter.kind == "categorical":
        return (parameter.choices.index(value) + 0.5) / len(parameter.choices)
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low))


def from_unit(parameter: Parameter, place: float) -> Any:
    """The value at a place in [0, 1)."""
    if parameter.kind == "categorical":
        return parameter.choices[int(place * len(parameter.choices))]
    if parameter.kind == "int":
        return int(parameter.low) + int(place * (parameter.high - parameter.low + 1))
    if parameter.log:
        return float(f"{parameter.low * (parameter.high / parameter.low) ** place:.4g}")
    return float(f"{parameter.low + place * (parameter.high - parameter.low):.4g}")


def configuration_at(space: SearchSpace, point: Sequence[float]) -> dict[str, Any]:
    """The configuration that a point in [0, 1)^P stands for, P parameters: every point has one that can be trained.

    What a condition rules out is left out, whatever the point has there.
    """
    chosen: dict[str, Any] = {}
    for parameter, place in zip(space.parameters, point, strict=True):
        if parameter.applies({**space.settings, **chosen}):
            chosen[parameter.name] = nearest_trainable(space, parameter, from_unit(parameter, place), chosen)
    return chosen


def sobol_configurations(space: SearchSpace, count: int) -> list[dict[str, Any]]:
    """The space's first trials, then `count` points of a scrambled Sobol sequence (seed 0)."""
    from scipy.stats import qmc

    points = qmc.Sobol(len(space.parameters), scramble=True, seed=0).random_base2(int(np.ceil(np.log2(count))))
    return [*space.first_trials, *(configuration_at(space, point) for point in points[:count].tolist())]


@dataclass(frozen=True)
class Cube:
    """Where a space's configurations lie, for models of the response: Places, or `to_unit` of each parameter.

    The latter where the space is `plain`, as the first tables were: what was measured with them stays comparable.
    """

    space: SearchSpace

    @cached_property
    def is_plain(self) -> bool:
        """Whether all parameters always apply, and each is one column."""
        parameters = self.space.parameters
        return not any(parameter.when for parameter in parameters) and len(self._places.keys) == len(parameters)

    @cached_property
    def _places(self) -> Places:
        return Places(self.space)

    def place(self, values: Mapping[str, Any]) -> np.ndarray:
        """A configuration's."""
        if self.is_plain:
            return np.array([to_unit(parameter, values[parameter.name]) for parameter in self.space.parameters])
        return self._places.of(values)

    def places_at(self, points_NP: np.ndarray) -> np.ndarray:
        """The places of the configurations that points stand for."""
        return np.array([self.place(configuration_at(self.space, point)) for point in points_NP.tolist()])


@dataclass(frozen=True)
class Table:
    """Recorded curves of one space."""

    space: SearchSpace
    configurations: list[dict[str, Any]]
    """Parameter values, by number."""
    rows: pd.DataFrame
    """One row an epoch, with COLUMNS."""

    @classmethod
    def read(cls, space: SearchSpace) -> "Table":
        """The table recorded for this space."""
        description = json.loads((CURVES / f"{space.name}.json").read_text())
        rows = pd.read_csv(CURVES / f"{space.name}.csv.gz")
        return cls(space, description["configurations"], rows)

    @cached_property
    def places(self) -> np.ndarray:
        """The configurations in the unit cube: configurations x columns."""
        cube = Cube(self.space)
        return np.array([cube.place(values) for values in self.configurations])

    @cached_property
    def curves(self) -> dict[tuple[str, int], dict[tuple[int, int], float]]:
        """mAP of a run, (configuration, seed), by path and epoch."""
        found: dict[tuple[str, int], dict[tuple[int, int], float]] = defaultdict(dict)
        columns = ["configuration", "seed", "path", "epoch", "val_mAP"]
        for number, seed, path, epoch, score in self.rows[columns].dropna().itertuples(index=False):
            found[path, int(epoch)][number, seed] = score
        return dict(found)

    @cached_property
    def seeds(self) -> dict[int, list[int]]:
        """The seeds that all paths were recorded with, by configuration."""
        paths = [path_to(self.rungs[-1], self.rungs[place:]) for place in range(len(self.rungs))]
        runs = set.intersection(*(set(self.curves.get((path, self.rungs[-1]), {})) for path in paths))
        return {n: sorted(seed for number, seed in runs if number == n) for n in sorted({n for n, _ in runs})}

    @property
    def complete(self) -> list[int]:
        """The configurations that can be replayed."""
        return list(self.seeds)

    @property
    def rungs(self) -> tuple[int, ...]:
        assert isinstance(self.space.study.rungs, tuple)
        return self.space.study.rungs

    def scores(self, path: str, epoch: int) -> pd.Series:
        """mAP on a path, by configuration and seed; without those that diverged or were not recorded."""
        known = self.curves.get((path, epoch), {})
        runs = pd.MultiIndex.from_tuples(list(known) or [(0, 0)], names=["configuration", "seed"])
        return pd.Series(list(known.values()), runs[: len(known)], dtype=float)

    def final_means(self) -> pd.Series:
        """Mean mAP over all seeds of a complete schedule of full length, by configuration."""
        top = self.rungs[-1]
        return self.scores(str(top), top).groupby("configuration").mean()

    def best_first(self) -> list[int]:
        """Configurations by their mean score over all seeds at full length, best first."""
        return [int(number) for number in self.final_means().sort_values(ascending=False).index]

    def kendall(self, mode: Mode, rung: int, rungs: Sequence[int] | None = None) -> tuple[float, int]:
        """Kendall's tau between a rung's scores and the same runs' final ones, and the number of runs.

        Of the runs recorded on all paths: those of the best configurations alone would be a narrower choice.
        """
        from scipy.stats import kendalltau

        rungs = rungs or self.rungs
        ends = [self.scores(path_to(epochs, rungs, mode), epochs) for epochs in (rung, rungs[-1])]
        pairs = pd.concat(ends, axis=1, join="inner")
        pairs = pairs[[seed in self.seeds.get(number, ()) for number, seed in pairs.index]]
        return float(kendalltau(pairs.iloc[:, 0], pairs.iloc[:, 1]).statistic), len(pairs)

    def describe(self) -> str:
        """How well each rung ranks, by mode."""
        lines = [f"{len(self.rows)} epochs of {self.rows['configuration'].nunique()} configurations"]
        for rungs in (self.rungs, self.rungs[1:]):
            for mode, rung in itertools.product(MODES, rungs[:-1]):
                tau, runs = self.kendall(mode, rung, rungs)
                lines.append(
                    f"{mode} {list(rungs)}, rung {rung}: Kendall's tau with the final score {tau:.2f} (n={runs})"
                )
        return "\n".join(lines)
