"""Which trial is best so far, although they have trained for different times, by what the scores make believe.

    best_trials(study)[0]                # the best trial
    standing_of(study).expected[7]       # the score to expect of trial 7's settings at the highest rung reached

Scores at different rungs do not compare, and the best of many noisy scores is mostly luck. So each trial is ranked by
the mean over seeds that tuning/decide/belief.py expects of its configuration.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import kendalltau

from tuning.decide.belief import Belief
from tuning.decide.places import Places
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState
from tuning.space.plan import Plan
from tuning.space.space import SearchSpace, key_of

MOST_SCORES = 300
"""Scores that the model is fitted to; the time that it takes grows with their third power."""
FEWEST_TO_TELL = 15
"""Scores at the first rung from which on it can be told whether the model ranks."""
USEFUL_TAU = 0.2
"""Kendall's tau between scores and what is expected of them by all others below which it does not."""


class Run(NamedTuple):
    """A score, and what it is the score of."""

    parameters: Mapping[str, Any]
    source: int
    """The place of its rung among the plan's; below 0 for a score of an earlier study."""
    score: float


class Standing:
    """What is known of the configurations of a study; a function of its record alone."""

    def __init__(self, space: SearchSpace, plan: Plan, trials: Sequence[TrialRecord], repeats: Sequence[Run] = ()):
        """`repeats` are runs beside the trials."""
        self.trials = list(trials)
        self.places = Places(space)
        # Where each trial has a length of its own, that length is one of the settings, and there is one source.
        self.rungs = plan.rungs or ()
        self.runs = [*runs_of(trials, self.rungs), *repeats]
        names = sorted({one.source for one in space.earlier})
        self._earlier = [Run(one.parameters, names.index(one.source) - len(names), one.score) for one in space.earlier]
        self._before = len(names)
        """Sources of earlier studies, which the model numbers first."""

    @property
    def top(self) -> int:
        """The source of the last rung."""
        return max(len(self.rungs) - 1, 0)

    @cached_property
    def reached(self) -> int:
        """The source of the highest rung that a run has reached."""
        return max((run.source for run in self.runs), default=0)

    @cached_property
    def _fitted(self) -> list[Run]:
        """What the model is fitted to: where there are too many scores the top's, then the best."""
        if len(self.runs) + len(self._earlier) <= MOST_SCORES:
            return [*self.runs, *self._earlier]
        order = sorted([*self.runs, *self._earlier], key=lambda run: (run.source, run.score), reverse=True)
        return order[:MOST_SCORES]

    @cached_property
    def belief(self) -> Belief:
        """Fitted to the scores; needs one at least."""
        runs = self._fitted
        places = self.places.of_all([run.parameters for run in runs])
        sources = np.array([run.source for run in runs]) + self._before
        return Belief(places, sources, np.array([run.score for run in runs]), self._before + self.top + 1)

    def at_reached(self, configurations: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Mean over seeds that is expected of configurations at the highest rung reached, and the covariance."""
        source = self._before + self.reached
        return self.belief.at(self.places.of_all(configurations), np.full(len(configurations), source))

    @property
    def noise(self) -> float:
        """Standard deviation of a run at the highest rung reached."""
        return float(self.belief.noise[self._before + self.reached])

    @cached_property
    def tells_noise(self) -> bool:
        """Whether how much seeds change a score is learned from the scores, not guessed: a configuration has two of the
        same length, or there are enough that the model explains."""
        seen = [(key_of(run.parameters), run.source) for run in self.runs]
        if len(set(seen)) < len(seen):
            return True
        return sum(run.source == 0 for run in self.runs) >= FEWEST_TO_TELL and self.ranks

    @property
    def correlations(self) -> list[float]:
        """How the means at each of the rungs go along with those at the last."""
        found: list[float] = self.belief.correlations[self._before :].tolist()
        return found

    @cached_property
    def ranks(self) -> bool:
        """Whether the model is to propose: it orders scores that it has not seen, or there are too few to tell."""
        chosen = [place for place, run in enumerate(self._fitted) if run.source == 0]
        if len(chosen) < FEWEST_TO_TELL:
            return True
        scores = [self._fitted[place].score for place in chosen]
        tau = float(kendalltau(scores, self.belief.left_out[chosen]).statistic)
        return not tau < USEFUL_TAU  # where all scores are equal there is none

    @cached_property
    def expected(self) -> dict[int, float]:
        """By trial number: the mean over seeds that is expected of its settings at the highest rung that any trial has
        reached. Trials without a score are left out."""
        scored = [trial for trial in self.trials if trial.score is not None]
        if not scored:
            return {}
        means = self.at_reached([trial.parameters for trial in scored])[0].tolist()
        return {trial.number: mean for trial, mean in zip(scored, means, strict=True)}


def complete_repeats(record: Study | None) -> list[TrialRecord]:
    """The repeats that ended well."""
    return [] if record is None else [run for run in record.trials() if run.state is TrialState.COMPLETE]


def repeated_scores(study: Study, record: Study | None) -> list[Run]:
    """The repeats' scores, as the model takes them."""
    top = max(len(study.plan.rungs or ()) - 1, 0)
    return [Run(run.notes["parameters"], top, run.score or 0.0) for run in complete_repeats(record)]


def runs_of(trials: Sequence[TrialRecord], rungs: Sequence[int]) -> list[Run]:
    """The scores of trials. One that failed because of its settings counts as bad as the worst at its rung."""
    sources = {rung: source for source, rung in enumerate(rungs)}
    runs = [
        Run(trial.parameters, sources.get(rung, 0), score) for trial in trials for rung, score in trial.scores.items()
    ]
    for trial in trials:
        if trial.state is TrialState.FAILED and trial.cause is not None and trial.cause.shows_bad_region:
            source = min(len(trial.scores), max(len(rungs) - 1, 0))
            worst = min((run.score for run in runs if run.source == source), default=0.0)
            runs.append(Run(trial.parameters, source, worst))
    return runs


_last: list[tuple[Any, Standing]] = []
"""The last standings that were asked for, with repeats and without: a decision asks several times, and only a rung's
end makes another."""


def standing(space: SearchSpace, plan: Plan, trials: Sequence[TrialRecord], repeats: Sequence[Run] = ()) -> Standing:
    """The standing of trials and repeats."""
    scores = [(t.parameters, dict(t.scores), t.state is TrialState.FAILED) for t in trials]
    key = id(space), plan.rungs, list(repeats), scores
    found = next((known for its_key, known in _last if its_key == key), None)
    if found is None:
        found = Standing(space, plan, trials, repeats)
        _last[:] = [(key, found), *_last[:1]]
    found.trials = list(trials)  # their states may have changed
    return found


def standing_of(study: Study, repeats: Sequence[Run] = ()) -> Standing:
    """The standing of a study's trials."""
    return standing(study.space, study.plan, study.trials(), repeats)


def best_first(
    study: Study,
    limits: Mapping[str, float] | None = None,
    *,
    most: int | None = None,
    repeats: Sequence[Run] = (),
) -> list[TrialRecord]:
    """Trials that completed a schedule: those of the highest rung first, at each the one of which most is expected.

    Trials within the limits of costs come before others; failed ones come last in any case. `most` of them, if given;
    `repeats` are runs beside the trials.
    """
    expected = standing_of(study, repeats).expected

    def worth(trial: TrialRecord) -> tuple[bool, bool, int, float]:
        cheap = not limits or within(trial.costs, limits)
        reached = 0 if study.space.searches_length else trial.rung
        return trial.state is not TrialState.FAILED, cheap, reached, expected[trial.number]

    scored = [trial for trial in study.trials() if trial.number in expected]
    return sorted(scored, key=worth, reverse=True)[:most]


def within(costs: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    """Whether all limits are kept."""
    return all(costs[name] <= limit for name, limit in limits.items())
