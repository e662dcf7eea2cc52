"""A study's file that others look at or hold: a dashboard, a backup, a data-base browser."""

import shutil
import sqlite3
import threading
import time
from contextlib import closing, contextmanager

import pytest

from data.system.errors import UserError
from tests.reports import epoch_report
from tuning.record import place, sqlite_file
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.space.read import read_space

HELD_S = 0.5
LOOKING = "BEGIN; SELECT count(*) FROM studies;"
"""A read transaction: nobody can end a write meanwhile."""
WRITING = "BEGIN EXCLUSIVE;"


@pytest.fixture(autouse=True)
def _impatient_sqlite(monkeypatch):
    """SQLite's own wait is shorter than the file is held: what is tried must be tried again."""
    monkeypatch.setattr(place, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(sqlite_file, "TIMEOUT_S", 0.1)


@pytest.fixture
def space(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("search: {learning_rate: {low: 1e-4, high: 1e-1}}\nstudy: {trials: 8, rungs: [2, 4]}\n")
    return read_space(file)


@contextmanager
def held(folder, how, for_s=HELD_S):
    """Another connection holds the study's file for so long, from before the block begins."""
    holds = threading.Event()

    def hold():
        with closing(sqlite3.connect(folder / "study.db", isolation_level=None)) as connection:
            for statement in how.split(";")[:-1]:
                connection.execute(statement).fetchall()
            holds.set()
            time.sleep(for_s)
            connection.execute("ROLLBACK")

    holder = threading.Thread(target=hold)
    holder.start()
    holds.wait()
    try:
        yield
    finally:
        holder.join()


@pytest.mark.parametrize("how", [LOOKING, WRITING])
def test_a_held_file_costs_nothing(tmp_path, space, how):
    study = Study(tmp_path / "study", space)
    with held(study.folder, how):
        study.add({"learning_rate": 0.01})
    with held(study.folder, how):
        study.record(0, 2, epoch_report(1, val_mAP=0.25))
    with held(study.folder, how):
        study.record(0, 2, epoch_report(2, val_mAP=0.5))
    with held(study.folder, how):
        study.finish(0, TrialState.COMPLETE)
    with held(study.folder, how):
        study.note(elapsed_s=7.0)
    again = Study(study.folder)
    (trial,) = again.trials()
    assert trial.state is TrialState.COMPLETE and trial.scores == {2: 0.5} and len(trial.reports) == 2
    assert again.facts["elapsed_s"] == 7.0


@pytest.mark.parametrize("how", [LOOKING, WRITING])
def test_a_held_file_can_be_opened_and_is_not_called_damaged(tmp_path, space, how):
    folder = Study(tmp_path / "study", space).folder
    with held(folder, how):
        assert Study(folder, space).trials() == []
    with held(folder, how):
        assert Study(folder).trials() == []


def test_two_that_wait_for_each_other_both_get_their_turn(tmp_path, space):
    study = Study(tmp_path / "study", space)
    with held(study.folder, "BEGIN IMMEDIATE; SELECT count(*) FROM studies;"):
        study.add({"learning_rate": 0.01})
    assert len(Study(study.folder).trials()) == 1


def test_a_file_that_is_never_let_go_ends_the_command_with_the_way_out(tmp_path, space, monkeypatch):
    study = Study(tmp_path / "study", space)
    study.add({"learning_rate": 0.01})
    monkeypatch.setattr(sqlite_file, "PATIENCE_S", 0.2)
    with held(study.folder, WRITING, 1.5):
        for action in (lambda: study.record(0, 2, epoch_report(1)), lambda: Study(study.folder)):
            with pytest.raises(
                UserError, match=r"study\.db: another process holds it .*close that, and give"
            ) as raised:
                action()
            assert "\n" not in str(raised.value)
    study.record(0, 2, epoch_report(1))
    assert [len(trial.reports) for trial in Study(study.folder).trials()] == [1]


@pytest.mark.parametrize("how", ["folder moved", "folder removed", "file removed", "file replaced"])
def test_a_study_that_is_gone_meanwhile_gives_one_line_with_the_way_out(tmp_path, space, how):
    study = Study(tmp_path / "study", space)
    study.add({"learning_rate": 0.01})
    file, copy = study.folder / "study.db", tmp_path / "copy.db"
    shutil.copyfile(file, copy)
    if how == "folder moved":
        study.folder.rename(tmp_path / "elsewhere")
    elif how == "folder removed":
        shutil.rmtree(study.folder)
    elif how == "file removed":
        file.unlink()
    elif how == "file replaced":
        copy.replace(file)
    with pytest.raises(
        UserError, match=r"study\.db: the study was moved, removed or replaced .* put it back"
    ) as raised:
        study.record(0, 2, epoch_report(1, val_mAP=0.25))
    assert "\n" not in str(raised.value)
