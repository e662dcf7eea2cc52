"""Watches for what a search may run into: dead processes of Ray's, want of memory, full disks, trials that hang."""

import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import ray
from ray.tune import Callback

from data.system.errors import leave_now
from data.system.wording import clock
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.run.doubts import failed
from tuning.run.messages import job_of
from tuning.run.ray_private import dead_ray_processes, kill_process

RAY_DIED = 3
"""Exit code when one of Ray's own processes died: nothing is wrong with the command, and it goes on."""
RAY_IS_ASKED_EVERY_S = 0.02
"""Ray ends this process itself, with words of its own, within tenths of a second."""
LONGEST_STEP_S = 10.0
"""A longer step of the search's own was spent waiting: for a study that another process holds, or while suspended."""

_Called = TypeVar("_Called", bound=Callable[..., Any])


class SearchStopped(BaseException):
    """Ends the search from within Ray's callbacks. It is no Exception: Ray would take that for a trial's own."""

    def __init__(self, reason: Exception):
        super().__init__(str(reason))
        self.reason = reason


def stops_search(called_by_ray: _Called) -> _Called:
    """Makes an error in a function that Ray calls end the search, as for a study that cannot be written."""

    @wraps(called_by_ray)
    def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            return called_by_ray(*arguments, **options)
        except Exception as error:
            raise SearchStopped(error) from error

    return guarded  # type: ignore[return-value]


def watch_ray() -> None:
    """Ends this process with RAY_DIED, from a thread, as soon as a process is dead that Ray cannot do without.

    Ray itself would wait for them for a minute and then end this process. What runs then is on record as running and
    goes on when the study is opened again.
    """

    def watch() -> None:
        while ray.is_initialized():
            if dead := dead_ray_processes():
                _leave(dead)
            time.sleep(RAY_IS_ASKED_EVERY_S)

    threading.Thread(target=watch, daemon=True).start()


def _leave(dead: list[str]) -> NoReturn:
    leave_now(RAY_DIED, f"error: Ray's {' and '.join(dead)} died; what was saved is kept. To go on:")


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started; 0 where it does not tell."""
    for file in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        try:
            counters = dict(line.split() for line in Path(file).read_text().splitlines())
        except (OSError, ValueError):
            continue
        if "oom_kill" in counters:
            return int(counters["oom_kill"])
    return 0


class TrialTimeout(Callback):
    """Ends a trial that has told nothing for too long, and its process."""

    def __init__(self, study: Study, timeout_s: float | None):
        """`timeout_s` is study.trial_timeout; with None nothing is ended."""
        self.study, self.timeout_s = study, timeout_s
        self._heard: dict[int, float] = {}
        self._stepped_at = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its callbacks."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._heard[job_of(trial.config).number] = time.monotonic()

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        self._heard[job_of(trial.config).number] = time.monotonic()

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        if self.timeout_s is None:
            return
        now = time.monotonic()
        waited_s = max(0.0, now - self._stepped_at - LONGEST_STEP_S)  # in which nobody listened to any trial
        self._heard = {number: heard + waited_s for number, heard in self._heard.items()}
        self._stepped_at = now
        for trial in trials:
            number = job_of(trial.config).number
            silent_s = time.monotonic() - self._heard.get(number, time.monotonic())
            if trial.status == "RUNNING" and self.study.is_running(number) and silent_s > self.timeout_s:
                self._end(trial, number)

    @stops_search
    def _end(self, trial: Any, number: int) -> None:
        with self.study.exclusive():
            if not self.study.is_running(number):  # another driver took it over meanwhile
                return
            silence = f"no epoch was reported for {clock(self.timeout_s or 0)} (study.trial_timeout)"
            try:
                failed(self.study, number, Cause(Kind.TIMED_OUT, silence))
            finally:
                kill_process(trial)  # Ray then calls on_trial_error, and another trial may start
