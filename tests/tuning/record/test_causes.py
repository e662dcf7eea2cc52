"""Why trials fail: told apart, and only faults that the configuration does not bring about are retried."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from ray.exceptions import ActorDiedError, RayActorError

from data.system.errors import UserError
from reid_train.config import TrainConfig
from reid_train.objective.losses import NonFiniteLoss
from tuning.decide.policy import Policy
from tuning.record.causes import collapse_cause, failure_cause, shows_bad_region
from tuning.record.study import Study
from tuning.run.guard import SearchStopped, TrialTimeout, oom_kills
from tuning.run.scheduler import RETRIES, RungScheduler
from tuning.space.read import read_space

CURVES = Path(__file__).resolve().parents[2] / "benchmarks" / "curves"


@pytest.mark.parametrize(
    ("error", "cause", "bad"),
    [
        (NonFiniteLoss("loss is not finite at step 3"), "diverged: loss is not finite at step 3", True),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            "out of memory: batch_size=64 is too large here: CUDA",
            True,
        ),
        (MemoryError(), "out of memory: batch_size=64", True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory: batch_size=64", True),
        (RuntimeError("mat1 and mat2 shapes"), "RuntimeError: mat1 and mat2 shapes", False),
        (UserError("a.jpg: cannot be read"), "does not fit: a.jpg: cannot be read", False),
    ],
)
def test_causes_are_told_apart(error, cause, bad):
    told = failure_cause(error, 64)
    assert told.startswith(cause) and shows_bad_region(told) is bad


def epoch_reports(losses, active=1.0):
    return [{"metric_loss": loss, "active_triplets": active} for loss in losses]


def test_a_loss_at_the_margin_is_a_collapse():
    config = TrainConfig(margin=0.3)
    assert collapse_cause(config, epoch_reports([0.3001] * 4)).startswith(
        "collapsed: triplet loss 0.3001 is margin=0.3"
    )
    assert collapse_cause(config, epoch_reports([0.9, 0.5, 0.302, 0.3])) is not None, "it takes a few epochs"
    assert collapse_cause(config, epoch_reports([0.3, 0.3, 0.3, 0.25])) is None, "it came apart again"
    assert collapse_cause(config, epoch_reports([0.3] * 4, active=0.8)) is None
    assert collapse_cause(config.changed(metric_weight=0), epoch_reports([0.3] * 4)) is None
    soft = TrainConfig(margin="soft")
    assert "log 2" in collapse_cause(soft, epoch_reports([math.log(2)] * 3, active=0.0))
    assert collapse_cause(soft, epoch_reports([0.6] * 3)) is None


@pytest.mark.parametrize("name", ["pedestrians", "characters"])
def test_of_the_recorded_runs_only_those_that_ended_at_chance_have_collapsed(name):
    configurations = json.loads((CURVES / f"{name}.json").read_text())["configurations"]
    table = pd.read_csv(CURVES / f"{name}.csv.gz")
    collapsed = []
    for (number, _, _), run in table.groupby(["configuration", "seed", "path"]):
        config = TrainConfig(margin=configurations[number]["margin"])
        if collapse_cause(config, run.sort_values("epoch").to_dict("records")):
            collapsed.append(run.sort_values("epoch").val_mAP.iloc[-1])
    assert all(score < 0.015 for score in collapsed), "0.0145 is the score of one point there"
    assert len(collapsed) == {"pedestrians": 0, "characters": 2}[name]


SPACE = """\
fixed: {backbone: resnet18, pretrained: none, margin: 0.3}
search: {learning_rate: {low: 1e-4, high: 1e-1, log: true}}
study: {trials: 3, rungs: [2, 4], audit: 0}
"""


@pytest.fixture
def running(tmp_path):
    """A scheduler, its study, and a trial of it as Ray would hold it."""
    (tmp_path / "space.yaml").write_text(SPACE)
    study = Study(tmp_path / "study", read_space(tmp_path / "space.yaml"))
    policy = Policy(study, study.space.study)
    number = policy.next_trial()
    return RungScheduler(policy), study, SimpleNamespace(config={"number": number}, get_error=lambda: "killed")


def result(epoch, loss):
    report = {"epoch": epoch, "val_mAP": 0.2, "seconds": 1.0, "metric_loss": loss, "active_triplets": 1.0}
    return {"rung": 2, **{f"report/{name}": value for name, value in report.items()}}


def test_a_collapsed_trial_fails_at_the_end_of_its_rung(running):
    scheduler, study, trial = running
    assert scheduler.on_trial_result(None, trial, result(1, 0.3)) == "CONTINUE"
    assert scheduler.on_trial_result(None, trial, result(2, 0.3)) == "STOP"
    assert study.trial(0).state == "failed" and study.trial(0).cause.startswith("collapsed: ")


def test_a_trial_that_has_not_collapsed_does_not(running):
    scheduler, study, trial = running
    scheduler.on_trial_result(None, trial, result(1, 0.5))
    scheduler.on_trial_result(None, trial, result(2, 0.4))
    assert study.trial(0).state != "failed"


@pytest.mark.parametrize("error", [ActorDiedError(), None])
def test_a_trial_whose_process_died_goes_on_a_few_times(error, running):
    scheduler, study, trial = running
    trial.get_pickled_error, trial.get_error = lambda: error, lambda: None
    for _ in range(RETRIES):
        scheduler.on_trial_error(None, trial)
        assert study.trial(0).state == "waiting"
        assert scheduler.policy.next_trial() == 0, "it comes before any other"
    scheduler.on_trial_error(None, trial)
    assert study.trial(0).state == "failed" and study.trial(0).cause.startswith("worker died at ")


@pytest.mark.parametrize("error", ["TuneError", RuntimeError("code"), RayActorError(actor_init_failed=True)])
def test_what_would_come_again_is_not_retried(running, error):
    scheduler, study, trial = running
    trial.get_pickled_error = lambda: error
    scheduler.on_trial_error(None, trial)
    assert study.trial(0).state == "failed"


@pytest.mark.parametrize("killed", [True, False])
def test_a_process_that_the_kernel_killed_for_memory_is_told_from_one_that_died(killed, running, monkeypatch):
    scheduler, study, trial = running
    trial.get_pickled_error, trial.get_error = ActorDiedError, lambda: None
    before = oom_kills()
    monkeypatch.setattr("tuning.run.scheduler.oom_kills", lambda: before + killed)
    scheduler.on_trial_error(None, trial)
    if killed:
        assert study.trial(0).cause == "out of memory: batch_size=32 is too large here: the kernel killed it"
        assert shows_bad_region(study.trial(0).cause)
    else:
        assert study.trial(0).state == "waiting"


def test_a_trial_is_not_blamed_for_the_death_of_rays_own_processes(running, monkeypatch):
    scheduler, study, trial = running
    monkeypatch.setattr("tuning.run.scheduler.dead_ray_processes", lambda: ["raylet"])
    trial.get_pickled_error = lambda: RayActorError(actor_init_failed=True)
    scheduler.on_trial_error(None, trial)
    assert study.trial(0).state == "waiting"


def test_what_goes_wrong_in_the_schedulers_own_work_stops_the_search(running, monkeypatch):
    scheduler, study, trial = running
    full = OSError(28, "No space left on device")

    def refuse(*arguments):
        raise full

    monkeypatch.setattr(study, "record", refuse)
    with pytest.raises(SearchStopped) as caught:
        scheduler.on_trial_result(None, trial, result(1, 0.5))
    assert caught.value.reason is full and not isinstance(caught.value, Exception)
    with pytest.raises(SearchStopped, match="No space left"):
        scheduler.on_trial_result(None, trial, {"refused": [28, "No space left on device", "state.pt"]})


def test_a_silent_trial_is_ended_after_the_timeout_and_one_that_reports_is_not(running, monkeypatch):
    _, study, trial = running
    killed, now = [], [100.0]
    monkeypatch.setattr("tuning.run.guard.time.monotonic", lambda: now[0])
    monkeypatch.setattr("tuning.run.guard.ray.kill", killed.append)
    trial.status, trial.temporary_state = "RUNNING", SimpleNamespace(ray_actor="actor")
    timeout = TrialTimeout(study, 60.0)
    timeout.on_trial_start(0, [trial], trial)
    for _ in range(3):
        now[0] += 59
        timeout.on_step_end(0, [trial])
        timeout.on_trial_result(0, [trial], trial, {})
    assert killed == [] and study.is_running(0)
    now[0] += 61
    timeout.on_step_end(0, [trial])
    timeout.on_step_end(0, [trial])
    assert killed == ["actor"]
    assert study.trial(0).cause == "timed out: no epoch was reported for 1:00 (study.trial_timeout)"
