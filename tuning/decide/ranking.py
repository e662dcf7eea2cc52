"""Which trial is best so far, when they have trained for different times: pure functions of the study's record."""

import functools
import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tuning.record.trial import TrialRecord

PRIOR_PAIRS = 4
"""Pairs of scores that would have to speak for a slope as strongly as none at all is believed in."""


class Step(NamedTuple):
    """What trials gained from one rung to the next: a mean, and more or less of it the better they were before."""

    before: float
    """Mean score at the lower rung."""
    gain: float
    slope: float
    """Gain for each unit of score above `before`, at least -1: a better score never makes a worse estimate."""

    def after(self, score: float) -> float:
        """The score to expect at the next rung."""
        return score + self.gain + self.slope * (score - self.before)


def estimated_finals(trials: Sequence[TrialRecord]) -> dict[int, float]:
    """By number of trial: its score, taken up to the highest rung that any trial has reached; a complete trial's own.

    From each rung to the next by a straight line through the trials that have both scores, its slope shrunk towards a
    gain that is the same for all; where no trial has both, by nothing. Trials without a score are left out.
    """
    rungs = sorted({rung for trial in trials for rung in trial.scores})
    steps = {lower: _step(trials, lower, upper) for lower, upper in itertools.pairwise(rungs)}
    estimates = {}
    for trial in trials:
        if trial.score is not None:
            above = [] if trial.state == "complete" else rungs[rungs.index(trial.rung) : -1]
            estimates[trial.number] = functools.reduce(lambda score, rung: steps[rung].after(score), above, trial.score)
    return estimates


def best_first(trials: Sequence[TrialRecord], limits: Mapping[str, float] | None = None) -> list[TrialRecord]:
    """Trials that completed a schedule, by estimated final scores; the pruned come after these, the failed last.

    Those that keep the limits of costs come before those that do not, but for the failed.
    """
    estimates = estimated_finals(trials)

    def worth(trial: TrialRecord) -> tuple[bool, bool, bool, float]:
        cheap = within(trial.costs, limits or {})
        return trial.state != "failed", cheap, trial.state != "pruned", estimates[trial.number]

    return sorted((trial for trial in trials if trial.number in estimates), key=worth, reverse=True)


def within(costs: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    """Whether all limits are kept."""
    return all(costs[name] <= limit for name, limit in limits.items())


def _step(trials: Sequence[TrialRecord], lower: int, upper: int) -> Step:
    both = [(t.scores[lower], t.scores[upper] - t.scores[lower]) for t in trials if {lower, upper} <= t.scores.keys()]
    if not both:
        return Step(0.0, 0.0, 0.0)
    before, gain = (statistics.fmean(column) for column in zip(*both, strict=True))
    spread = sum((score - before) ** 2 for score, _ in both)
    together = sum((score - before) * (gained - gain) for score, gained in both)
    slope = together / spread * len(both) / (len(both) + PRIOR_PAIRS) if spread else 0.0
    return Step(before, gain, max(-1.0, slope))
