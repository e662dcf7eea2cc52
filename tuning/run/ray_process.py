"""Starts and ends Ray: on this machine alone, or as a part of a cluster.

set_variables(address=None, resources=resources)  # before anything imports ray
start_ray(address=None, resources=resources)
...
stop_ray()
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from data.system.errors import end_politely_on_signals
from tuning.run.resources import Resources

ROOT = Path(__file__).resolve().parents[2]
PLACE = "trial"
"""Ray's resource for a trial's place on this machine alone."""
STARTING_AT_ONCE = 64
"""Trials on a cluster that are being placed and started: starting takes seconds, and they need not wait for each other.
"""
OBJECT_STORE_BYTES = 200 * 2**20
PREPARED = ("sqlalchemy.orm", "alembic", "pandas", "scipy.stats")
"""What a search imports next and Ray does not: a thread does that while this one waits for Ray's processes."""


def set_variables(address: str | None, resources: Resources) -> None:
    """Sets the variables that Ray reads in this process, some of them when it is imported: that it listens on loopback
    only is one."""
    os.environ |= _of_ray(address, resources)


def start_ray(address: str | None, resources: Resources) -> None:
    """Starts Ray on this machine alone, on loopback, or joins the cluster at `address`; the second time, nothing."""
    if "ray" in sys.modules and import_module("ray").is_initialized():
        return
    importing = threading.Thread(target=lambda: [import_module(name) for name in PREPARED])
    importing.start()
    with environment_of_processes(address, resources):
        ray = import_module("ray")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            ray.init(
                address="local",
                num_cpus=1,  # Ray starts as many processes ahead: the first trial's, undisturbed by the others'
                resources={PLACE: resources.concurrency},
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                **options,
            )
        else:
            import_module("tuning.run.cluster").join(address, options)
    importing.join()
    end_politely_on_signals()  # Ray has taken SIGTERM for itself
    if address is None:
        import_module("tuning.run.guard").watch_ray()


def stop_ray() -> None:
    """Ends Ray, where it was started. It gives SIGTERM back to the system while it ends: that is taken again here."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return
    ending = threading.Thread(target=ray.shutdown)
    ending.start()
    while ending.is_alive():
        ending.join(timeout=0.02)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.getsignal(number))


@contextmanager
def environment_of_processes(address: str | None, resources: Resources) -> Iterator[None]:
    """The variables that Ray and the processes of trials read: Ray's own stay, the others are as they were before."""
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
        # Tune does not understand what Ray's own watch over the memory does to a trial, and gives up the search. The
        # kernel takes the workers first, too (Ray sees to that), and guard.oom_kills tells of it.
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
    if address is None:
        return {**variables, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # listens on loopback only
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
