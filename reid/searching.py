"""A search from a program: what the command does, in a process that goes on afterwards.

run(SearchRequest(space="search_spaces/sample.yaml", trials=8), quiet=True)
"""

import io
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from data.system.commands import command
from data.system.errors import UserError
from reid.result import Result
from tuning.prepare.begin import read_space_of, study_folder
from tuning.prepare.request import SearchRequest

KEPT = {"RAY_AUTH_TOKEN"}
"""Variables that stay set after a search: Ray reads its token once in a process."""


def asked(
    paths: Mapping[str, str | Path | None],
    given: Mapping[str, Any],
    *,
    assignments: Mapping[str, Mapping[str, Any] | Sequence[str]],
    time_budget: str | float | None,
    warm: Sequence[str | Path],
    cache_gib: float | None,
) -> SearchRequest:
    """The request of a call of `reid.search`. Raises UserError for a value that no option could have."""
    if isinstance(warm, (str, Path)):
        raise UserError("warm_start takes several: a list of folders")
    for name in ("trials", "epochs", "cpus_per_trial"):
        if (value := given[name]) is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise UserError(f"{name}={value!r}: a whole number is needed")
    if cache_gib is not None and not 0 <= cache_gib < 2**30:
        raise UserError(f"cache_limit={cache_gib}: is not a number of GiB")
    if isinstance(time_budget, (int, float)):
        if not math.isfinite(time_budget):
            raise UserError(f"time_budget={time_budget}: seconds are needed, or a text such as '45m'")
        time_budget = f"{time_budget:.3f}".rstrip("0").rstrip(".") + "s"
    cache_dir = paths["cache_dir"]
    values: dict[str, Any] = {name: None if path is None else str(path) for name, path in paths.items()}
    values |= {name: _words(name, several) for name, several in assignments.items()}
    values["cache_dir"] = None if cache_dir is None else Path(cache_dir)
    values["limit_bytes"] = None if cache_gib is None else int(cache_gib * 2**30)
    return SearchRequest(**values, **given, time_budget=time_budget, warm_start=tuple(map(str, warm)))


def _words(option: str, values: Mapping[str, Any] | Sequence[str]) -> tuple[str, ...]:
    """What the command line would have: name=value, where text of `search` is a range as it stands."""
    if isinstance(values, str):
        raise UserError(f"{option} takes several: a list such as ['margin=0.3'], or {{'margin': ...}}")
    if not isinstance(values, Mapping):
        return tuple(map(str, values))
    as_it_is = option == "search"
    return tuple(
        f"{name}={value if as_it_is and isinstance(value, str) else json.dumps(value, default=str)}"
        for name, value in values.items()
    )


def run(request: SearchRequest, *, quiet: bool = False) -> Result:
    """Searches, and gives the study. Raises UserError; after Ctrl-C KeyboardInterrupt, with the study settled."""
    began = time.monotonic()
    check_ray()
    request = request.changed(command=command("tuning.search", *request.words()))
    with undisturbed(), redirect_stdout(io.StringIO()) if quiet else ExitStack():
        from tuning.search import search

        search(request, began)
    return Result(study_folder(request, read_space_of(request)))


def check_ray() -> None:
    """Raises UserError where the program uses Ray for something else: a process has one Ray."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        raise UserError("this process uses Ray already, and a search starts its own: call ray.shutdown() first")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leaves the program as it was: its variables, its filters of warnings, and its main module.

    That module is hidden meanwhile. Processes that a search starts would run it again, and with it the search, where a
    script calls it without asking for `__name__ == "__main__"`.
    """
    before, main = dict(os.environ), sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    finally:
        sys.modules["__main__"] = main
        for name in os.environ.keys() - before.keys() - KEPT:
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if name not in KEPT})
