"""This project's own search under the benchmark's clock, and its way of choosing, for what other searches trained.

method = Ours(task, seed=0, budget=10)
our_choice(task, parts)  # the configuration that the model would hand over
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tests.benchmarks.curve_table import configuration_at
from tests.benchmarks.simulation import Part, whole
from tests.benchmarks.truth import Task, path_end
from tests.reports import epoch_report
from tuning.confirm.candidates import Comparison, candidates
from tuning.confirm.repeats import Repeats, notes_of
from tuning.confirm.winner import choose
from tuning.decide.belief import Belief
from tuning.decide.budget import Purse
from tuning.decide.places import Places
from tuning.decide.policy import Policy
from tuning.decide.ranking import MOST_SCORES
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.space.settings import StudySettings


class ClockPurse(Purse):
    """The budget by the benchmark's clock, in epochs of a configuration of mean pace."""

    budget = lengths_left = 0.0
    """Full lengths: in all, and left."""

    def left(self, *, beside_waiting: bool = True) -> float:
        return self.lengths_left * self.longest

    def spent(self, *, waiting: bool = True) -> int:
        return round((self.budget - self.lengths_left) * self.longest)

    def total(self) -> float:
        return self.budget * self.longest


class Claim(NamedTuple):
    """What a search says of a configuration at full length."""

    parameters: Mapping[str, Any]
    low: float
    high: float
    """The 90 % interval of its mean over seeds."""
    p_best: float
    handed_over: bool


class Ours:
    """The product itself: its policy, then its repeats, on records in memory; its choice of the winner."""

    def __init__(self, task: Task, seed: int, budget: float, **changes: Any):
        settings = StudySettings(rungs=task.table.rungs[-2:], epochs=round(budget * path_end(task.top)))
        space = replace(task.space, study=settings.model_copy(update={"sampler_seed": seed, **changes}))
        self.study = Study("replay", space, in_memory=True)
        self.record = Study("replay", space, name="repeats", in_memory=True)
        self.purse = ClockPurse(self.study, self.record)
        self.purse.budget = self.purse.lengths_left = budget
        self.policy = Policy(self.study, self.purse)
        self.repeats = Repeats(self.record, self.study, self.purse)
        self._task, self._repeating = task, False

    def next_part(self, left: float) -> Part | None:
        self.purse.lengths_left = left
        if not self._repeating:
            number = self.policy.next_trial()
            if number is not None:
                trial = self.study.trial(number)
                rung = next(rung for rung in self.study.rungs(number) if rung > trial.rung)
                return whole(trial.parameters, str(rung), (self.study, number))
            # As the command does: repeats begin when the last trial has ended.
            self._repeating = not self.study.in_state(TrialState.RUNNING)
            if not self._repeating:
                return None
        number = self.repeats.next_trial()
        if number is None:
            return None
        return whole(notes_of(self.record.trial(number))["parameters"], self._task.top, (self.record, number))

    def tell(self, part: Part) -> None:
        (study, number), rung = part.about, path_end(part.path)
        study.record(number, rung, epoch_report(rung, val_mAP=part.score))
        (self.policy if study is self.study else self.repeats).at_rung_end(number, rung)

    def choice(self) -> Mapping[str, Any] | None:
        found = candidates(self.study, self.record)
        return found[choose(found, Comparison(self.study, self.record, found))].parameters if found else None

    def claims(self) -> list[Claim]:
        """What is said of the configurations at full length; empty where none got there."""
        found = candidates(self.study, self.record)
        if not any(trial.rung == path_end(self._task.top) for trial in self.study.trials()):
            return []
        compared = Comparison(self.study, self.record, found)
        chosen = choose(found, compared)
        return [
            Claim(one.parameters, *compared.interval(place), float(compared.p_best_C[place]), place == chosen)
            for place, one in enumerate(found)
        ]


def our_choice(task: Task, parts: Sequence[Part]) -> Mapping[str, Any] | None:
    """Of the configurations that were trained longest, the one of which the model expects most after one schedule of
    full length; None without any part. Each path is a source of its own."""
    if not parts:
        return None
    sources = [*sorted({part.path for part in parts} - {task.top}), task.top]
    known = sorted(parts, key=lambda part: (path_end(part.path), part.score), reverse=True)[:MOST_SCORES]
    places = Places(task.space)
    belief = Belief(
        places.of_all([part.parameters for part in known]),
        np.array([sources.index(part.path) for part in known]),
        np.array([part.score for part in known]),
        len(sources),
    )
    longest = [part.parameters for part in known if path_end(part.path) == path_end(known[0].path)]
    return longest[int(belief.at_top(places.of_all(longest))[0].argmax())]


TIMED = 5
"""Proposals that are timed."""
AT_TOP = 8
"""Every so many-th trial of those that are there before is at the top."""


def proposal_cpu_s(task: Task, trials: int) -> float:
    """CPU seconds of a decision to try another configuration when there are so many trials, most of them short ones.

    A score has arrived before each, so that the model is fitted anew; the median of TIMED.
    """
    rng, truth, seconds = np.random.default_rng(0), task.draw("gp", 0), []
    ours = Ours(task, seed=0, budget=float(trials))

    def score(number: int) -> None:
        trial = ours.study.trial(number)
        rung = next(rung for rung in ours.study.rungs(number) if rung > trial.rung)
        part = whole(trial.parameters, str(rung), (ours.study, number))
        part.score = truth.score(part.parameters, part.path, rng)[0]
        ours.tell(part)

    for number in range(trials):
        drawn = configuration_at(task.space, rng.random(len(task.space.parameters)).tolist())
        ours.study.add(drawn if number else dict(task.space.first_trials[0]))
        score(number)
        if number % AT_TOP == 0:
            ours.study.go_on(number)
            score(number)
    for _ in range(TIMED):
        began_s = time.process_time()
        part = ours.next_part(float(trials))
        seconds.append(time.process_time() - began_s)
        assert part is not None
        score(part.about[1])
    return statistics.median(seconds)
