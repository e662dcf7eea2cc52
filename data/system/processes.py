"""Calls functions in processes of their own, for what should load or spoil nothing in this one.

in_processes("tuning.prepare.probes:step_s", config, data, pixels, count=2)  # two results, measured side by side
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from data.system.errors import UserError

KILLED = "was killed, as the system does where memory runs out"
_Result = TypeVar("_Result")


class HelperDied(UserError):
    """A process that this one had started was killed."""


def in_processes(function: str, *arguments: Any, count: int = 1) -> list[Any]:
    """The results of `count` calls of a function, each in a fresh process, at the same time.

    `function` is "module:name": the module is imported there alone. What the function raises is raised here. Raises
    HelperDied where such a process is killed; they end with this one, however it does.
    """
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        calls = [pool.submit(_call, function, arguments) for _ in range(count)]
        try:
            return [call.result() for call in calls]
        except BrokenProcessPool as error:
            raise HelperDied(f"a process of this command ({function}) {KILLED}; give the same command again") from error


def dead_helpers_told(results: Iterator[_Result]) -> Iterator[_Result]:
    """What the iterator gives. Raises HelperDied where torch tells that a process of its DataLoader was killed."""
    try:
        yield from results
    except RuntimeError as error:  # torch has no class for it; what such a process raises is told in other words
        if "DataLoader worker (pid" not in str(error):
            raise
        way_out = "the same command goes on, and num_workers=0 does without such processes"
        raise HelperDied(f"a process that prepares batches {KILLED}; {way_out}") from error


def end_with_parent(*_: object) -> None:
    """Ends this process when the one that asked for it is gone: those of pools and DataLoaders would wait for ever."""

    def watch() -> None:
        parent = parent_process()
        assert parent is not None, "it was started by one"
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _call(function: str, arguments: tuple[Any, ...]) -> Any:
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)(*arguments)
