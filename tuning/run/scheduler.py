"""Ray's TrialScheduler interface: records what trials tell, then says whether they go on."""

import time
from collections import Counter
from contextlib import nullcontext
from typing import Any, assert_never

from ray.tune.schedulers import TrialScheduler

from tuning.decide.collapse import collapse_cause
from tuning.record.cause import Cause, Kind
from tuning.record.trial import TrialState
from tuning.run.doubts import failed, trained
from tuning.run.guard import oom_kills, stops_search
from tuning.run.messages import DiskFull, EpochEnded, Failed, Told, job_of, told_in
from tuning.run.ray_private import dead_ray_processes, ended_for_memory, error_of, process_died
from tuning.run.work import Work

RETRIES = 2
"""How often a trial goes on after its process died without having come further, in one session."""


class RungScheduler(TrialScheduler):
    """Ends or continues trials as the work decides. The study knows of everything before Ray acts on it."""

    def __init__(self, work: Work):
        super().__init__()
        self.work, self.study = work, work.study
        self._deaths = Counter[tuple[int, int]]()
        self._oom_kills = oom_kills()

    @stops_search
    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number, told = job_of(trial.config).number, told_in(result)
        ends_rung = not isinstance(told, EpochEnded) or told.report.epoch == told.rung
        # Other drivers decide by the ends of rungs and trials alone.
        with self.study.exclusive() if ends_rung or self.study.doubted else nullcontext():
            # A driver that was thought dead finds its trial in other hands, and lets go of it.
            goes_on = self.study.is_running(number) and self._record_and_decide(number, told)
            if not goes_on:
                self.work.tidy()
        return str(self.CONTINUE if goes_on else self.STOP)

    def _record_and_decide(self, number: int, told: Told) -> bool:
        """Whether the trial goes on."""
        match told:
            case DiskFull(errno, strerror, filename):
                raise OSError(errno, strerror, filename)
            case Failed(cause):
                failed(self.study, number, cause)
                return False
            case EpochEnded(rung, report):
                trained(self.study, number)
                self.study.record(number, rung, report)
                if report.epoch == rung:
                    return self._decide(number, rung)
                if self.work.is_over():
                    self.study.interrupt(number)
                    return False
                return True
            case _:
                assert_never(told)

    def _decide(self, number: int, rung: int) -> bool:
        of_rung = [epoch.report for epoch in self.study.trial(number).reports if epoch.rung == rung]
        if cause := collapse_cause(self.work.job(number).config, of_rung):
            self.study.finish(number, TrialState.FAILED, cause)
            return False
        return self.work.at_rung_end(number, rung)

    @stops_search
    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A trial whose process died goes on from its last state, RETRIES times at most. It fails at once where its
        configuration is to blame: when the process was killed for want of memory."""
        number = job_of(trial.config).number
        with self.study.exclusive():
            if not self.study.is_running(number):
                return
            if dead_ray_processes():  # it is not the trial's doing, and the search is about to end
                self.study.interrupt(number)
                return
            deaths = number, self.study.trial(number).epochs
            self._deaths[deaths] += 1
            if cause := self._memory_cause(trial):
                failed(self.study, number, cause)
            elif process_died(trial) and self._deaths[deaths] <= RETRIES:
                self.study.interrupt(number)
            else:
                failed(self.study, number, _cause_of_death(trial))

    def _memory_cause(self, trial: Any) -> Cause | None:
        """The cause when the trial's process was killed for want of memory; the kernel's count tells it."""
        kills = oom_kills()
        by_kernel, self._oom_kills = process_died(trial) and kills > self._oom_kills, kills
        if not by_kernel and not ended_for_memory(trial):
            return None
        size, who = job_of(trial.config).config.batch_size, "the kernel" if by_kernel else "Ray"
        return Cause(Kind.OUT_OF_MEMORY, f"batch_size={size} is too large here: {who} killed it")

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to note: the study knows the trial since it was asked for."""

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Nothing to do: trials end in on_trial_result."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to do: the study keeps a trial that was removed while it waited."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        waiting = [trial for trial in tune_controller.get_trials() if trial.status in ("PENDING", "PAUSED")]
        return waiting[0] if waiting else None

    def debug_string(self) -> str:
        return self.work.announcement


def _cause_of_death(trial: Any) -> Cause:
    """For a trial whose process died or whose code raised where nobody catches."""
    lines = [line.strip() for line in str(error_of(trial) or "its process died").splitlines() if line.strip()]
    return Cause(Kind.WORKER_DIED, f"worker died at {time.strftime('%H:%M:%S')}: {lines[-1][:200]}")
