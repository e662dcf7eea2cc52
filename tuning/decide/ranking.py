"""Which trial is best so far, although they have trained for different times. Pure functions of the study's record.

    best_first(study.trials())[0]  # the best trial

Scores at different rungs do not compare. So each trial is ranked by its expected score at the highest rung: its score,
and what other trials gained from there.
"""

import heapq
import itertools
import statistics
from collections.abc import Mapping, Sequence
from functools import cached_property
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
    """By trial number: the score to expect at the highest rung that any trial has reached; a complete trial's own.

    From each rung to the next the estimate follows a straight line through the trials that have both scores. Its slope
    is shrunk towards 0, a gain that is the same for all. Where no trial has both scores, the estimate is the score.
    Trials without a score are left out.
    """
    return _standing(trials).estimates


def by_score(trials: Sequence[TrialRecord], rung: int) -> list[TrialRecord]:
    """The trials that have a score at the rung, best first; the earlier first where scores are equal."""
    now = {trial.number: trial for trial in trials}
    return [now[number] for number in _standing(trials).order(rung)]


class _Standing:
    """What follows from trials' scores, and from which of them are complete, alone."""

    def __init__(self, trials: Sequence[TrialRecord]):
        self.trials = list(trials)
        self._orders: dict[int, list[int]] = {}

    def holds_for(self, trials: Sequence[TrialRecord]) -> bool:
        """Whether these trials have the same scores, and the same of them are complete."""
        if len(trials) != len(self.trials):
            return False
        changed = [(new, old) for new, old in zip(trials, self.trials, strict=True) if new is not old]
        holds = all(
            new.scores is old.scores and new.number == old.number and new.is_complete == old.is_complete
            for new, old in changed
        )
        if holds and changed:
            self.trials = list(trials)
        return holds

    def order(self, rung: int) -> list[int]:
        """Numbers of the trials with a score at the rung, best first."""
        if rung not in self._orders:
            pairs = sorted((-trial.scores[rung], trial.number) for trial in self.trials if rung in trial.scores)
            self._orders[rung] = [number for _, number in pairs]
        return self._orders[rung]

    @cached_property
    def estimates(self) -> dict[int, float]:
        """`estimated_finals`."""
        rungs = sorted({rung for trial in self.trials for rung in trial.scores})
        gains = {lower: _gain(self.trials, lower, upper) for lower, upper in itertools.pairwise(rungs)}
        to_come = {rung: [gains[between] for between in rungs[place:-1]] for place, rung in enumerate(rungs)}
        estimates = {}
        for trial in self.trials:
            if (score := trial.score) is not None:
                for gain in () if trial.is_complete else to_come[trial.rung]:
                    score = gain.after(score)
                estimates[trial.number] = score
        return estimates


_last = [_Standing([])]
"""The last standing that was asked for: a decision asks several times, and only a rung's end makes another."""


def _standing(trials: Sequence[TrialRecord]) -> _Standing:
    if not _last[0].holds_for(trials):
        _last[0] = _Standing(trials)
    return _last[0]


def best_first(
    trials: Sequence[TrialRecord], limits: Mapping[str, float] | None = None, *, most: int | None = None
) -> list[TrialRecord]:
    """Trials that completed a schedule, the best estimated final score first; then the pruned, then the failed.

    Trials within the limits of costs come first; failed ones come last in any case. `most` of them, if given.
    """
    estimates = estimated_finals(trials)

    def worth(trial: TrialRecord) -> tuple[bool, bool, bool, float]:
        cheap = not limits or within(trial.costs, limits)
        state = trial.state
        return state is not TrialState.FAILED, cheap, state is not TrialState.PRUNED, estimates[trial.number]

    scored = [trial for trial in trials if trial.number in estimates]
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
