"""What the scores so far make believe of every configuration: one model over settings and lengths of schedule.

    belief = Belief(places_NP, sources_N, scores_N, sources=2)  # source 0: 12 epochs; the last, 1, the top: 36 epochs
    mean_Q, covariance_QQ = belief.at_top(places_QP)            # the expected mean over seeds at 36 epochs

A source is where a score comes from: a length of schedule. The score at the top is a Gaussian process f in the
settings (Matern 5/2, a length scale for each column). Another source t is believed to follow it: b_t f + d_t, where d_t
is a process of its own (Kennedy and O'Hagan 2000). A part of f and of each d_t belongs to a configuration alone,
whatever its neighbours score: where settings explain nothing, a configuration's scores still tell of it. Seeds add
noise, for each source its own, but much the same. All this is fitted to the scores, by maximum posterior; the priors
below say that shorter schedules rank much as longer ones do, and that noise is about a fifth of what configurations
differ by, or more where all score much the same.
"""

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

# N scores, P columns of a place, Q queried places, T sources


class Prior(NamedTuple):
    """A normal distribution of a parameter's logarithm."""

    middle: float
    sd: float


LENGTH = Prior(math.log(1.2), 1.0)
"""A length scale, in widths of the unit cube."""
SIZE = Prior(0.0, 1.0)
"""f's standard deviation, in standard deviations of the scores; what follows is in units of it."""
ALONE = Prior(math.log(0.05), 0.7)
"""Standard deviation of the part that belongs to a configuration alone."""
FOLLOWS = Prior(0.0, 0.3)
"""b_t."""
APART = Prior(math.log(0.25), 0.5)
"""d_t's standard deviation."""
NOISE = Prior(math.log(0.2), 0.7)
"""Standard deviation of seeds, in standard deviations of the scores."""
NOISE_OF = Prior(0.0, 0.3)
"""That of a source over that of all."""
PRIORS = {
    "lengths": LENGTH,
    "size": SIZE,
    "alone": ALONE,
    "follows": FOLLOWS,
    "apart": APART,
    "noise": NOISE,
    "of": NOISE_OF,
}
MIDDLE_VARIANCE = 1.0
"""Variance of the scores' middle, and of each source's distance from it, in the scores' variances."""
LEAST_SPREAD = 0.1
"""What configurations differ by is taken for this where their scores, 0 to 1, differ by less, maybe by noise alone."""
JITTER = 1e-6
STEPS = 60
"""Most steps of the fit."""
ROOT_5 = math.sqrt(5.0)


