"""Policy: what a search does next. Which trial goes on, which begins, and when there is nothing left to do.

    number = policy.next_trial()  # made to run in the study; None for none
    policy.at_rung_end(number, rung=12)  # whether it trains on

New configurations are tried at the first rung with a share of the budget, then the most promising are promoted, and
what is left repeats the best (tuning/confirm/repeats.py). Every decision follows from the study's record, and is
written there before anything acts on it. So a search that was interrupted decides as it would have done.
"""

from typing import Any

from data.system.wording import clock, counted
from tuning.decide.budget import LENGTHS_FOR_DEFAULT, Phase, Purse
from tuning.decide.forecast import forecast_of
from tuning.decide.keep import prune_weights
from tuning.decide.promotion import goes_to_top, newcomer, to_promote
from tuning.decide.sampler import Sampler
from tuning.decide.stopping import has_settled
from tuning.record.folders import trial_folder
from tuning.record.job import TrialJob
from tuning.record.prices import costs_of
from tuning.record.study import Study
from tuning.record.trial import OWN_SEED, STRAIGHT, Decision, TrialState


class Policy:
    """Tries configurations at the first rung, and promotes those that the model holds promising."""

    def __init__(self, study: Study, purse: Purse):
        self.study, self.settings, self.purse = study, study.space.study, purse
        self.plan = study.plan
        self.rungs = self.plan.rungs_of(study.space.base_config())
        self.sampler = Sampler(study.space, self.plan)
        self.exhausted = False
        """Whether every configuration of the space has been tried."""

    @property
    def planned(self) -> int:
        """Number of trials to run in all, as far as it is known."""
        trials = len(self.study.trials())
        return trials if self.exhausted else max(trials, forecast_of(self.purse).trials[0])

    @property
    def announcement(self) -> str:
        """What is to be done, in a few words."""
        budget_s = self.settings.time_budget
        return f"about {counted(self.planned, 'configuration')}" + (f", {clock(budget_s)} in all" if budget_s else "")

    def name(self, number: int) -> str:
        """What a trial is called."""
        return f"trial {number}"

    def job(self, number: int) -> TrialJob:
        """What the trial is given to train."""
        config = self.study.config(number)
        return TrialJob(
            number=number,
            config=config,
            rungs=self.study.rungs(number),
            promotion=self.plan.promotion,
            behind=max(self.study.trial(number).decisions, default=0),
            folder=str(trial_folder(self.study.folder, number).absolute()),
            state_interval_s=self.settings.state_interval,
        )

    def is_over(self) -> bool:
        """Whether time is up, and there is something to hand over."""
        return self.purse.is_over() and any(trial.scores for trial in self.study.trials())

    def tidy(self) -> None:
        """Removes weights that are not needed any more."""
        prune_weights(self.study)

    def next_trial(self) -> int | None:
        """The trial to train now, made to run: an interrupted one, a new one, or a promoted one; None for none."""
        if (number := self._interrupted()) is not None:
            self.study.go_on(number)
            return number
        if has_settled(self.study, self.purse.record):
            return None
        paused = self._promotable()
        if self._may_start(paused):
            proposed = self.sampler.propose(self.study.trials())
            if proposed is not None:
                parameters, notes = proposed
                return self.study.add(parameters, {**notes, OWN_SEED: True}, costs_of(self.study, parameters))
            self.exhausted = True
            paused = self._promotable()
        if self._waits():
            return None
        if (straight := self._newcomer(paused)) is not None:
            notes = {OWN_SEED: True, STRAIGHT: True}
            return self.study.add(straight, notes, costs_of(self.study, straight))
        if paused is not None:
            self.study.go_on(paused)
        return paused

    def has_work(self) -> bool:
        """Whether `next_trial` would give a trial."""
        if self._interrupted() is not None:
            return True
        if has_settled(self.study, self.purse.record):
            return False
        paused = self._promotable()
        if self._may_start(paused):
            return True
        return not self._waits() and (paused is not None or self._newcomer(paused) is not None)

    def _may_start(self, paused: int | None) -> bool:
        """Whether a new trial may begin: it is time for it, and there is room for it. `paused` could be promoted."""
        trials = self.study.trials()
        if self._has_all():
            return False
        if not any(trial.scores for trial in trials):
            # Nothing to hand over yet: one schedule is better than none, but not one beside the other.
            return self.purse.holds(self.purse.shortest) and (not trials or self._holds_another())
        if self.purse.phase() is Phase.REPEAT or not self._holds_another():
            return False
        return paused is None and (self.purse.phase() is Phase.TRY or not self._takes_newcomers())

    def _has_all(self) -> bool:
        """Whether no other configuration is there to try, or is asked for."""
        most = self.purse.most_trials
        return self.exhausted or (most is not None and len(self.study.trials()) >= most)

    def _holds_another(self) -> bool:
        """Whether a new trial's first schedule ends in time, and one to the top after it: else nothing would follow
        from it. Where the budget is a number of trials alone, all of them are wanted."""
        limited = self.settings.time_budget is not None or self.settings.epochs is not None
        return self.purse.holds(self.purse.shortest + (self._to_top() if limited else self._kept()))

    def _to_top(self, rung: int = 0) -> int:
        """Epochs from the rung at this place to the top."""
        return sum(self.plan.lengths()[rung + 1 :])

    def _kept(self) -> int:
        """Epochs that are kept for the way of one trial to the top, while none has gone it."""
        return 0 if any(goes_to_top(self.study, trial) for trial in self.study.trials()) else self._to_top()

    def _waits(self) -> bool:
        """Whether the next promotion waits for the trials at the first rung: where few are left, one of those that
        still run there may deserve it more, if it comes in time."""
        running = [trial for trial in self.study.trials() if trial.state is TrialState.RUNNING]
        short = [trial.number for trial in running if not trial.scores and not trial.straight]
        if not short or self.purse.left() >= (len(short) + 1) * self.purse.longest:
            return False
        soonest = min(self.purse.promised(number) for number in short)
        return self.purse.ends_in_time(soonest + self.purse.longest)

    def _takes_newcomers(self) -> bool:
        """Whether a new configuration may begin at the top: where the model proposes, and schedules begin anew."""
        if self.plan.promotion != "restart" or len(self.rungs) == 1 or self._has_all():
            return False
        return self.purse.phase() is Phase.PROMOTE and self.sampler.models(self.study.trials())

    def _newcomer(self, rival: int | None) -> dict[str, Any] | None:
        """A new configuration that goes to the top in the place of the trial to promote; None for none."""
        if not self._takes_newcomers() or not self.purse.holds(self.rungs[-1]):
            return None
        is_default = rival is not None and self.study.space.is_default(self.study.trial(rival).parameters)
        if is_default and self._default_first():
            return None
        return newcomer(self.study, rival)

    def at_rung_end(self, number: int, rung: int) -> bool:
        """Whether the trial trains on: only if it was promoted before. Else it is on record as complete or paused."""
        if rung not in self.rungs[:-1]:
            self.study.finish(number, TrialState.COMPLETE)
            return False
        if self.study.trial(number).decisions.get(rung) in (Decision.PROMOTED, Decision.FAIR):
            return True  # a process that goes on tells the rung behind it once more
        self.study.decide(number, rung, Decision.PAUSED)
        return False

    def _interrupted(self) -> int | None:
        """A trial that was interrupted and would still end in time, and leave time for the way of one to the top."""
        trials, kept = self.study.trials(), self._kept()
        if not any(trial.scores for trial in trials):
            kept = 0  # one score is needed first
        waiting = self.study.waiting()
        return next((number for number in waiting if self.purse.holds_promised(number, kept=kept)), None)

    def _promotable(self) -> int | None:
        """The trial to promote now; None for none, and where it would not end in time."""
        if self.purse.phase() is Phase.REPEAT and any(trial.rung == self.rungs[-1] for trial in self.study.trials()):
            return None  # what is left repeats the best
        trying = self.purse.phase() is Phase.TRY and not self._has_all() and self._holds_another()
        number = to_promote(self.study, trying=trying, default_first=self._default_first())
        if number is None:
            return None
        place, gone = self.rungs.index(self.study.trial(number).rung), self._kept() == 0
        # Beside one at the top, a trial that would stop below it decides nothing any more.
        length = self._to_top(place) if gone else self.plan.lengths()[place + 1]
        # Before any has gone to the top, that comes before trials that wait.
        return number if self.purse.holds(length, beside_waiting=gone) else None

    def _default_first(self) -> bool:
        return self.purse.total() / self.purse.longest >= LENGTHS_FOR_DEFAULT
