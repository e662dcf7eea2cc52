"""How sure a comparison of configurations is, from several runs of each: a pure function of their scores.

Two things are drawn at random: the validation identities, which could have been others (a bootstrap), and the seeds.
Three seeds say little about how uncertain their mean is. So the variance between seeds is taken from all configurations
together, and counts as uncertain itself. Candidates that a search chose are mostly alike. So their true means are drawn
from one normal distribution, whose width is estimated with them (Gelman et al., Bayesian Data Analysis, 3rd ed.,
section 5.4): a lucky mean is not believed whole.

    sure = Comparison(scores_CSI, queries_I, chosen=[True, True, False])
    sure.p_best_C, sure.interval(0)
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from reid_train.measure.intervals import resampled_means

DRAWS = 10_000
WIDTHS = np.linspace(0.0, 3.0, 61)
"""Widths of the distribution of true means that are tried, in standard deviations between seeds; half-normal prior."""
LEVEL = 0.95


# C configurations, S seeds, I identities, B draws
class Comparison:
    """Draws of what the configurations' true scores may be."""

    def __init__(
        self,
        scores_CSI: np.ndarray,
        queries_I: Sequence[int],
        *,
        chosen: Sequence[bool],
        eligible: Sequence[bool] | None = None,
        seed: int = 0,
    ):
        """`scores_CSI` are means over each identity's queries; `chosen` tells which configurations a search chose.

        `eligible`, where given, tells which may be the best: the others are there to be compared with.

        With a single seed there is nothing to learn the variance between seeds from: it is then left out.
        """
        self.means_C = np.average(scores_CSI.mean(axis=1), axis=1, weights=queries_I)
        self.eligible_C = np.array([True] * len(self.means_C) if eligible is None else eligible)
        rng = np.random.default_rng(seed)
        runs_CS = np.average(scores_CSI, axis=2, weights=queries_I)
        self.draws_BC = _draw_means(runs_CS, np.array(chosen), rng)
        self.draws_BC = self.draws_BC + _draw_identities(scores_CSI.mean(axis=1), np.array(queries_I), rng)

    @cached_property
    def p_best_C(self) -> np.ndarray:
        """The probability that each configuration is the best of the eligible."""
        places = np.where(self.eligible_C, self.draws_BC, -np.inf).argmax(axis=1)
        return np.bincount(places, minlength=len(self.means_C)) / len(places)

    def interval(self, configuration: int, other: int | None = None) -> tuple[float, float]:
        """The 95 % interval of a configuration's score, or of how much it is above another's."""
        values_B = self.draws_BC[:, configuration] - (0.0 if other is None else self.draws_BC[:, other])
        low, high = np.quantile(values_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    def p_better(self, configuration: int, other: int) -> float:
        """The probability that a configuration is better than another."""
        return float((self.draws_BC[:, configuration] > self.draws_BC[:, other]).mean())


def _draw_means(runs_CS: np.ndarray, chosen_C: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """True means on these identities, B x C."""
    count, seeds = runs_CS.shape
    means_C = runs_CS.mean(axis=1)
    if seeds == 1:
        return np.repeat(means_C[None], DRAWS, axis=0)
    squares = float(((runs_CS - means_C[:, None]) ** 2).sum())
    variance_B = max(squares, 1e-12) / rng.chisquare(count * (seeds - 1), DRAWS)
    draws_BC: np.ndarray = means_C + rng.normal(size=(DRAWS, count)) * np.sqrt(variance_B / seeds)[:, None]
    alike = np.flatnonzero(chosen_C)
    if len(alike) > 1:
        draws_BC[:, alike] = _draw_alike(means_C[alike], variance_B, seeds, rng)
    return draws_BC


def _draw_alike(means_C: np.ndarray, variance_B: np.ndarray, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """True means that come from one normal distribution: its width, its middle, then the means."""
    count, middle = len(means_C), means_C.mean()
    squares = ((means_C - middle) ** 2).sum()
    total_BW = variance_B[:, None] * (WIDTHS**2 + 1 / seeds)
    log_BW = -(WIDTHS**2) / 2 - (count - 1) / 2 * np.log(total_BW) - squares / (2 * total_BW)
    weight_BW = np.exp(log_BW - log_BW.max(axis=1, keepdims=True)).cumsum(axis=1)
    places_B = (weight_BW < rng.random((DRAWS, 1)) * weight_BW[:, -1:]).sum(axis=1)
    between_B, within_B = variance_B * WIDTHS[places_B] ** 2, variance_B / seeds
    middle_B = middle + rng.normal(size=DRAWS) * np.sqrt((between_B + within_B) / count)
    share_B = between_B / (between_B + within_B)
    spread_B = np.sqrt(share_B * within_B)
    expected_BC = middle_B[:, None] + share_B[:, None] * (means_C - middle_B[:, None])
    return expected_BC + rng.normal(size=(DRAWS, count)) * spread_B[:, None]


def _draw_identities(scores_CI: np.ndarray, queries_I: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How far the configurations' means move when other identities are drawn: the same ones for all, B x C."""
    if len(queries_I) < 2:
        return np.zeros((DRAWS, len(scores_CI)))
    means_BC = resampled_means(scores_CI.T, queries_I, resamples=DRAWS, rng=rng)
    return means_BC - np.average(scores_CI, axis=1, weights=queries_I)
