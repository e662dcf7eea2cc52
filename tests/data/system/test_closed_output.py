"""A command whose output nobody reads any more ends with one message and no traceback."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """\
from data.system.errors import exit_on_user_error

@exit_on_user_error
def main():
    for number in range(100_000):
        print(number, flush=True)

main()
"""


def test_a_closed_pipe_is_told_without_a_traceback(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    line = f"set -o pipefail; '{sys.executable}' '{tmp_path / 'program.py'}' | head -1"
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "0\n" and done.returncode == 130
    assert done.stderr.startswith("error: the output was closed; what was saved is kept.")
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr
