"""What a search cannot go on without, and may lose: Ray's processes, memory, room on the disk, a trial that answers."""

import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import ray
from ray.exceptions import OutOfMemoryError
from ray.tune import Callback

from data.system.errors import leave_now
from data.system.wording import clock
from tuning.record.study import Study

RAY_DIED = 3
"""Exit code when one of Ray's own processes died: nothing is wrong with the command, and it goes on."""
RAY_IS_ASKED_EVERY_S = 0.5

_Called = TypeVar("_Called", bound=Callable[..., Any])


class SearchStopped(BaseException):
    """Ends the search from within Ray's callbacks. No Exception: Ray would make another one of that, or a trial's."""

    def __init__(self, reason: Exception):
        super().__init__(str(reason))
        self.reason = reason


def stops_search(called_by_ray: _Called) -> _Called:
    """What goes wrong in this function is the search's, a study that cannot be written, say, and no trial's."""

    @wraps(called_by_ray)
    def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            return called_by_ray(*arguments, **options)
        except Exception as error:
            raise SearchStopped(error) from error

    return guarded  # type: ignore[return-value]


def dead_ray_processes() -> list[str]:
    """The names of those of Ray's processes that this one started and that have died."""
    node = ray._private.worker._global_node
    return [] if node is None else [name for name, _ in node.dead_processes() if name in ("raylet", "gcs_server")]


def watch_ray() -> None:
    """Leaves with RAY_DIED, from a thread, as soon as one of the processes is dead that Ray cannot do without.

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


def ray_killed_for_memory(error: Any) -> bool:
    """Whether Ray's own watch over the memory ended a worker, before the kernel would have."""
    return isinstance(error, OutOfMemoryError) or "running low on memory" in str(error)


class TrialTimeout(Callback):
    """Ends a trial that has told nothing for too long, and its process."""

    def __init__(self, study: Study, timeout_s: float | None):
        """`timeout_s` is study.trial_timeout; with None nothing is ended."""
        self.study, self.timeout_s = study, timeout_s
        self._heard: dict[int, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its callbacks."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._heard[trial.config["number"]] = time.monotonic()

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        self._heard[trial.config["number"]] = time.monotonic()

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        if self.timeout_s is None:
            return
        for trial in trials:
            number = trial.config["number"]
            silent_s = time.monotonic() - self._heard.get(number, time.monotonic())
            if trial.status == "RUNNING" and self.study.is_running(number) and silent_s > self.timeout_s:
                self._end(trial, number)

    @stops_search
    def _end(self, trial: Any, number: int) -> None:
        cause = f"timed out: no epoch was reported for {clock(self.timeout_s or 0)} (study.trial_timeout)"
        self.study.finish(number, "failed", cause)
        if (actor := trial.temporary_state.ray_actor) is not None:
            ray.kill(actor)  # Ray comes to on_trial_error by that, and the trial's place is free
