"""Everything of Ray's that is relied upon beyond its public interface; tests/tuning/run/test_ray_private.py holds each.

1. ray._private.worker._global_node knows which of the processes that this one started have died.
2. ray.tune.execution.class_cache has DEFAULT_ENV_VARS and ENV_VARS_TO_PROPAGATE, variables that Tune sets for a trial.
3. A trial's temporary_state.ray_actor is the process that trains it.
4. A trial's get_pickled_error and get_error tell why it ended; both are None for some deaths.
5. The text of Ray's error says "running low on memory" where Ray's own watch over the memory ended a process.
"""

from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import class_cache

OWN_PROCESSES = ("raylet", "gcs_server")
"""Those of Ray's processes that a search cannot do without."""


def dead_ray_processes() -> list[str]:
    """The names of those of Ray's processes that this one started and that have died."""
    node = ray._private.worker._global_node
    return [] if node is None else [name for name, _ in node.dead_processes() if name in OWN_PROCESSES]


def keep_processes_alike() -> None:
    """Keeps Tune from giving a trial's process variables of its own.

    They would keep trials from the processes that Ray starts ahead, which have the variables of this process anyway;
    and they stand in command lines, which everybody on the machine can read: AWS's secrets are among them.
    """
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
