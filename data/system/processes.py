"""Calls functions in processes of their own, for what should load or spoil nothing in this one.

in_processes("tuning.prepare.probes:step_s", config, data, pixels, count=2)  # two results, measured side by side
"""

from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from typing import Any


def in_processes(function: str, *arguments: Any, count: int = 1) -> list[Any]:
    """The results of `count` calls of a function, each in a fresh process, at the same time.

    `function` is "module:name": the module is imported there alone. What the function raises is raised here.
    """
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        calls = [pool.submit(_call, function, arguments) for _ in range(count)]
        return [call.result() for call in calls]


def _call(function: str, arguments: tuple[Any, ...]) -> Any:
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)(*arguments)
