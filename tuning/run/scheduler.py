"""Ray's TrialScheduler interface over the policy: records every report, then says whether the trial goes on."""

import time
from collections import Counter
from contextlib import nullcontext
from typing import Any

from ray.exceptions import RayActorError
from ray.tune.schedulers import TrialScheduler

from tuning.confirm.repeats import Repeats
from tuning.decide.policy import Policy
from tuning.record.causes import collapse_cause
from tuning.run.guard import dead_ray_processes, oom_kills, ray_killed_for_memory, stops_search

RETRIES = 2
"""How often a trial goes on after its process died without having come further, in one session."""


class RungScheduler(TrialScheduler):
    """Tells the study what a trial reports and ends it where the policy says so. The record comes before Ray's act."""

    def __init__(self, policy: Policy | Repeats):
        super().__init__()
        self.policy, self.study = policy, policy.study
        self._deaths = Counter[tuple[int, int]]()
        self._oom_kills = oom_kills()

    @stops_search
    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = trial.config["number"]
        decides = result.get("rung") == result.get("report/epoch")  # else it is the trial's alone
        with self.study.exclusive() if decides else nullcontext():
            # A driver that was thought dead finds its trial in other hands, and lets go of it.
            goes_on = self.study.is_running(number) and self._record_and_decide(number, result)
            if not goes_on:
                self.policy.tidy()
        return str(self.CONTINUE if goes_on else self.STOP)

    def _record_and_decide(self, number: int, result: dict[str, Any]) -> bool:
        if "refused" in result:
            raise OSError(*result["refused"])
        if "cause" in result:
            self.study.finish(number, "failed", result["cause"])
            return False
        report = {key.removeprefix("report/"): value for key, value in result.items() if key.startswith("report/")}
        rung = result["rung"]
        self.study.record(number, rung, report)
        if report["epoch"] < rung:
            return True
        of_rung = [earlier for earlier in self.study.trial(number).reports if earlier["rung"] == rung]
        if cause := collapse_cause(self.policy.training(number)["settings"], of_rung):
            self.study.finish(number, "failed", cause)
            return False
        return self.policy.at_rung_end(number, rung)

    @stops_search
    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A trial whose process died goes on from its last state, a few times. What its configuration brings about, a
        process that was killed for want of memory too, is final."""
        number = trial.config["number"]
        with self.study.exclusive():
            if not self.study.is_running(number):
                return
            if dead_ray_processes():  # it is not the trial's doing, and the search is about to end
                self.study.interrupt(number)
                return
            deaths = number, self.study.trial(number).epochs
            self._deaths[deaths] += 1
            if cause := self._memory_cause(trial):
                self.study.finish(number, "failed", cause)
            elif _process_died(trial) and self._deaths[deaths] <= RETRIES:
                self.study.interrupt(number)
            else:
                self.study.finish(number, "failed", _cause_of_death(trial))

    def _memory_cause(self, trial: Any) -> str | None:
        """One line when the trial's process was killed for want of memory; the kernel's count tells it."""
        error, kills = trial.get_pickled_error() or trial.get_error(), oom_kills()
        by_kernel, self._oom_kills = _process_died(trial) and kills > self._oom_kills, kills
        if not by_kernel and not ray_killed_for_memory(error):
            return None
        size = self.policy.training(trial.config["number"])["settings"].batch_size
        return f"out of memory: batch_size={size} is too large here: {'the kernel' if by_kernel else 'Ray'} killed it"

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
        return f"rungs: {', '.join(map(str, self.policy.rungs))} epochs"


def _process_died(trial: Any) -> bool:
    """Whether the trial's process was killed, or its machine lost; not whether it raised while it was made."""
    error = trial.get_pickled_error() or trial.get_error()  # of some deaths Ray says nothing
    return error is None or (isinstance(error, RayActorError) and not error.actor_init_failed)


def _cause_of_death(trial: Any) -> str:
    """One line for a trial whose process died or whose code raised where nobody catches."""
    error = trial.get_pickled_error() or trial.get_error()
    lines = [line.strip() for line in str(error or "its process died").splitlines() if line.strip()]
    return f"worker died at {time.strftime('%H:%M:%S')}: {lines[-1][:200]}"
