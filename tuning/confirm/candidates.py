"""What the winner is chosen from: the configurations that were trained to the top, and how sure their order is.

found = candidates(study, record)         # trials at the top, each with its repeats
compared = Comparison(study, record, found)
compared.p_best_C, compared.interval(0)
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from tuning.decide.pareto import limits_of
from tuning.decide.proposals import draws_of
from tuning.decide.ranking import complete_repeats, repeated_scores, standing_of, within
from tuning.record.folders import repeat_folder, trial_folder, weights_folder
from tuning.record.prices import costs_of
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState

# C configurations, S draws

DEFAULT = "default"
DRAWS = 4096
LEVEL = 0.9
"""Of the intervals that are stated."""


class TopRun(NamedTuple):
    """One run at the top."""

    seed: int
    score: float
    seconds: float
    folder: Path
    """Where its weights are, if they are kept."""

    @property
    def weights(self) -> Path | None:
        """The folder of its checkpoint; None where it is gone."""
        return weights_folder(self.folder)


class Candidate(NamedTuple):
    """A configuration that was trained to the top."""

    of: str
    """trial 7, or default."""
    parameters: dict[str, Any]
    runs: list[TopRun]
    costs: dict[str, float]
    eligible: bool
    """Whether it keeps the limits of costs, and so may win."""


def candidates(study: Study, record: Study | None) -> list[Candidate]:
    """Trials that were trained to the highest rung that any trial reached, each with its repeats, by their numbers."""
    trials = [trial for trial in study.trials() if trial.scores and trial.state is not TrialState.FAILED]
    if not study.space.searches_length:
        top = max((trial.rung for trial in trials), default=0)
        trials = [trial for trial in trials if trial.rung == top]
    limits, space = limits_of(study), study.space
    keeping = [trial for trial in trials if within(trial.costs, limits)] or trials
    found = []
    for trial in trials:
        of = DEFAULT if space.is_default(trial.parameters) else f"trial {trial.number}"
        runs = [_run_of(study, trial), *_repeats_of(record, trial.parameters)]
        found.append(Candidate(of, trial.parameters, runs, costs_of(study, trial.parameters), trial in keeping))
    if trials and not any(one.of == DEFAULT for one in found) and (runs := _repeats_of(record, space.default)):
        costs = costs_of(study, space.default)
        found.append(Candidate(DEFAULT, space.default, runs, costs, within(costs, limits)))
    return found


def _run_of(study: Study, trial: TrialRecord) -> TopRun:
    seed, folder = study.config(trial.number).seed, trial_folder(study.folder, trial.number)
    return TopRun(seed, trial.score or 0.0, trial.seconds, folder)


def _repeats_of(record: Study | None, parameters: dict[str, Any]) -> list[TopRun]:
    runs = [run for run in complete_repeats(record) if run.notes["parameters"] == parameters]
    return [
        TopRun(run.notes["seed"], run.score or 0.0, run.seconds, repeat_folder(record.folder, run.number))
        for run in runs
        if record is not None
    ]


class Comparison:
    """What the true means of configurations may be: the posterior of the model, given trials and repeats."""

    def __init__(self, study: Study, record: Study | None, compared: Sequence[Candidate]):
        self._standing = standing_of(study, repeated_scores(study, record))
        self.mean_C, self.covariance_CC = self._standing.at_reached([one.parameters for one in compared])
        self.eligible_C = np.array([one.eligible for one in compared])

    @property
    def tells_noise(self) -> bool:
        """Whether it is known how much seeds change a score."""
        return self._standing.tells_noise

    @cached_property
    def draws_SC(self) -> np.ndarray:
        """Joint draws of the means."""
        return draws_of(self.mean_C, self.covariance_CC, DRAWS, np.random.default_rng(0))

    @cached_property
    def p_best_C(self) -> np.ndarray:
        """The probability that each configuration is the best of the eligible."""
        places = np.where(self.eligible_C, self.draws_SC, -np.inf).argmax(axis=1)
        return np.bincount(places, minlength=len(self.mean_C)) / len(places)

    def sd_of_difference(self, one: int, other: int) -> float:
        """Of how much the first is above the other."""
        covariance = self.covariance_CC
        return float(np.sqrt(max(covariance[one, one] + covariance[other, other] - 2 * covariance[one, other], 1e-18)))

    def p_better(self, one: int, other: int) -> float:
        """The probability that the first is better than the other."""
        return float(stats.norm.cdf((self.mean_C[one] - self.mean_C[other]) / self.sd_of_difference(one, other)))

    def interval(self, one: int) -> tuple[float, float]:
        """Where the mean over seeds lies with probability LEVEL."""
        half = float(stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(max(self.covariance_CC[one, one], 0.0)))
        return float(self.mean_C[one]) - half, float(self.mean_C[one]) + half
