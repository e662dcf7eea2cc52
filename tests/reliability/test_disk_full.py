"""No room left while the state, the study or a table is written: said in a line, and the same command goes on."""

import os
import resource
import shutil
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

from data.system.errors import refused_write
from data.system.files import write_json
from reid_train.checkpoints.checkpoint import STATE, WEIGHTS, load_checkpoint, load_state, save_checkpoint, save_state
from reid_train.settings.config import TrainConfig
from tests.commands import ROOT, USUAL, command_line, run_here
from tests.reliability.crashes import make_run
from tests.reliability.record import Findings, check_files, compare
from tests.reliability.searches import Search
from tests.reports import epoch_report
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.result.tables import write_tables
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
study: {trials: 8, rungs: [2, 4]}
"""


@contextmanager
def no_file_longer_than(size: int):
    """What this process writes beyond `size` bytes of a file is refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refusal(write, size):
    """The refused write that `write` ends with."""
    with no_file_longer_than(size), pytest.raises(Exception) as caught:
        write()
    refused = refused_write(caught.value)
    assert refused is not None, caught.value
    return refused


def test_a_state_and_weights_that_do_not_fit_leave_the_old_ones_and_name_the_file(tmp_path):
    def save(size, epoch):
        save_state(tmp_path, {"model": torch.zeros(size), "report": {"epoch": epoch}})

    def save_weights(size, epoch):
        options = {"config": TrainConfig(), "metrics": {}, "identities": [1]}
        save_checkpoint(tmp_path, {"a": torch.zeros(size)}, epoch=epoch, **options)

    for write, name in ((save, STATE), (save_weights, WEIGHTS)):
        write(10, 1)
        for limit in (0, 100, 50_000, 300_000):
            assert refusal(lambda write=write: write(100_000, 2), limit).filename == str(tmp_path / name)
    assert load_state(tmp_path)["report"] == {"epoch": 1} and load_checkpoint(tmp_path).epoch == 1
    assert not [file for file in tmp_path.iterdir() if file.suffix == ".tmp"]
    assert refusal(lambda: write_json(tmp_path / "a.json", ["x"] * 100), 50).filename == str(tmp_path / "a.json")


def make_study(folder: Path) -> Study:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "space.yaml").write_text(SPACE)
    return Study(folder / "study", read_space(folder / "space.yaml"))


def test_a_study_that_cannot_grow_says_so_and_has_what_it_had(tmp_path):
    study = make_study(tmp_path)
    known = []

    def fill():
        for number in range(1000):
            study.add({"learning_rate": 1e-3})
            known.append(number)
            study.record(number, 2, epoch_report(1, val_mAP=0.1))

    refused = refusal(fill, (tmp_path / "study" / "study.db").stat().st_size + 20_000)
    assert "the study cannot be written: " in str(refused) and 5 < len(known) < 200
    again = make_study(tmp_path)
    assert [trial.number for trial in again.trials()][: len(known)] == known
    assert all(len(trial.reports) == 1 for trial in again.trials()[: len(known) - 1])
    again.settle()
    number = again.add({"learning_rate": 1e-2})
    again.record(number, 2, epoch_report(2, val_mAP=0.1))
    again.finish(number, TrialState.PRUNED, Cause(Kind.NOT_PROMOTED, "z"))
    assert Study(tmp_path / "study").trials() == again.trials()


def test_tables_that_do_not_fit_leave_the_old_ones_and_the_command_says_so_in_a_line(tmp_path):
    study = make_study(tmp_path)
    for number in range(20):
        study.add({"learning_rate": 1e-3})
        study.record(number, 2, epoch_report(2, val_mAP=0.1))
        study.finish(number, TrialState.PRUNED, Cause(Kind.NOT_PROMOTED, "z"))
    write_tables(study)
    before = (tmp_path / "study" / "trials.csv").read_bytes()
    assert refusal(lambda: write_tables(study), 100).filename == str(tmp_path / "study" / "trials.csv")
    assert (tmp_path / "study" / "trials.csv").read_bytes() == before

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))  # pictures are longer

    command = command_line("tuning.report", tmp_path / "study")
    environment = {**os.environ, **USUAL, "MPLCONFIGDIR": str(tmp_path / "mpl")}
    options = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run(command, preexec_fn=limited, **options)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    error, way_on = done.stderr.strip().splitlines()[-2:]
    assert error.startswith(f"error: {tmp_path / 'study' / 'plots'}") and "File too large" in error
    assert "Make room and go on:" in error and way_on.strip().endswith(f"-m tuning.report {tmp_path / 'study'}")
    assert run_here("tuning.report", tmp_path / "study").returncode == 0


def test_errors_that_are_each_others_cause_are_looked_through_once():
    one, other = ValueError(), KeyError()
    one.__cause__, other.__context__ = other, one
    assert refused_write(one) is None


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 700 MB in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here (needs root)")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(ballast: Path, keep_bytes: int) -> None:
    """Takes the room on the ballast's file system but for about so many bytes; to the last where that is 0."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while keep_bytes == 0 or shutil.disk_usage(ballast.parent).free > keep_bytes + 2**16:
            file.write(bytes(2**16 if keep_bytes else 4096))


@pytest.mark.reliability
@pytest.mark.parametrize("left_kib", [0, 30_000], ids=["nothing", "room for the record but for no state"])
def test_a_search_on_a_disk_that_gets_full_ends_with_a_line_and_goes_on_when_there_is_room(
    small_disk, left_kib, tmp_path
):
    run, found = make_run(small_disk, "full", trials=2), Findings()
    search = Search(tmp_path / "first.log", *run.command)
    search.wait_until(lambda: (run.folder / "environment.json").is_file())
    search.wait_until(lambda: any(trial.reports for trial in Study(run.folder).trials()))
    ballast = small_disk / "ballast"
    fill(ballast, keep_bytes=1024 * left_kib)
    assert search.wait(200) == 2, search.said()
    assert "Make room and go on:\n  " in search.said() and "Traceback" not in search.said()
    assert "No space left on device" in search.said() or "the study cannot be written" in search.said()
    assert search.orphans() == {}
    ballast.unlink()
    run.take()
    run.said += search.said()
    assert not [trial for trial in Study(run.folder).trials() if trial.state is TrialState.FAILED and trial.number == 0]
    last = run.start()
    assert last.wait(300) == 0, last.said()
    compare(run.folder, run.snapshots, run.said + last.said(), 2, found)
    check_files(run.folder, found)
    assert (found.lost, found.trained_twice, found.left_running, found.problems) == ([], [], [], [])
