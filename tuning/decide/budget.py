"""What a search may still spend, and on what: functions of its record and its clock.

    purse = Purse(study, record, at_once=2)
    purse.left()      # epochs that can still be trained, over all trials at once
    purse.holds(36)   # whether a schedule of 36 epochs would end in time
    purse.phase()     # what the next epochs are for: trying, promoting, or repeating

A budget is epochs, seconds or trials; whichever is used up first ends the search. Seconds are turned into epochs at the
pace measured so far, again at each decision.
"""

import math
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np

from tuning.decide.proposals import distinct, drawn
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.space.schedules import lengths
from tuning.space.settings import CLOSING_S

SHORT = (14.0, 30.0), (0.7, 0.35)
"""Share of the budget for the lower rungs, by the budget in full lengths; between these, along a line."""
REPEATED = (15.0, 30.0), (0.0, 0.1)
"""Share for repeats of the best, likewise."""
LENGTHS_FOR_DEFAULT = 20.0
"""Full lengths of budget from which on the default is trained to the top whatever its scores: to compare with."""
CLOSING_EPOCHS = 0.7
"""What follows the last run (the test images, tables, pictures) takes about so many epochs' time, and CLOSING_S."""
UNSURE = 1.1
"""A schedule may take so many times what it is expected to."""
MOST_COUNTED = 1000
"""A space of so many configurations, or more, has no end."""
SLACK = 0.03
"""Share of a time budget by which schedules may run over before they are interrupted."""


class Phase(StrEnum):
    """What a search spends on."""

    TRY = "trying"
    """New configurations, at the first rung."""
    PROMOTE = "promoting"
    """The best of them, and new ones that promise more, at the next rungs."""
    REPEAT = "repeating"
    """The best at the top, with new seeds."""


class Shares(NamedTuple):
    """How a budget of so many full lengths is split."""

    lower: float
    repeats: float

    @classmethod
    def of(cls, lengths: float, rungs: int) -> "Shares":
        """`rungs` is their number: with one there is no lower one, and what is not repeated is tried."""
        repeats = float(np.interp(lengths, *REPEATED))
        return cls(float(np.interp(lengths, *SHORT)) if rungs > 1 else 1.0 - repeats, repeats)


