"""What a search does next: which trial goes on, which begins, and when there is nothing left to do.

Every decision follows from the study's record and is written there before it is acted on, so that a search that was
interrupted decides as it would have done.
"""

import math
from typing import Any

from data.system.wording import clock
from tuning.decide.rungs import Agreement, agreement, hopeless, promotable
from tuning.decide.sampler import Sampler
from tuning.prepare.costs import costs_of
from tuning.record.study import Study
from tuning.result.best import prune_weights, trial_folder
from tuning.run.climb import lengths
from tuning.space.settings import StudySettings


class Policy:
    """Asynchronous successive halving over the study's rungs, with a fair sample that checks on it."""

    def __init__(self, study: Study, settings: StudySettings, *, reserved_epochs: int = 0):
        """`settings` are the study's with the command line's trials and time budget.

        `reserved_epochs`, one after the other, are kept free in the budget for what follows the trials.
        """
        self.study, self.settings, self.reserved_epochs = study, settings, reserved_epochs
        self.rungs, self.reduction = study.space.rungs(study.space.base_config()), study.space.reduction
        self.sampler = Sampler(study.space)
        self.promotion, self.audit = study.space.study.promotion, study.space.study.audit

    @property
    def planned(self) -> int:
        """Trials that are to be."""
        return self.settings.trials

    @property
    def announcement(self) -> str:
        """What is to be done, in a few words."""
        budget_s = self.settings.time_budget
        return f"up to {self.planned} trials" + (f", at most {clock(budget_s)}" if budget_s else "")

    def name(self, number: int) -> str:
        """What a trial is called."""
        return f"trial {number}"

    def training(self, number: int) -> dict[str, Any]:
        """What ReIDTrainable is given to train the trial."""
        config = self.study.config(number)
        return {
            "number": number,
            "settings": config,
            "rungs": list(self.study.space.rungs(config)),
            "promotion": self.promotion,
            "behind": max(self.study.trial(number).decisions, default=0),
            "folder": str(trial_folder(self.study, number).absolute()),
            "state_interval_s": self.settings.state_interval,
        }

    def tidy(self) -> None:
        """Removes weights that are not needed any more."""
        prune_weights(self.study)

    def next_trial(self) -> int | None:
        """The trial to train now, made to run: an interrupted one, a promoted one, or a new one; None for none.

        None with trials still running is for now: one of them may make another promotable.
        """
        number = next(iter(self.study.in_state("waiting")), None)
        if number is None:
            number = self._promotable()
        if number is not None:
            self.study.go_on(number)
            return number
        if not self.may_start():
            self._prune_hopeless()
            return None
        parameters, notes = self.sampler.propose(self.study.trials())
        return self.study.add(parameters, notes, costs_of(self.study, parameters))

    def has_work(self) -> bool:
        """Whether `next_trial` would give one."""
        return bool(self.study.in_state("waiting")) or self.may_start() or self._promotable() is not None

    def may_start(self) -> bool:
        """Whether a new trial may begin: there are trials left, and time for its first rung.

        While no trial has come to the top, the time that the best one needs to get there is kept for it.
        """
        trials = self.study.trials()
        if len(trials) >= self.settings.trials:
            return False
        highest = max((trial.rung for trial in trials), default=0)
        above = [self._epochs_to(rung) for rung in self.rungs if rung > max(highest, self.rungs[0])]
        to_the_top = 0 if any(trial.state == "complete" for trial in trials) else sum(above)
        return self.has_time_for(self.rungs[0] + to_the_top)

    def has_time_for(self, epochs: int) -> bool:
        """Whether this many epochs would end within the budget, at the pace of the study so far."""
        budget_s = self.settings.time_budget
        epochs += self.reserved_epochs
        return budget_s is None or self.study.elapsed_s + epochs * self.study.epoch_s <= budget_s

    def at_rung_end(self, number: int, rung: int) -> bool:
        """Whether the trial trains on; where not, it is complete, paused or pruned, and on record as that."""
        study = self.study
        if rung not in self.rungs[:-1]:
            study.finish(number, "complete")
            self._prune_hopeless()
            return False
        decided = study.trial(number).decisions.get(rung)
        if decided in ("promoted", "fair"):  # before an interruption
            return True
        following = self.rungs[self.rungs.index(rung) + 1]
        climbs = self.is_audited(number) or self.agreement(rung).too_low
        if climbs and self.has_time_for(self._epochs_to(following)):
            study.decide(number, rung, "fair")
            return True
        study.decide(number, rung, "paused")
        if self._promotable() == number:
            study.go_on(number)
            return True
        self._prune_hopeless()
        return False

    def is_audited(self, number: int) -> bool:
        """Whether the trial goes to the top whatever its scores."""
        return self.audit > 0 and (number + 1) % self.audit == 0

    def agreement(self, rung: int) -> Agreement:
        """How well the rung ranks, by the record so far."""
        return agreement(self.study.trials(), rung, self.rungs[-1])

    def _promotable(self) -> int | None:
        trials = self.study.trials()
        last = not self.study.in_state("running") and not self.may_start()
        number = promotable(trials, self.rungs, self.reduction, last=last, pick=self.study.space.study.pick)
        if number is None:
            return None
        following = self.rungs[self.rungs.index(self.study.trial(number).rung) + 1]
        return number if self.has_time_for(self._epochs_to(following)) else None

    def _prune_hopeless(self) -> None:
        to_come = max(0, self.settings.trials - len(self.study.trials()))
        if self.settings.time_budget is not None and self.study.epoch_s:
            spent_s = self.study.elapsed_s + self.reserved_epochs * self.study.epoch_s
            left_s = max(0.0, self.settings.time_budget - spent_s)
            at_once = max(1, len(self.study.in_state("running")))
            to_come = min(to_come, math.ceil(at_once * left_s / (self.rungs[0] * self.study.epoch_s)))
        while numbers := hopeless(self.study.trials(), self.rungs, self.reduction, to_come):
            for number in numbers:
                rung = self.study.trial(number).rung
                self.study.finish(number, "pruned", f"not among the best 1 in {self.reduction} at {rung} epochs")

    def _epochs_to(self, rung: int) -> int:
        """Epochs from the rung below to this one."""
        return lengths(self.rungs, self.promotion)[self.rungs.index(rung)]
