"""What this project searched with until November 2026, kept as a rival: asynchronous successive halving.

former = Halving(task, seed=0)  # TPE's proposals, `continue`, best 1 in 4, audits, noise runs and a confirmation

A trial that is not among the best 1 in `reduction` of its rung pauses (Li et al. 2020, arXiv 1810.05934), and goes on
once it has come to be, because more trials have got there. The trial whose final score is estimated to be the best goes
on at once. Every n-th trial is audited: it goes to the top whatever its scores, and where those show that a rung does
not rank, all do. Final scores are estimated along straight lines from rung to rung, and TPE is shown the estimates.
"""

import itertools
import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState
from scipy.stats import kendalltau

from tests.benchmarks.curve_table import path_to
from tests.benchmarks.rivals import suggested
from tests.benchmarks.simulation import Part, whole
from tests.benchmarks.truth import Task, path_end
from tuning.decide.optuna_private import RewritableStudy
from tuning.space.schedules import Mode, lengths

NOISE_RUNS = 3
"""Of the default, before anything else."""
CONFIRMED, CONFIRMING_SEEDS = 3, 3
"""The best few, and the runs that each gets in the end."""
PRIOR_PAIRS = 4
"""How strongly a slope of 0 is believed in, in pairs of scores."""
USEFUL_TAU, FEWEST_PAIRS = 0.4, 5
STARTUP = 5


@dataclass
class Trial:
    """A configuration, and how far it got."""

    number: int
    parameters: Mapping[str, Any]
    scores: dict[int, float] = field(default_factory=dict)
    """By rung."""
    paused: bool = False
    promoted: bool = False
    """For its score, at any rung."""
    last: Part | None = None

    @property
    def rung(self) -> int:
        return max(self.scores, default=0)