class Purse:
    """The budget of a study."""

    def __init__(self, study: Study, record: Study | None, at_once: int = 1):
        """`record` is that of the repeats; `at_once` is the number of trials side by side."""
        self.study, self.record, self.at_once = study, record, at_once
        self.settings = study.space.study

    @property
    def longest(self) -> int:
        """Epochs of a full length."""
        rungs = self.study.plan.rungs
        return int(rungs[-1] if rungs else self.study.space.largest("num_epochs"))

    @property
    def shortest(self) -> int:
        """Epochs of a new trial's first schedule, at most."""
        rungs = self.study.plan.rungs
        return rungs[0] if rungs else self.longest

    @cached_property
    def most_trials(self) -> int | None:
        """Configurations to try, at most: those asked for, or fewer where the space has no more; None: no limit."""
        asked, space = self.settings.most_trials, self.study.space
        if any(parameter.kind == "float" and parameter.step is None for parameter in space.parameters):
            return asked
        counted = asked or MOST_COUNTED
        there = len(distinct(drawn(space, np.random.default_rng(0)), set(), counted))
        return there if there < counted else asked

    def spent(self, *, waiting: bool = True) -> int:
        """Epochs trained, and those that schedules will train that run, or wait to go on."""
        total, going_on = self._trained(), {TrialState.RUNNING, *([TrialState.WAITING] if waiting else [])}
        for study in filter(None, (self.study, self.record)):
            for trial in study.trials():
                if trial.state in going_on:
                    total += max(0, self.promised(trial.number, study))
        return total

    def _trained(self) -> int:
        """Epochs trained, over trials and repeats."""
        return sum(trial.epochs for s in filter(None, (self.study, self.record)) for trial in s.trials())

    def promised(self, number: int, record: Study | None = None) -> int:
        """Epochs that the running schedule of a trial, or of a repeat of `record`, still has to train."""
        if record is not None and record is not self.study:
            return self.longest - record.trial(number).epochs
        trial, rungs = self.study.trial(number), self.study.rungs(number)
        place = sum(rung <= trial.rung for rung in rungs)
        if place >= len(rungs):
            return 0
        begun = sum(epoch.rung == rungs[place] for epoch in trial.reports)
        return lengths(rungs, self.study.plan.promotion)[place] - begun

    def pace_s(self) -> float:
        """Seconds an epoch takes; 0 where nothing is known."""
        chosen = self.study.facts.get("plan")
        return self.study.epoch_s or (chosen["epoch_s"] if chosen else 0.0)

    def left_s(self) -> float:
        """Seconds until training must end; infinite without a time budget."""
        budget_s = self.settings.time_budget
        if budget_s is None:
            return float("inf")
        return budget_s - self.study.elapsed_s - closing_s(self.pace_s())

    def left(self, *, beside_waiting: bool = True) -> float:
        """Epochs that can still be begun, over all trials at once, `beside_waiting` those that wait to go on."""
        spent, found = self.spent(waiting=beside_waiting), float("inf")
        if self.settings.epochs is not None:
            found = min(found, self.settings.epochs - spent)
        if self.settings.most_trials is not None and self.most_trials is not None:
            found = min(found, self._for_trials(self.most_trials) - spent)
        if self.settings.time_budget is not None and self.pace_s():
            found = min(found, self.left_s() * self.at_once / self.pace_s() - (spent - self._trained()))
        return found

    def _for_trials(self, trials: int) -> float:
        """Epochs of a search that tries so many configurations; one of them at least comes to the top."""
        to_top = sum(self.study.plan.lengths()[1:])
        return max(epochs_for_trials(trials, self.shortest, self.longest), trials * self.shortest + to_top)

    def holds(self, epochs: int, *, beside_waiting: bool = True) -> bool:
        """Whether a schedule of so many epochs can begin and ends in time."""
        return epochs <= self.left(beside_waiting=beside_waiting) + 1e-9 and self.ends_in_time(epochs)

    def ends_in_time(self, epochs: float) -> bool:
        """Whether so many epochs, one after the other, do."""
        return epochs * self.pace_s() <= self.left_s()

    def is_last_chance(self) -> bool:
        """Whether a schedule to the top ends in time if it begins now, and may not if a short one comes before it."""
        to_top = (self.study.plan.lengths() or [self.longest])[-1]
        return self.ends_in_time(to_top) and not self.ends_in_time(UNSURE * (self.shortest + to_top))

    def holds_promised(self, number: int, record: Study | None = None, *, kept: int = 0) -> bool:
        """Whether what an interrupted trial, or repeat of `record`, still has to train ends in time, and `kept` epochs
        after it; the budget has it counted."""
        return self.left() >= kept - 1e-9 and self.ends_in_time(self.promised(number, record) + kept)

    def is_over(self) -> bool:
        """Whether more than the time is used up that training has."""
        return self.left_s() < -SLACK * (self.settings.time_budget or 0.0)

    def expected_s(self) -> float | None:
        """Seconds that the search will have taken, at the pace so far; None where that is not known."""
        budget_s, pace_s = self.settings.time_budget, self.pace_s()
        if not pace_s:
            return budget_s
        to_come = self.spent() - self._trained() + max(0.0, self.left())
        expected = self.study.elapsed_s + to_come * pace_s / self.at_once
        return min(expected, budget_s or expected)

    def total(self) -> float:
        """Epochs of the whole search."""
        return self.spent() + max(0.0, self.left())

    def shares(self) -> Shares:
        """How it is split."""
        rungs = self.study.plan.rungs or (self.longest,)
        return Shares.of(self.total() / self.longest, len(rungs))

    def phase(self) -> Phase:
        """What the next epochs are for."""
        total, left = self.total(), self.left()
        shares = self.shares()
        if left > (1 - shares.lower) * total and not self.is_last_chance():
            return Phase.TRY
        return Phase.PROMOTE if left > shares.repeats * total else Phase.REPEAT


def closing_s(epoch_s: float) -> float:
    """Seconds that follow the last run."""
    return CLOSING_S + CLOSING_EPOCHS * epoch_s


def epochs_for_trials(trials: int, shortest: int, longest: int) -> int:
    """Epochs of a search that tries so many configurations at its first rung."""
    total = float(trials * shortest)
    for _ in range(20):  # the share depends on the total
        total = trials * shortest / Shares.of(total / longest, 1 + (shortest < longest)).lower
    return math.ceil(total)
