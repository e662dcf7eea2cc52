"""Everything of Ray's that is relied upon beyond its public interface; tests/tuning/run/test_ray_private.py holds each.

1. ray._private.worker._global_node knows which of the processes that this one started have died.
2. ray.tune.execution.class_cache has DEFAULT_ENV_VARS and ENV_VARS_TO_PROPAGATE, variables that Tune sets for a trial.
3. A trial's temporary_state.ray_actor is the process that trains it.
4. A trial's get_pickled_error and get_error tell why it ended; both are None for some deaths.
5. Ray's Node starts its autoscaler, log monitor and dashboard by start_monitor, start_log_monitor and start_api_server.
6. The text of Ray's error says "running low on memory" where Ray's own watch over the memory ended a process.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

import ray
from ray._private.node import Node
from ray.exceptions import OutOfMemoryError, RayActorError

OWN_PROCESSES = ("raylet", "gcs_server")
"""Those of Ray's processes that a search cannot do without."""


SPARED = ("start_monitor", "start_log_monitor", "start_api_server")
"""What starts processes of Ray's that a search on one machine does without: autoscaler, log monitor, dashboard."""


@contextmanager
def only_needed_processes() -> Iterator[None]:
    """Ray, when it is started on this machine meanwhile, does without SPARED: they took a quarter of a search's start,
    and a dashboard listens on a port."""

    def spared(node: Any, **_: Any) -> None:
        node._webui_url = ""

    with ExitStack() as patched:
        for name in SPARED:
            patched.enter_context(patch.object(Node, name, spared))
        yield


def dead_ray_processes() -> list[str]:
    """The names of those of Ray's processes that this one started and that have died."""
    node = ray._private.worker._global_node
    return [] if node is None else [name for name, _ in node.dead_processes() if name in OWN_PROCESSES]


def keep_processes_alike() -> None:
    """Keeps Tune from giving a trial's process variables of its own.

    With such variables a trial could not run in a process that Ray started ahead, which has those of this process; and
    they stand in command lines, which everybody on the machine can read: AWS's secrets are among them.
    """
    class_cache = import_module("ray.tune.execution.class_cache")  # loads Tune
    class_cache.DEFAULT_ENV_VARS.clear()
    class_cache.ENV_VARS_TO_PROPAGATE.clear()


def kill_process(trial: Any) -> None:
    """Ends the process that trains a trial; Ray then tells of the trial's error."""
    if (actor := trial.temporary_state.ray_actor) is not None:
        ray.kill(actor)


def error_of(trial: Any) -> Exception | str | None:
    """Why a trial ended, as Ray tells it; None where Ray tells nothing."""
    error: Exception | str | None = trial.get_pickled_error() or trial.get_error()
    return error


def process_died(trial: Any) -> bool:
    """Whether the trial's process was killed, or its machine lost; not whether it raised while it was made."""
    error = error_of(trial)
    return error is None or (isinstance(error, RayActorError) and not error.actor_init_failed)


def ended_for_memory(trial: Any) -> bool:
    """Whether Ray's own watch over the memory ended the trial's process, before the kernel would have."""
    error = error_of(trial)
    return isinstance(error, OutOfMemoryError) or "running low on memory" in str(error)