class Halving:
    """The search; without confirmation the trial is handed over whose estimate is the best of those at the top."""

    def __init__(
        self,
        task: Task,
        seed: int,
        *,
        sampler: str = "tpe",
        promotion: Mode = "continue",
        reduction: int = 4,
        audit: int = 8,
        confirmed: bool = True,
    ):
        self._task, self._seed, self._sampler, self._promotion = task, seed, sampler, promotion
        self._reduction, self._audit = reduction, audit
        self._noise_left = NOISE_RUNS if confirmed else 0
        self._reserved = CONFIRMED * CONFIRMING_SEEDS if confirmed else 0
        self._rungs = task.table.rungs
        self._trials = list[Trial]()
        self._shown = RewritableStudy([StudyDirection.MAXIMIZE])
        self._climbing = list[Trial]()
        self._to_confirm: list[Mapping[str, Any]] | None = None
        self._confirming = list[Part]()

    def next_part(self, left: float) -> Part | None:
        if self._noise_left:
            if left < self._noise_left + self._reserved + 1:
                return None
            self._noise_left -= 1
            return whole(self._task.space.first_trials[0], self._task.top, "noise")
        steps = lengths(self._rungs, self._promotion)
        if left > self._reserved + max(steps) / path_end(self._task.top):
            trial = self._climbing.pop() if self._climbing else self._promotable() or self._new()
            trial.paused = False
            rung = next(rung for rung in self._rungs if rung > trial.rung)
            path = path_to(rung, self._rungs, self._promotion)
            return Part(trial.parameters, path, steps[self._rungs.index(rung)], trial.last, trial)
        if self._to_confirm is None:
            best = self._best_first()[:CONFIRMED] if self._reserved else []
            self._to_confirm = [trial.parameters for trial in best for _ in range(CONFIRMING_SEEDS)]
        return whole(self._to_confirm.pop(0), self._task.top, "repeat") if self._to_confirm else None

    def tell(self, part: Part) -> None:
        trial = part.about
        if not isinstance(trial, Trial):
            self._confirming += [part] if part.about == "repeat" else []
            return
        rung = path_end(part.path)
        trial.last, trial.scores[rung] = part, part.score
        if rung == self._rungs[-1]:
            return
        audited = self._audit > 0 and (trial.number + 1) % self._audit == 0
        trial.paused = not audited and not self._ranks_badly(rung)
        if not trial.paused or self._promotable(promote=False) is trial:
            trial.promoted |= trial.paused
            trial.paused = False
            self._climbing.append(trial)

    def choice(self) -> Mapping[str, Any] | None:
        groups: dict[str, list[Part]] = {}
        for part in self._confirming:
            groups.setdefault(json.dumps(part.parameters, sort_keys=True), []).append(part)
        if groups:
            return max(groups.values(), key=lambda runs: statistics.fmean(run.score for run in runs))[0].parameters
        complete = [trial for trial in self._best_first() if trial.rung == self._rungs[-1]]
        return complete[0].parameters if complete and not self._reserved else None

    # Promotion

    def _promotable(self, promote: bool = True) -> Trial | None:
        """The paused trial that goes on now; None for none."""
        found = self._next_up()
        if found is not None and promote:
            found.promoted = True
        return found

    def _next_up(self) -> Trial | None:
        if any(trial.rung == self._rungs[-1] for trial in self._trials) and self._best_first()[0].paused:
            return self._best_first()[0]
        for rung in reversed(self._rungs[:-1]):
            there = [trial for trial in self._trials if rung in trial.scores]
            ranked = sorted(there, key=lambda trial: (-trial.scores[rung], trial.number))
            for trial in ranked[: len(ranked) // self._reduction]:
                if trial.paused and trial.rung == rung:
                    return trial
        return None

    def _ranks_badly(self, rung: int) -> bool:
        """Whether the rung's Kendall's tau with the top is surely too low, by the trials that were not chosen for it.

        The 90 % interval is that of Fieller, Hartley and Pearson (1957).
        """
        top = self._rungs[-1]
        fair = [t.scores for t in self._trials if top in t.scores and rung in t.scores and not t.promoted]
        if len(fair) < FEWEST_PAIRS:
            return False
        tau = float(kendalltau([scores[rung] for scores in fair], [scores[top] for scores in fair]).statistic)
        spread = 1.645 * math.sqrt(0.437 / (len(fair) - 4))
        return not math.isnan(tau) and math.tanh(math.atanh(max(-0.999, min(0.999, tau))) + spread) < USEFUL_TAU

    # Estimates

    def _best_first(self) -> list[Trial]:
        estimates = self._estimates()
        scored = [trial for trial in self._trials if trial.number in estimates]
        return sorted(scored, key=lambda trial: -estimates[trial.number])

    def _estimates(self) -> dict[int, float]:
        """By number: the score to expect at the highest rung that any trial has reached."""
        reached = sorted({rung for trial in self._trials for rung in trial.scores})
        lines = {lower: self._line(lower, upper) for lower, upper in itertools.pairwise(reached)}
        estimates = {}
        for trial in self._trials:
            if trial.scores:
                score = trial.scores[trial.rung]
                for rung in reached[reached.index(trial.rung) : -1]:
                    before, gained, slope = lines[rung]
                    score += gained + slope * (score - before)
                estimates[trial.number] = score
        return estimates

    def _line(self, lower: int, upper: int) -> tuple[float, float, float]:
        """Mean score at the lower rung, mean gain from there, and the gain's slope, shrunk towards 0."""
        both = [(t.scores[lower], t.scores[upper] - t.scores[lower]) for t in self._trials if upper in t.scores]
        before, gained = (statistics.fmean(column) for column in zip(*both, strict=True))
        spread = sum((score - before) ** 2 for score, _ in both)
        together = sum((score - before) * (gain - gained) for score, gain in both)
        slope = together / spread * len(both) / (len(both) + PRIOR_PAIRS) if spread else 0.0
        return before, gained, max(-1.0, slope)

    # Proposals

    def _new(self) -> Trial:
        number, study, space = len(self._trials), self._shown.study, self._task.space
        rows = self._shown.rows()
        if self._sampler != "random":
            for place, value in self._estimates().items():
                rows[place].state, rows[place].values = TrialState.COMPLETE, [value]
        if not number:
            study.enqueue_trial(space.by_key(space.first_trials[0]))
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        study.sampler = {
            "random": lambda: optuna.samplers.RandomSampler(seed=seed),
            "tpe": lambda: optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=STARTUP, multivariate=True, group=True, constant_liar=True
            ),
        }[self._sampler]()
        trial = Trial(number, suggested(space, study.ask()))
        self._shown.rows()[number].params = space.by_key(trial.parameters)  # what is trained, not what was proposed
        self._trials.append(trial)
        return trial
