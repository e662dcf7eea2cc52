"""Processes of their own: what they raise, and what becomes of them when they or the one that asked are killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.system.processes import HelperDied, in_processes

ASKS = "if __name__ == '__main__': from data.system.processes import in_processes; in_processes('time:sleep', 60)"


def test_results_and_errors_come_here():
    assert in_processes("math:sqrt", 4, count=2) == [2.0, 2.0]
    with pytest.raises(ValueError, match=r"math domain error|expected a nonnegative"):
        in_processes("math:sqrt", -1)


def test_one_that_is_killed_gives_one_clear_line():
    with pytest.raises(HelperDied, match=r"os:_exit\) was killed.*memory.*give the same command"):
        in_processes("os:_exit", 1)


def children(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_they_end_when_the_one_that_asked_is_killed():
    """A pool's processes would wait for another call for ever."""
    with subprocess.Popen([sys.executable, "-c", ASKS]) as asking:
        while len(children(asking.pid)) < 2:  # the call's, and Python's own that tidies
            time.sleep(0.05)
        started = children(asking.pid)
        time.sleep(1)
        os.kill(asking.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(map(lives, started)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [process for process in started if lives(process)]
