"""Looking at a search from outside: what is shown, and that the search is never kept waiting."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from data.system.errors import UserError
from tests.commands import run_here
from tests.reports import epoch_report
from tuning.record.copied import copied_study
from tuning.record.folders import DATABASE
from tuning.record.lock import lock_folder
from tuning.record.study import Study
from tuning.record.trial import TrialState


def test_a_copy_shows_the_same_and_follows(study):
    with copied_study(study.folder) as copy:
        assert copy.folder.name == "made" and copy.folder != study.folder
        assert Study(copy.folder).trials() == study.trials()
        assert not copy.renew()
        number = study.add({"learning_rate": 0.01, "margin": 0.3})
        assert copy.renew() and Study(copy.folder).trial(number).state is TrialState.RUNNING
    assert not copy.folder.exists()


def test_looking_does_not_wait_for_a_writer_nor_keeps_one_waiting(study):
    with closing(sqlite3.connect(study.folder / DATABASE, timeout=0.0)) as writer, copied_study(study.folder) as copy:
        writer.execute("BEGIN IMMEDIATE")  # as while a trial is written
        writer.execute("DELETE FROM trial_user_attributes")
        (study.folder / DATABASE).touch()
        assert copy.renew() and Study(copy.folder).trials() == study.trials()
        writer.commit()  # nobody reads: with a reader's lock this raised at once


def test_what_a_killed_search_left_half_written_is_undone_in_the_copy_alone(study, tmp_path):
    killed = tmp_path / "killed" / "made"
    with closing(sqlite3.connect(study.folder / DATABASE)) as writer:
        writer.execute("PRAGMA cache_size = 1")  # so that pages go to the file before the commit
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE trial_user_attributes SET value_json = '\"' || hex(randomblob(3000)) || '\"'")
        shutil.copytree(study.folder, killed)
        writer.rollback()
    before = {file.name: file.read_bytes() for file in killed.iterdir() if file.is_file()}
    assert before["study.db-journal"][:8].hex() == "d9d505f920a163d7", "the journal is not hot"
    with copied_study(killed) as copy:
        assert Study(copy.folder).trials() == study.trials()
    assert {file.name: file.read_bytes() for file in killed.iterdir() if file.is_file()} == before


def test_a_damaged_record_is_one_line(study):
    file = study.folder / DATABASE
    file.write_bytes(b"no data base" * 1000)
    with pytest.raises(UserError, match=r"study\.db: damaged"), copied_study(study.folder):
        pass


def test_a_running_search_is_shown_once_with_its_epochs(study):
    number = study.add({"learning_rate": 0.01, "margin": 0.3})
    for rung, epoch in ((2, 1), (2, 2), (6, 1), (6, 2), (6, 3)):
        study.record(number, rung, epoch_report(epoch, num_epochs=rung, val_mAP=0.1))
    study.note(finished=None)
    with lock_folder(study.folder):
        done = run_here("tuning.watch", study.folder, "--once")
    assert done.returncode == 0, done.stderr
    assert f"trial {number}: 3 of 6 epochs" in done.stdout
    best = max(trial.score for trial in study.trials() if trial.rung == 6 and trial.state is TrialState.COMPLETE)
    assert f"{best:.3f} trial " in done.stdout and "search made" in done.stdout


def test_watching_ends_with_the_search_and_tells_its_result(study, monkeypatch):
    answers = iter(["4711"] * 3)
    monkeypatch.setattr("tuning.record.lock.process_in", lambda folder: next(answers, None))
    monkeypatch.setattr("tuning.watch.EVERY_S", 0.01)
    done = run_here("tuning.watch", study.folder)
    assert done.returncode == 0, done.stderr
    assert "search made" in done.stdout and "the search is over" in done.stdout and "winner: " in done.stdout
    assert "mAP (mean of precisions) 40.0%" in done.stdout


def test_an_interrupted_search_is_told_with_the_command_that_goes_on(study):
    study.note(finished=None)
    done = run_here("tuning.watch", study.folder, "--once")
    assert "no process searches here now" in done.stdout
    assert "to go on: python -m tuning.search --space mine.yaml" in done.stdout


def test_a_folder_without_a_study_is_one_line(tmp_path):
    done = run_here("tuning.watch", tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "holds no study" in done.stderr
