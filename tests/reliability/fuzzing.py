"""What the fuzz tests share: how many examples, what counts as a good answer, and the record of what came of them.

`make test` tries FEW examples, always the same; `FUZZ_EXAMPLES=2000 python -m pytest tests/reliability` tries so many,
and prints a table.
"""

import contextlib
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from unicodedata import category

from hypothesis import HealthCheck, settings

from data.system.errors import UserError

FEW = 20
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", FEW))
HANGS_S = 60
"""No example takes a hundredth of it; what takes longer hangs."""
LONGEST_LINE = 2000
UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, halves of characters, and ends of lines and paragraphs."""

fuzz = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES == FEW,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
"""Decorates a fuzz test, below `given`'s."""

Result = TypeVar("Result")
outcomes: dict[str, Counter[str]] = defaultdict(Counter)
"""Kind of input -> what came of it -> how often."""
longest_s: dict[str, float] = defaultdict(float)
STARTS_PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pty.spawn")
watching = False
ran: list[str] = []


def _watch(event: str, arguments: Any) -> None:
    if watching and event in STARTS_PROGRAMS:
        ran.append(f"{event} {arguments}")


sys.addaudithook(_watch)


class Hangs(AssertionError):
    """An example that takes too long."""


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hangs(f"no answer after {HANGS_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(HANGS_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def answer(kind: str, function: Callable[[], Result], name: str | None, reasons: dict[str, str]) -> Result | None:
    """What `function` gives; None where it refuses its input as it should, with a UserError.

    Each of the error's lines must be printable, short, and contain `name` (None: whatever). Any other error, a program
    that is started, and no answer in time fail the test. `reasons` are words of an error -> how the table calls it.
    """
    global watching
    started, watching = time.monotonic(), True
    try:
        with _alarm():
            result = function()
    except UserError as error:
        lines = str(error).splitlines() or [""]
        for line in lines:
            assert line.strip() and not UNSHOWN & set(map(category, line)) and len(line) <= LONGEST_LINE, repr(line)
            assert name is None or name in line, f"{name} is not in {line!r}"
        known = [called for words, called in reasons.items() if words in lines[0]]
        outcomes[kind][f"refused: {known[0] if known else 'other'}"] += 1
        return None
    finally:
        watching = False
        longest_s[kind] = max(longest_s[kind], time.monotonic() - started)
    assert not ran, ran
    outcomes[kind]["works"] += 1
    return result


def table() -> list[str]:
    """The record as Markdown."""
    lines = ["| input | examples | what came of them | slowest, s |", "| --- | --- | --- | --- |"]
    for kind, counts in outcomes.items():
        shares = "; ".join(f"{what} {count:,}" for what, count in counts.most_common())
        lines.append(f"| {kind} | {counts.total():,} | {shares} | {longest_s[kind]:.1f} |")
    return lines
