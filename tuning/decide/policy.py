"""Policy: what a search does next. Which trial goes on, which begins, and when there is nothing left to do.

    number = policy.next_trial()  # made to run in the study; None for none
    policy.at_rung_end(number, rung=12)  # whether it trains on

Every decision follows from the study's record and is written there before anything acts on it. So a search that was
interrupted decides as it would have done.
"""

import math

from data.system.wording import clock
from tuning.decide.keep import prune_weights
from tuning.decide.rungs import Agreement, agreement, hopeless, promotable
from tuning.decide.sampler import Sampler
from tuning.record.cause import Cause, Kind
from tuning.record.folders import trial_folder
from tuning.record.job import TrialJob
from tuning.record.prices import costs_of
from tuning.record.study import Study
from tuning.record.trial import Decision, TrialState


class Policy:
    """Asynchronous successive halving over the study's rungs, with a fair sample that checks on it."""

    def __init__(self, study: Study, *, reserved_epochs: int = 0):
        """`reserved_epochs`, one after the other, are kept free in the time budget for what follows the trials."""
        self.study, self.settings, self.reserved_epochs = study, study.space.study, reserved_epochs
        self.plan = study.plan
        self.rungs = self.plan.rungs_of(study.space.base_config())
        self.sampler = Sampler(study.space)

    @property
    def planned(self) -> int:
        """Number of trials to run in all."""
        return self.settings.trials

    @property
    def announcement(self) -> str:
        """What is to be done, in a few words."""
        budget_s = self.settings.time_budget
        return f"up to {self.planned} trials" + (f", at most {clock(budget_s)}" if budget_s else "")

    def name(self, number: int) -> str:
        """What a trial is called."""
        return f"trial {number}"

    def job(self, number: int) -> TrialJob:
        """What the trial is given to train."""
        config = self.study.config(number)
        return TrialJob(
            number=number,
            config=config,
            rungs=self.plan.rungs_of(config),
            promotion=self.plan.promotion,
            behind=max(self.study.trial(number).decisions, default=0),
            folder=str(trial_folder(self.study.folder, number).absolute()),
            state_interval_s=self.settings.state_interval,
        )

    def tidy(self) -> None:
        """Removes weights that are not needed any more."""
        prune_weights(self.study)

    def next_trial(self) -> int | None:
        """The trial to train now, made to run: an interrupted one, a promoted one, or a new one; None for none.

        None while trials are running means none for now: one of them may make another promotable.
        """
        number = next(iter(self.study.in_state(TrialState.WAITING)), None)
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
        """Whether `next_trial` would give a trial."""
        return bool(self.study.in_state(TrialState.WAITING)) or self.may_start() or self._promotable() is not None

    def may_start(self) -> bool:
        """Whether a new trial may begin: there are trials left, and time for its first rung.

        While no trial has come to the top, the time that the best one needs to get there is kept for it.
        """
        trials = self.study.trials()
        if len(trials) >= self.settings.trials:
            return False
        if self.settings.time_budget is None:
            return True
        highest = max((trial.rung for trial in trials), default=0)
        above = [self._epochs_to(rung) for rung in self.rungs if rung > max(highest, self.rungs[0])]
        to_the_top = 0 if any(trial.state is TrialState.COMPLETE for trial in trials) else sum(above)
        return self.has_time_for(self.rungs[0] + to_the_top)

    def has_time_for(self, epochs: int) -> bool:
        """Whether this many epochs would end within the budget, at the pace of the study so far."""
        budget_s = self.settings.time_budget
        epochs += self.reserved_epochs
        return budget_s is None or self.study.elapsed_s + epochs * self.study.epoch_s <= budget_s

    def at_rung_end(self, number: int, rung: int) -> bool:
        """Whether the trial trains on. If not, it is on record as complete, paused or pruned."""
        study = self.study
        if rung not in self.rungs[:-1]:
            study.finish(number, TrialState.COMPLETE)
            self._prune_hopeless()
            return False
        decided = study.trial(number).decisions.get(rung)
        if decided in (Decision.PROMOTED, Decision.FAIR):  # before an interruption
            return True
        following = self.rungs[self.rungs.index(rung) + 1]
        climbs = self.plan.is_audited(number) or self.agreement(rung).too_low
        if climbs and self.has_time_for(self._epochs_to(following)):
            study.decide(number, rung, Decision.FAIR)
            return True
        study.decide(number, rung, Decision.PAUSED)
        if self._promotable() == number:
            study.go_on(number)
            return True
        self._prune_hopeless()
        return False

    def agreement(self, rung: int) -> Agreement:
        """How well the rung ranks, by the record so far."""
        return agreement(self.study.trials(), rung, self.rungs[-1])

    def _promotable(self) -> int | None:
        trials = self.study.trials()
        last = not self.study.in_state(TrialState.RUNNING) and not self.may_start()
        number = promotable(trials, self.rungs, self.plan.reduction, last=last, pick=self.settings.pick)
        if number is None:
            return None
        following = self.rungs[self.rungs.index(self.study.trial(number).rung) + 1]
        return number if self.has_time_for(self._epochs_to(following)) else None

    def _prune_hopeless(self) -> None:
        """Prunes the trials that can no longer be promoted, one rung after the other."""
        reduction, to_come = self.plan.reduction, self._trials_to_come()
        while numbers := hopeless(self.study.trials(), self.rungs, reduction, to_come):
            for number in numbers:
                rung = self.study.trial(number).rung
                cause = Cause(Kind.NOT_PROMOTED, f"not among the best 1 in {reduction} at {rung} epochs")
                self.study.finish(number, TrialState.PRUNED, cause)

    def _trials_to_come(self) -> int:
        """Trials that may still begin, as far as the time budget allows."""
        to_come = max(0, self.settings.trials - len(self.study.trials()))
        if self.settings.time_budget is not None and self.study.epoch_s:
            spent_s = self.study.elapsed_s + self.reserved_epochs * self.study.epoch_s
            left_s = max(0.0, self.settings.time_budget - spent_s)
            at_once = max(1, len(self.study.in_state(TrialState.RUNNING)))
            to_come = min(to_come, math.ceil(at_once * left_s / (self.rungs[0] * self.study.epoch_s)))
        return to_come

    def _epochs_to(self, rung: int) -> int:
        """Epochs from the rung below to this one."""
        return self.plan.lengths()[self.rungs.index(rung)]
