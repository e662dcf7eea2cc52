"""Starts and ends Ray: on this machine alone, or as a part of a cluster.

set_variables(None, resources)  # before anything imports ray
start_ray(None, resources)  # in the background
wait_for_ray(None, resources)
stop_ray()
"""

import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from data.system.errors import UserError, in_one_line
from data.system.own_folder import OwnFolder
from data.system.sockets import socket_folder
from tuning.run.resources import Resources

ROOT = Path(__file__).resolve().parents[2]
PLACE = "trial"
"""Ray's resource on this machine alone, as much of it as trials may run at once; each trial takes 1."""
STARTING_AT_ONCE = 64
"""Trials on a cluster that are being placed and started: starting takes seconds, and they need not wait for each other.
"""
OBJECT_STORE_BYTES = 200 * 2**20
BELOW = len("/reid-ray-12345678/session_2026-11-26_20-21-21_402476_1234567/sockets/plasma_store")
"""Bytes of the longest path that Ray makes a socket of, below the folder of temporary files."""


class _Start(threading.Thread):
    """Starts Ray in a thread that lives as long as Ray is needed: its processes die with the thread that made them."""

    def __init__(self, address: str | None, resources: Resources):
        super().__init__(daemon=True, name="Ray")
        self.address, self.resources = address, resources
        self.folder = OwnFolder("reid-ray-", socket_folder(BELOW)) if address is None else None
        self.done, self.over = Future[None](), threading.Event()

    def run(self) -> None:
        try:
            _start(self.address, self.resources, None if self.folder is None else self.folder.path)
            self.done.set_result(None)
        except BaseException as error:
            self.done.set_exception(error)
        self.over.wait()


_starts: list[_Start] = []
"""The start that has begun, if any."""


def set_variables(address: str | None, resources: Resources) -> None:
    """Sets the variables that Ray reads in this process, some of them when it is imported: that it listens on loopback
    only is one."""
    os.environ |= _of_ray(address, resources)
    if (constants := sys.modules.get("ray._private.ray_constants")) is not None:  # a program has imported it before
        constants.ENABLE_RAY_CLUSTER = address is not None  # type: ignore[attr-defined]


def start_ray(address: str | None, resources: Resources) -> None:
    """Begins to start Ray on this machine alone, on loopback, or to join the cluster at `address`, in the background.

    Does nothing where that has begun. `wait_for_ray` waits for it.
    """
    if not _starts:
        _starts.append(_Start(address, resources))
        _starts[0].start()


def wait_for_ray(address: str | None, resources: Resources) -> None:
    """Starts Ray, where that has not begun, and waits until it has started. Raises what made that fail."""
    start_ray(address, resources)
    if not _starts[0].done.done():
        print("starting Ray ..." if address is None else "joining the cluster ...", flush=True)
    _starts[0].done.result()
    _take_signals_back()


def _take_signals_back() -> None:
    """Sets this process's handlers again: Ray takes SIGTERM for itself, below Python, and resets others at its end."""
    if threading.current_thread() is not threading.main_thread():
        return  # a program that searches in a thread keeps what Ray leaves
    for number in (signal.SIGTERM, signal.SIGINT):
        if (handler := signal.getsignal(number)) is not None:
            signal.signal(number, handler)


def stop_ray() -> None:
    """Ends Ray, where it was started. Ray resets the handlers of signals while it ends; here they are set again."""
    if not _starts:
        return
    start = _starts.pop()
    if start.done.exception() is None:
        ending = threading.Thread(target=import_module("ray").shutdown)
        ending.start()
        while ending.is_alive():
            ending.join(timeout=0.02)
            _take_signals_back()
    start.over.set()
    if start.folder is not None:
        start.folder.remove()


def _start(address: str | None, resources: Resources, folder: Path | None) -> None:
    with environment_of_processes(address, resources):
        ray = import_module("ray")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is not None:
            import_module("tuning.run.cluster").join(address, options)
            return
        with import_module("tuning.run.ray_private").only_needed_processes():
            try:
                ray.init(
                    address="local",
                    num_cpus=1,  # Ray starts as many processes ahead: the first trial's, undisturbed by the others'
                    resources={PLACE: resources.concurrency},
                    object_store_memory=OBJECT_STORE_BYTES,
                    include_dashboard=False,
                    _temp_dir=str(folder),
                    **options,
                )
            except OSError:
                raise
            except Exception as error:  # Ray raises that class itself, where its processes do not come up
                raise UserError(
                    f"Ray does not start here: {in_one_line(error)}; look whether a limit of this shell (ulimit -a) "
                    "is too low for it, and whether there is memory"
                ) from error
    import_module("tuning.run.guard").watch_ray()


@contextmanager
def environment_of_processes(address: str | None, resources: Resources) -> Iterator[None]:
    """Sets the variables that Ray and the processes of trials read. Afterwards only Ray's own stay set."""
    set_variables(address, resources)
    before = dict(os.environ)
    os.environ |= _of_trials(resources)
    try:
        yield
    finally:
        for name in _of_trials(resources):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


def _of_ray(address: str | None, resources: Resources) -> dict[str, str]:
    """What Ray reads in this process."""
    variables = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_DEDUP_LOGS": "0",
        # Tune gives up the search when Ray's own watch over the memory ends a trial. Without it the kernel ends the
        # workers first, too (Ray sees to that), and guard.oom_kills tells of it.
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_worker_niceness": "0",  # Ray's 15 would have trials wait for everything else on the machine
        # Processes for trials load torch while this one goes on; with GPUs only when they know theirs.
        "RAY_preload_python_modules": "" if resources.gpus else "tuning.run.worker,tuning.run.trainable",
        "RAY_idle_worker_killing_time_threshold_ms": "60000",  # not before the first trial has come to them
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # the study is the record, Ray's own is not used
        "TUNE_MAX_PENDING_TRIALS_PG": str(resources.concurrency if address is None else STARTING_AT_ONCE),
    }
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - no HOME, and a user whom the system does not know
        variables["HOME"] = tempfile.gettempdir()  # Ray is not imported without one
    if address is None:
        # Ray would write a token into ~/.ray, which in a container may be /.ray.
        token = os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)
        # The second: listens on loopback only.
        return {**variables, "RAY_AUTH_TOKEN": token, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    # Its warnings would bury ours.
    return {**variables, "RAY_BACKEND_LOG_LEVEL": os.environ.get("RAY_BACKEND_LOG_LEVEL", "error")}


def _of_trials(resources: Resources) -> dict[str, str]:
    """What the processes of trials inherit, and this one does not need."""
    return {
        "OMP_NUM_THREADS": str(resources.cpus),
        # Threads that wait sleep instead of spinning: a step beside another busy process took 1.2 s instead of 2.0 s.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
