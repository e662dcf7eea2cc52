"""The two ways to run a command give the same, and the one in this process leaves it as it was."""

import logging
import os
import signal
import sys
import warnings
from pathlib import Path

import pytest
import torch

from tests.commands import run_command, run_here
from tests.made_once import made_once


@pytest.mark.parametrize("arguments", [("fine", 3, Path("a b")), ("in disorder",)])
def test_a_command_says_and_gives_the_same_in_this_process_and_in_its_own(arguments):
    here, own = (run("tests.loud_command", *arguments, COLUMNS="99") for run in (run_here, run_command))
    assert (here.returncode, here.stdout, here.stderr) == (own.returncode, own.stdout, own.stderr)
    assert here.args == own.args and here.returncode == (0 if "fine" in arguments else 2)
    assert f"-m tests.loud_command {'fine 3' if 'fine' in arguments else ''}" in here.stdout
    wrong = [] if "fine" in arguments else ["error: all is in disorder", "error: twice"]
    assert here.stderr.splitlines() == ["said in between", "a warning", *wrong]


def of_this_process():
    """What a command may change."""
    names = ("", "ray", "loud", "loud.new")
    logs = [([*log.handlers], log.level, log.propagate) for log in map(logging.getLogger, names)]
    signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    of_python = [*sys.argv], sys.modules["__main__"].__spec__, sys.stdout, sys.stderr, [*warnings.filters]
    return Path.cwd(), dict(os.environ), torch.get_num_threads(), signals, of_python, logs


def test_a_command_that_leaves_its_process_in_disorder_changes_nothing_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = of_this_process()
    assert run_here("tests.loud_command", "in disorder").returncode == 2
    assert of_this_process() == before


def test_a_folder_is_made_once_and_again_where_its_making_failed(tmp_path_factory):
    made = []

    def make(folder):
        made.append(sorted(folder.iterdir()))
        (folder / "file").touch()
        if len(made) == 1:
            raise KeyboardInterrupt

    name = f"folder-{os.getpid()}"
    with pytest.raises(KeyboardInterrupt):
        made_once(tmp_path_factory, name, make)
    folders = {made_once(tmp_path_factory, name, make) for _ in range(3)}
    assert made == [[], []], "twice, each time in an empty folder"
    assert [[file.name for file in folder.iterdir()] for folder in folders] == [["file"]]
