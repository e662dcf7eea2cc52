"""Works on many files at once.

for path, problem in zip(paths, in_threads(problem_with, paths), strict=True): ...
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from data.system.limits import usable_cpus

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_threads(
    function: Callable[[_Item], _Result], items: Sequence[_Item], threads: int | None = None
) -> Iterator[_Result]:
    """`function` of each item, in order, worked out by `threads` threads (None: as many as usable CPUs).

    They work only a little ahead of the results that are taken, so that these do not pile up in memory.
    """
    threads = threads or usable_cpus()
    pending: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 8 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