class Belief:
    """The model, fitted; a function of its scores alone."""

    def __init__(self, places_NP: np.ndarray, sources_N: np.ndarray, scores_N: np.ndarray, sources: int):
        """`sources_N` are numbers below `sources`, the top last. At least one score is needed."""
        self.sources, self.top = sources, sources - 1
        self._places, self._sources = _double(places_NP), torch.as_tensor(np.asarray(sources_N, dtype=int))
        self._middle, self._unit = float(np.mean(scores_N)), _spread(np.asarray(scores_N), np.asarray(sources_N))
        self._scores = (_double(scores_N) - self._middle) / self._unit
        with one_thread():
            self._fit()

    def at(self, places_QP: np.ndarray, sources_Q: np.ndarray, *, alone: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Expected means over seeds at these places and sources, and the covariance of what they may be.

        `alone`: with the part that belongs to each configuration alone; else what the settings explain.
        """
        places, sources = _double(places_QP), torch.as_tensor(np.asarray(sources_Q, dtype=int))
        with torch.no_grad(), one_thread():
            across = self._covariance(self._theta, places, sources, self._places, self._sources, alone)
            mean = self._middle + self._unit * across @ self._weights
            seen = torch.linalg.solve_triangular(self._root, across.T, upper=False)
            rest = self._covariance(self._theta, places, sources, places, sources, alone) - seen.T @ seen
        return mean.numpy(), self._unit**2 * rest.numpy()

    def at_top(self, places_QP: np.ndarray, *, alone: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """`at` the top."""
        return self.at(places_QP, np.full(len(places_QP), self.top), alone=alone)

    @cached_property
    def noise(self) -> np.ndarray:
        """Standard deviation of a run's score around the mean over seeds, by source."""
        known = self._parameters(self._theta)
        return np.asarray(self._unit * (known["noise"] + known["of"]).exp().numpy())

    @cached_property
    def correlations(self) -> np.ndarray:
        """How the means of each source go along with those at the top, over all configurations: 0 to 1."""
        between = self._between(self._theta)
        return np.asarray((between[-1] / torch.sqrt(between.diag() * between[-1, -1])).numpy())

    @cached_property
    def left_out(self) -> np.ndarray:
        """What is expected of each score by all others (Rasmussen and Williams 2006, equation 5.12), in their order."""
        inverse = torch.cholesky_inverse(self._root)
        return np.asarray(self._middle + self._unit * (self._scores - self._weights / inverse.diag()).numpy())

    # The model

    def _fit(self) -> None:
        """Finds the parameters of highest posterior density, from the middle of the priors."""
        middles, sds = (_double([getattr(prior, name) for prior in PRIORS.values()]) for name in Prior._fields)
        counts = torch.tensor([len(range(*part)) for part in self._parts()])
        middles, sds = middles.repeat_interleave(counts), sds.repeat_interleave(counts)

        def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
            theta = torch.tensor(values, requires_grad=True)
            root = torch.linalg.cholesky(self._noisy(theta))
            whitened = torch.linalg.solve_triangular(root, self._scores[:, None], upper=False)
            lost = (whitened**2).sum() / 2 + root.diag().log().sum() + (((theta - middles) / sds) ** 2).sum() / 2
            lost.backward()
            assert theta.grad is not None
            return lost.item(), theta.grad.numpy()

        bounds = [(middle - 4 * sd, middle + 4 * sd) for middle, sd in zip(middles, sds, strict=True)]
        found = minimize(loss, middles.numpy(), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
        self._theta = _double(found.x)
        with torch.no_grad():
            self._root = torch.linalg.cholesky(self._noisy(self._theta))
            self._weights = torch.cholesky_solve(self._scores[:, None], self._root)[:, 0]

    def _parts(self) -> list[tuple[int, int]]:
        """Where each kind of parameter lies in theta."""
        columns, others = self._places.shape[1], self.sources - 1
        ends = np.cumsum([0, columns, 1, 1, others, others, 1, self.sources]).tolist()
        return list(itertools.pairwise(ends))

    def _parameters(self, theta: Tensor) -> dict[str, Tensor]:
        """Logarithms, by name."""
        return {name: theta[low:high] for name, (low, high) in zip(PRIORS, self._parts(), strict=True)}

    def _between(self, theta: Tensor) -> Tensor:
        """Covariance of the sources, T x T."""
        known = self._parameters(theta)
        follows, apart = torch.cat([known["follows"].exp(), theta.new_ones(1)]), (2 * known["apart"]).exp()
        return torch.outer(follows, follows) + torch.diag(torch.cat([apart, theta.new_zeros(1)]))

    def _covariance(
        self,
        theta: Tensor,
        places1: Tensor,
        sources1: Tensor,
        places2: Tensor,
        sources2: Tensor,
        alone: bool = True,
    ) -> Tensor:
        """Of the means over seeds."""
        known = self._parameters(theta)
        apart = ((places1[:, None] - places2[None]) ** 2 * (-2 * known["lengths"]).exp()).sum(-1)
        steps = ROOT_5 * torch.sqrt(apart + 1e-12)
        shape = (1 + steps + steps**2 / 3) * torch.exp(-steps)
        if alone:
            shape = shape + (2 * known["alone"]).exp() * (apart < 1e-12)
        same = (sources1[:, None] == sources2[None]).to(shape)
        between = self._between(theta)[sources1][:, sources2]
        return (2 * known["size"]).exp() * shape * between + MIDDLE_VARIANCE * (1 + same)

    def _noisy(self, theta: Tensor) -> Tensor:
        """Of the scores."""
        known = self._parameters(theta)
        noise = (2 * (known["noise"] + known["of"])).exp()[self._sources]
        return self._covariance(theta, self._places, self._sources, self._places, self._sources) + torch.diag(
            noise + JITTER
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch compute in one thread: with matrices so small several wait for each other, and for the trials' own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _double(values: object) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=float))


def _spread(scores_N: np.ndarray, sources_N: np.ndarray) -> float:
    """The largest standard deviation of a source's scores, at least LEAST_SPREAD."""
    found = [float(scores_N[sources_N == s].std(ddof=1)) for s in np.unique(sources_N) if (sources_N == s).sum() > 2]
    return max([*found, LEAST_SPREAD])
