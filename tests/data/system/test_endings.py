"""How a command ends whose output nobody reads any more, and one that is interrupted again while Python ends."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CLOSED = """\
from data.system.errors import exit_on_user_error

@exit_on_user_error
def main():
    for number in range(100_000):
        print(number, flush=True)

main()
"""
CLOSED_TABLES = CLOSED.replace("print(number, flush=True)", "console.print(number)").replace(
    "    for", "    from data.system.wording import open_console\n\n    console = open_console()\n    for"
)
CLOSED_IN_RAY = CLOSED_TABLES.replace(
    "console.print(number)",
    "\n        try:\n            console.print(number)\n        except OSError:\n            raise RuntimeError",
)
INTERRUPTED_WHILE_IT_ENDS = """\
import os
import signal

from data.system.errors import exit_on_user_error

class Last:
    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.NUMBER):
        kill(process, number)

last = Last()  # Python takes it down with this module, after it has given its signals back to the system

@exit_on_user_error
def main():
    os.kill(os.getpid(), signal.NUMBER)

main()
"""


def run_bash(line: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("program", [CLOSED, CLOSED_TABLES, CLOSED_IN_RAY])
def test_a_closed_pipe_is_told_without_a_traceback(program, tmp_path):
    (tmp_path / "program.py").write_text(program)
    done = run_bash(f"set -o pipefail; '{sys.executable}' '{tmp_path / 'program.py'}' | head -1")
    assert done.stdout == "0\n" and done.returncode == 130
    assert done.stderr.startswith("error: the output was closed; what was saved is kept.")
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_letters_that_the_output_does_not_know_are_shown_by_their_numbers(tmp_path):
    (tmp_path / "program.py").write_text(CLOSED.replace("range(100_000)", r"['\u00fc \u65e5 \udcff']"))
    done = run_bash(
        f"PYTHONIOENCODING=latin-1 '{sys.executable}' '{tmp_path / 'program.py'}' | iconv -f latin1 -t utf8"
    )
    assert done.stdout == "\u00fc \\u65e5 \\udcff\n" and not done.stderr


def test_a_backend_for_plots_that_is_not_here_does_not_matter(tmp_path):
    (tmp_path / "program.py").write_text(
        CLOSED.replace("    for", "    import matplotlib\n    for").replace("00_000", "")
    )
    done = run_bash(f"MPLBACKEND=notebooks_own '{sys.executable}' '{tmp_path / 'program.py'}'")
    assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_second_signal_while_python_ends_changes_nothing(number, tmp_path):
    (tmp_path / "program.py").write_text(INTERRUPTED_WHILE_IT_ENDS.replace("NUMBER", number))
    done = run_bash(f"exec '{sys.executable}' '{tmp_path / 'program.py'}'")
    assert done.returncode == 130
    assert done.stderr.startswith("\ninterrupted; what was saved is kept. To go on:\n")
    assert "Traceback" not in done.stderr


ON_WINDOWS = """\
import os, runpy, sys
sys.argv = ["MODULE", "--name", "one"]
import data.system.errors, argparse, time, signal, shlex, pathlib, typing  # what a command loads before it begins
for name in ("sysconf", "uname", "getuid", "getloadavg"):
    delattr(os, name)
sys.platform = "win32"
runpy.run_module("MODULE", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["tuning.search", "tuning.retrain", "reid_train.train", "data.doctor"])
def test_on_windows_a_command_says_where_it_runs(module, tmp_path):
    (tmp_path / "program.py").write_text(ON_WINDOWS.replace("MODULE", module))
    done = run_bash(f"exec '{sys.executable}' '{tmp_path / 'program.py'}'")
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Windows itself is not supported") and "wsl --install" in line
