"""kill -9 of one part of a command alone: it goes on, or ends with one clear line; the next start clears the rest."""

import os
import re
import tempfile
import time
from pathlib import Path
from textwrap import dedent

import pytest

from tests.reliability.searches import Search
from tests.tiny_space import TINY_FIXED
from tuning.record.study import Study
from tuning.record.trial import TrialState

pytestmark = pytest.mark.reliability

SPACE = f"""\
{TINY_FIXED}  num_workers: 1
search:
  learning_rate: {{low: 1e-3, high: 1e-1, log: true}}
study: {{trials: 2, rungs: [8], state_interval: 1s}}
"""
PARTS = ("driver", "raylet/raylet", "gcs_server", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
OURS = ("reid-", "pymp-")
"""What the names of our folders of temporary files begin with, and of those of Python's multiprocessing."""


@pytest.fixture
def command(tmp_path, tiny_data, monkeypatch):
    """Arguments of a search whose trials have helpers that prepare their batches; its temporary files lie apart."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:  # sockets need a short path
        monkeypatch.setenv("TMPDIR", short)
        (tmp_path / "space.yaml").write_text(SPACE)
        cache = ["--cache-dir", tmp_path / "cache"]
        yield ["--space", tmp_path / "space.yaml", "--data-dir", tiny_data, "--results", tmp_path / "results", *cache]


def left_by(search, tmp_path):
    """Processes and temporary files that a command has left; Ray's agents take a minute."""
    search.orphans(roles_let_live=(), limit_s=90)
    files = [*Path(os.environ["TMPDIR"]).iterdir(), *tmp_path.rglob(".*.tmp")]
    return search.commands(), sorted(file.name for file in files if file.name.startswith((*OURS, ".")))


def begun(command, tmp_path):
    """A search that has begun to train."""
    search = Search(tmp_path / "first.log", *command, "--name", "one")
    study = tmp_path / "results" / "one"
    assert search.wait_until(lambda: (study / "trials" / "0" / "8-epochs" / "state.pt").is_file()), search.said()
    return search


def is_complete(tmp_path):
    return [trial.state for trial in Study(tmp_path / "results" / "one").trials()] == [TrialState.COMPLETE] * 2


@pytest.mark.parametrize(
    "part", ["driver", "raylet/raylet", "gcs_server", "ray::DashboardAgent", "ray::RuntimeEnvAgent"]
)
def test_what_a_search_needs_ends_it_when_killed_and_the_next_start_clears_what_is_left(part, command, tmp_path):
    search = begun(command, tmp_path)
    if part == "driver":
        search.process.kill()
    else:
        search.kill_one(part)
    code = search.wait(60)
    if part in ("raylet/raylet", "gcs_server"):
        assert code == 3 and re.search(r"error: Ray's .* died; what was saved is kept\. To go on:\n", search.said())
    assert code != 0 and "Traceback" not in search.said()
    assert left_by(search, tmp_path)[0] == {}
    again = Search(tmp_path / "again.log", *command, "--name", "one")
    assert again.wait() == 0, again.said()
    assert left_by(again, tmp_path) == ({}, []) and is_complete(tmp_path)
    assert not list((tmp_path / "results" / "one").glob("search.pid"))


@pytest.mark.parametrize("part", ["multiprocessing.forkserver", "multiprocessing.resource_tracker"])
def test_a_helper_of_a_trial_that_is_killed_costs_it_nothing(part, command, tmp_path):
    search = begun(command, tmp_path)
    search.kill_one(part)
    assert search.wait(200) == 0 and "failed" not in search.said(), search.said()
    processes, files = left_by(search, tmp_path)
    assert processes == {} and is_complete(tmp_path)
    assert all(file.startswith("reid-sockets-") for file in files), "the next process with helpers removes them"


@pytest.mark.parametrize("options", [[], ["--plan"]])
def test_while_steps_are_timed_each_process_may_be_killed(options, command, tmp_path):
    command[1].write_text(SPACE.replace("trials: 2, rungs: [8], ", "").replace("num_workers: 1", "num_workers: 0"))
    timed = [*command, "--name", "one", "--time-budget", "3m", *options]
    search = Search(tmp_path / "first.log", *timed)
    search.kill_one("spawn_main")
    assert search.wait(60) == 2 and "was killed, as the system does where memory runs out" in search.said()
    assert "Traceback" not in search.said() and left_by(search, tmp_path) == ({}, [])
    search = Search(tmp_path / "second.log", *timed)
    assert search.wait_until(lambda: any("spawn_main" in line for line in search.commands().values()))
    time.sleep(6)  # folders that are young stay
    search.process.kill()
    search.wait(10)
    assert left_by(search, tmp_path)[0] == {}
    again = timed if options else [*command, "--name", "two", "--epochs", "20"]  # --plan starts no Ray
    search = Search(tmp_path / "third.log", *again)
    assert search.wait(100) == 0, search.said()
    assert left_by(search, tmp_path) == ({}, [])


def test_training_alone_ends_with_one_line_and_goes_on(command, tmp_path, tiny_data):
    settings = dedent(TINY_FIXED.removeprefix("fixed:\n"))
    (tmp_path / "one.yaml").write_text(f"{settings}data_dir: {tiny_data}\nnum_workers: 1\nnum_epochs: 30\n")
    train = ["--config", tmp_path / "one.yaml", "--out", tmp_path / "one", "--cache-dir", tmp_path / "cache"]
    for number in range(2):
        search = Search(tmp_path / f"{number}.log", *train, module="reid_train.train")
        assert search.wait_until(lambda search=search: "epoch 2" in search.said()), search.said()
        if number == 0:
            search.kill_one("multiprocessing.forkserver")
            assert search.wait(60) == 2 and "Traceback" not in search.said()
            assert "error: a process that prepares batches was killed" in search.said()
        else:
            search.process.kill()
            search.wait(10)
        assert left_by(search, tmp_path)[0] == {}
    last = Search(tmp_path / "last.log", *train, module="reid_train.train")
    assert last.wait() == 0 and left_by(last, tmp_path) == ({}, []), last.said()
