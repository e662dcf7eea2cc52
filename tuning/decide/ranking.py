"""Which trial is best so far, although they have trained for different times. Pure functions of the study's record.

    best_first(study.trials())[0]  # the best trial

Scores at different rungs do not compare. So each trial is ranked by its expected score at the highest rung: its score,
and what other trials gained from there.
"""

import functools
import heapq
import itertools
import operator
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tuning.record.trial import TrialRecord, TrialState

PRIOR_PAIRS = 4
"""How strongly a slope of 0 is believed in: as if so many pairs of scores spoke for it."""


class Gain(NamedTuple):
    """What trials gained from one rung to the next: a mean, and more or less of it the better they were before."""

    before: float
    """Mean score at the lower rung."""
    mean: float
    slope: float
    """Gain for each unit of score above `before`, at least -1: a better score never makes a worse estimate."""

    def after(self, score: float) -> float:
        """The score to expect at the next rung."""
        return score + self.mean + self.slope * (score - self.before)


def estimated_finals(trials: Sequence[TrialRecord]) -> dict[int, float]:
    """Trial number -> its expected score at the highest rung that any trial has reached; a complete trial's own score.

    From each rung to the next the estimate follows a straight line through the trials that have both scores. Its slope
    is shrunk towards 0, a gain that is the same for all. Where no trial has both scores, the estimate is the score.
    Trials without a score are left out. A decision asks for the same trials several times: the last answer is kept.
    """
    known, _ = _last[0]
    if len(known) != len(trials) or not all(map(operator.is_, known, trials)):
        _last[0] = [*trials], _estimate(trials)
    return _last[0][1]


_last: list[tuple[list[TrialRecord], dict[int, float]]] = [([], {})]
"""The last trials and their estimates. Records are never changed: a changed trial has another record."""


def _estimate(trials: Sequence[TrialRecord]) -> dict[int, float]:
    rungs = sorted({rung for trial in trials for rung in trial.scores})
    gains = {lower: _gain(trials, lower, upper) for lower, upper in itertools.pairwise(rungs)}
    estimates = {}
    for trial in trials:
        if trial.score is not None:
            complete = trial.state is TrialState.COMPLETE
            above = [] if complete else rungs[rungs.index(trial.rung) : -1]
            estimates[trial.number] = functools.reduce(lambda score, rung: gains[rung].after(score), above, trial.score)
    return estimates


def best_first(
    trials: Sequence[TrialRecord], limits: Mapping[str, float] | None = None, *, most: int | None = None
) -> list[TrialRecord]:
    """Trials that completed a schedule, the best estimated final score first; then the pruned, then the failed.

    Trials within the limits of costs come first; failed ones come last in any case. `most` of them, if given.
    """
    estimates = estimated_finals(trials)

    def worth(trial: TrialRecord) -> tuple[bool, bool, bool, float]:
        cheap = not limits or within(trial.costs, limits)
        failed, pruned = trial.state is TrialState.FAILED, trial.state is TrialState.PRUNED
        return not failed, cheap, not pruned, estimates[trial.number]

    scored = (trial for trial in trials if trial.number in estimates)
    return sorted(scored, key=worth, reverse=True) if most is None else heapq.nlargest(most, scored, key=worth)


def within(costs: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    """Whether all limits are kept."""
    return all(costs[name] <= limit for name, limit in limits.items())


def _gain(trials: Sequence[TrialRecord], lower: int, upper: int) -> Gain:
    reached = [trial.scores for trial in trials if lower in trial.scores and upper in trial.scores]
    both = [(scores[lower], scores[upper] - scores[lower]) for scores in reached]
    if not both:
        return Gain(0.0, 0.0, 0.0)
    before, mean = (statistics.fmean(column) for column in zip(*both, strict=True))
    spread = sum((score - before) ** 2 for score, _ in both)
    together = sum((score - before) * (gained - mean) for score, gained in both)
    slope = together / spread * len(both) / (len(both) + PRIOR_PAIRS) if spread else 0.0
    return Gain(before, mean, max(-1.0, slope))
