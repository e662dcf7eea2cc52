"""`--json`: what a command found as one JSON object, for programs.

add_json_option(parser)
with answering(arguments.json) as answer:  # what is printed meanwhile goes to stderr, if --json was given
    answer["images"] = 751
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from os import PathLike
from typing import Any


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Adds --json."""
    parser.add_argument("--json", action="store_true", help="gives one JSON object, and all other words on stderr")


@contextmanager
def answering(as_json: bool) -> Iterator[dict[str, Any]]:
    """A dictionary to fill. With `as_json` it is printed when the block ends well, and nothing else is on stdout."""
    answer: dict[str, Any] = {}
    if not as_json:
        yield answer
        return
    with redirect_stdout(sys.stderr):
        yield answer
    print(json.dumps(plain(answer), indent=2, allow_nan=False), flush=True)


def plain(value: Any) -> Any:
    """The value as JSON has it: a number that is none is null, a path is its text."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, PathLike):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
