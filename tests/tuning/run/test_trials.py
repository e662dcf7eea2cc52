"""What a trial is handed, and what running trials leaves as it was."""

import logging
import os
from pathlib import Path

import pytest

from data.sets.splits import TrainingData
from reid_train.model.gpus import FULL
from tests.reports import epoch_report
from tuning.decide.budget import Purse
from tuning.decide.policy import Policy
from tuning.record.cause import Cause, Kind
from tuning.record.storage import Storage
from tuning.record.study import Study
from tuning.run.messages import EpochEnded, Failed
from tuning.run.resources import Resources
from tuning.run.trials import RAY_LOGGERS, WITHHELD, _logging_to, handed_job
from tuning.run.worker import keep_to_gpu, train
from tuning.space.read import read_space


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "space.yaml").write_text("search: {learning_rate: [0.001, 0.01]}\nstudy: {trials: 2, rungs: [1, 2]}\n")
    study = Study(tmp_path / "study", read_space(tmp_path / "space.yaml", [], str(tmp_path / "images")))
    made = Policy(study, Purse(study, None))
    made.next_trial()
    return made


def test_a_trial_is_not_told_where_the_data_set_lies_and_has_as_many_threads_as_cpus(policy):
    own, handed = policy.job(0), handed_job(policy, 0, Resources(3, 0, 1))
    assert own.config.data_dir != WITHHELD
    assert handed == own.with_settings(data_dir=WITHHELD, num_threads=3)


def test_weights_are_named_by_their_absolute_paths(policy, tmp_path, monkeypatch):
    """On a cluster a trial's process has another working directory and may have another home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for given, handed in {
        "weights/x.pth": tmp_path / "weights/x.pth",
        "../x.pth": tmp_path.parent / "x.pth",
        "~/x.pth": tmp_path / "home/x.pth",
        "imagenet": "imagenet",
        "none": "none",
    }.items():
        job = policy.job(0).with_settings(pretrained=given)
        monkeypatch.setattr(policy, "job", lambda number, job=job: job)
        assert handed_job(policy, 0, Resources(1, 0, 1)).config.pretrained == str(handed)
    for given, handed in {"runs/best": tmp_path / "runs/best", "timm/test_vit": "timm/test_vit"}.items():
        job = policy.job(0).with_settings(teacher=given, kd_logits_weight=0, kd_embedding_weight=1)
        monkeypatch.setattr(policy, "job", lambda number, job=job: job)
        assert handed_job(policy, 0, Resources(1, 0, 1)).config.teacher == str(handed)
    assert job.with_settings(teacher=None, kd_embedding_weight=0).with_absolute_paths().config.teacher is None


def test_threads_that_the_space_names_stay(policy, monkeypatch):
    job = policy.job(0).with_settings(num_threads=2)
    monkeypatch.setattr(policy, "job", lambda number: job)
    assert handed_job(policy, 0, Resources(3, 0, 1)).config.num_threads == 2


def test_without_a_storage_a_trial_works_in_the_studys_folder_and_with_one_in_a_place_there(policy, tmp_path):
    assert Path(handed_job(policy, 0, Resources(1, 0, 1)).folder) == (policy.study.folder / "trials" / "0").absolute()
    policy.study.storage = Storage(str(tmp_path / "storage"), "study-1234")
    assert handed_job(policy, 0, Resources(1, 0, 1)).folder == "trials/0"


def test_what_ray_logs_goes_to_a_file_while_it_runs_and_then_where_it_went_before(tmp_path):
    def state():
        loggers = map(logging.getLogger, RAY_LOGGERS)
        return [(logger.name, logger.handlers) for logger in loggers]

    before = state()
    with pytest.raises(KeyboardInterrupt), _logging_to(tmp_path / "ray.log"):
        for name in RAY_LOGGERS:
            logging.getLogger(name).error("by %s", name)
        raise KeyboardInterrupt
    assert state() == before
    logging.getLogger("ray").error("afterwards")
    lines = (tmp_path / "ray.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [f"ERROR {name}: by {name}" for name in RAY_LOGGERS]


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_trial_that_was_given_no_gpu_sees_none(policy, monkeypatch, share):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr("tuning.run.worker.why_no_gpu", lambda: None)
    keep_to_gpu(handed_job(policy, 0, Resources(1, share, 1)))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ("3" if share else "")


def test_a_trial_whose_gpu_died_fails_instead_of_training_on_the_cpu(policy, monkeypatch):
    monkeypatch.setattr("tuning.run.worker.why_no_gpu", lambda: "CUDA error: launch failure")
    job = handed_job(policy, 0, Resources(1, 1, 1))
    (told,) = train(job, TrainingData([], [], []), None, None)
    assert told == Failed(Cause(Kind.DOES_NOT_FIT, "the trial's GPU cannot be used: CUDA error: launch failure"))
    monkeypatch.setattr("tuning.run.worker.why_no_gpu", lambda: FULL)
    (told,) = train(job, TrainingData([], [], []), None, None)
    assert isinstance(told, Failed) and told.cause.kind is Kind.OUT_OF_MEMORY


def test_a_trial_whose_helper_was_killed_dies_with_it_and_so_goes_on_from_its_last_state(policy, monkeypatch, tmp_path):
    def climb(*_):
        yield 2, epoch_report(1)
        raise RuntimeError("DataLoader worker (pid(s) 4711) exited unexpectedly")

    left = []
    monkeypatch.setattr("tuning.run.worker.climb", climb)
    monkeypatch.setattr("tuning.run.worker.os._exit", left.append)
    job = handed_job(policy, 0, Resources(1, 0, 1))
    assert [*train(job, TrainingData([], [], []), None, None)] == [EpochEnded(2, epoch_report(1))] and left == [1]
