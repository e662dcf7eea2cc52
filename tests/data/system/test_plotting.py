"""Where matplotlib may keep its fonts: asked of matplotlib itself, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT

PLOT = """
from data.system.plotting import prepare_plotting
prepare_plotting()
import matplotlib, matplotlib.font_manager
print(matplotlib.get_configdir())
"""


def plot(tmp_path: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL"))}
    variables = {**keep, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run([sys.executable, "-c", PLOT], env=variables, capture_output=True, text=True, timeout=200)


@pytest.mark.parametrize("variables", [{"HOME": "/dev/null"}, {"HOME": "/", "MPLCONFIGDIR": "/dev/null/x"}])
def test_a_home_that_cannot_be_written_costs_no_line_and_leaves_nothing(tmp_path, variables):
    done = plot(tmp_path, **variables)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"{tmp_path}/reid-plots-")
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_can_be_written_is_used(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    done = plot(tmp_path, HOME=str(home))
    assert done.stdout == f"{home}/.config/matplotlib\n"
