"""What the scheduler makes of what trials tell, and of their deaths: only what may go better is tried again."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, RayActorError

from tests.reports import epoch_report
from tuning.decide.budget import Purse
from tuning.decide.policy import Policy
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.run.guard import SearchStopped, TrialTimeout, oom_kills
from tuning.run.messages import DiskFull, EpochEnded, Failed, ray_config, ray_result
from tuning.run.scheduler import RETRIES, RungScheduler
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none, margin: 0.3}
search: {learning_rate: {low: 1e-4, high: 1e-1, log: true}}
study: {trials: 3, rungs: [2, 4]}
"""


@pytest.fixture
def running(tmp_path):
    """A scheduler, its study, and a trial of it as Ray would hold it."""
    (tmp_path / "space.yaml").write_text(SPACE)
    study = Study("study", read_space(tmp_path / "space.yaml"), in_memory=True)
    policy = Policy(study, Purse(study, None))
    trial = SimpleNamespace(config=ray_config(policy.job(policy.next_trial())), get_error=lambda: "killed")
    return RungScheduler(policy), study, trial


def result(epoch, loss):
    return ray_result(EpochEnded(2, epoch_report(epoch, val_mAP=0.2, metric_loss=loss, active_triplets=1.0)))


def test_a_collapsed_trial_fails_at_the_end_of_its_rung(running):
    scheduler, study, trial = running
    assert scheduler.on_trial_result(None, trial, result(1, 0.3)) == "CONTINUE"
    assert scheduler.on_trial_result(None, trial, result(2, 0.3)) == "STOP"
    assert study.trial(0).state is TrialState.FAILED and study.trial(0).cause.kind is Kind.COLLAPSED


def test_a_trial_that_has_not_collapsed_does_not(running):
    scheduler, study, trial = running
    scheduler.on_trial_result(None, trial, result(1, 0.5))
    scheduler.on_trial_result(None, trial, result(2, 0.4))
    assert study.trial(0).state is not TrialState.FAILED


def test_a_trial_that_fails_is_on_record_with_its_cause(running):
    scheduler, study, trial = running
    cause = Cause(Kind.DIVERGED, "loss is not finite at step 3")
    assert scheduler.on_trial_result(None, trial, ray_result(Failed(cause))) == "STOP"
    assert study.trial(0).state is TrialState.FAILED and study.trial(0).cause == cause


@pytest.mark.parametrize("error", [ActorDiedError(), None])
def test_a_trial_whose_process_died_goes_on_a_few_times(error, running):
    scheduler, study, trial = running
    trial.get_pickled_error, trial.get_error = lambda: error, lambda: None
    for _ in range(RETRIES):
        scheduler.on_trial_error(None, trial)
        assert study.trial(0).state is TrialState.WAITING
        assert scheduler.work.next_trial() == 0, "it comes before any other"
    scheduler.on_trial_error(None, trial)
    assert scheduler.work.next_trial() == 1, "another shows whether the machine is to blame"
    other = SimpleNamespace(config=ray_config(scheduler.work.job(1)))
    scheduler.on_trial_result(None, other, result(1, 0.5))
    assert study.trial(0).state is TrialState.FAILED and study.trial(0).cause.kind is Kind.WORKER_DIED
    assert str(study.trial(0).cause).startswith("worker died at ")


@pytest.mark.parametrize("error", ["TuneError", RuntimeError("code"), RayActorError(actor_init_failed=True)])
def test_what_would_come_again_is_not_retried(running, error):
    scheduler, study, trial = running
    trial.get_pickled_error = lambda: error
    scheduler.on_trial_error(None, trial)
    assert study.doubted.keys() == {0} and scheduler.work.next_trial() == 1


@pytest.mark.parametrize("killed", [True, False])
def test_a_process_that_the_kernel_killed_for_memory_is_told_from_one_that_died(killed, running, monkeypatch):
    scheduler, study, trial = running
    trial.get_pickled_error, trial.get_error = ActorDiedError, lambda: None
    before = oom_kills()
    monkeypatch.setattr("tuning.run.scheduler.oom_kills", lambda: before + killed)
    scheduler.on_trial_error(None, trial)
    if killed:
        cause = study.trial(0).cause
        assert str(cause) == "out of memory: batch_size=32 is too large here: the kernel killed it"
        assert cause.shows_bad_region
    else:
        assert study.trial(0).state is TrialState.WAITING


def test_a_trial_is_not_blamed_for_the_death_of_rays_own_processes(running, monkeypatch):
    scheduler, study, trial = running
    monkeypatch.setattr("tuning.run.scheduler.dead_ray_processes", lambda: ["raylet"])
    trial.get_pickled_error = lambda: RayActorError(actor_init_failed=True)
    scheduler.on_trial_error(None, trial)
    assert study.trial(0).state is TrialState.WAITING


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
        scheduler.on_trial_result(None, trial, ray_result(DiskFull(28, "No space left on device", "state.pt")))


@pytest.fixture
def timed(running, monkeypatch):
    """A trial under the watch of a time-out of 60 s, what it killed, and a clock that only the test moves."""
    _, study, trial = running
    killed, now = [], [100.0]
    monkeypatch.setattr("tuning.run.guard.time.monotonic", lambda: now[0])
    monkeypatch.setattr("tuning.run.ray_private.ray.kill", killed.append)
    trial.status, trial.temporary_state = "RUNNING", SimpleNamespace(ray_actor="actor")
    timeout = TrialTimeout(study, 60.0)
    timeout.on_trial_start(0, [trial], trial)

    def pass_s(seconds):
        for _ in range(seconds):
            now[0] += 1
            timeout.on_step_end(0, [trial])

    return SimpleNamespace(study=study, trial=trial, timeout=timeout, killed=killed, now=now, pass_s=pass_s)


def test_a_silent_trial_is_ended_after_the_timeout_and_one_that_reports_is_not(timed):
    for _ in range(3):
        timed.pass_s(59)
        timed.timeout.on_trial_result(0, [timed.trial], timed.trial, {})
    assert timed.killed == [] and timed.study.is_running(0)
    timed.pass_s(62)
    assert timed.killed == ["actor"]
    assert str(timed.study.doubted[0].cause) == "timed out: no epoch was reported for 1:00 (study.trial_timeout)"


def test_a_search_that_had_to_wait_itself_blames_no_trial(timed):
    """Another process held the study for two minutes: what the trials told meanwhile was not heard yet."""
    timed.pass_s(30)
    timed.now[0] += 120
    timed.timeout.on_step_end(0, [timed.trial])
    timed.pass_s(15)
    assert timed.killed == [] and timed.study.is_running(0)
    timed.pass_s(10)
    assert timed.killed == ["actor"], "30, 10, 15 and 10 s of silence are more than 60"


def test_a_silent_trial_is_ended_while_no_other_driver_may_change_it(timed, monkeypatch):
    held, doubt = [False], timed.study.doubt

    @contextmanager
    def exclusive():
        held[0] = True
        yield
        held[0] = False

    def doubt_held(*arguments):
        assert held[0], "another driver could have taken the trial over meanwhile"
        doubt(*arguments)

    monkeypatch.setattr(timed.study, "exclusive", exclusive)
    monkeypatch.setattr(timed.study, "doubt", doubt_held)
    timed.pass_s(61)
    assert timed.killed == ["actor"] and timed.study.doubted[0].cause.kind is Kind.TIMED_OUT


def test_a_trial_that_another_driver_has_taken_over_is_not_ended(timed, monkeypatch):
    """This driver finds that out in the moment in which it alone may change the study."""

    @contextmanager
    def exclusive():
        timed.study.interrupt(0)
        yield

    monkeypatch.setattr(timed.study, "exclusive", exclusive)
    timed.pass_s(61)
    assert timed.killed == [] and timed.study.trial(0).state is TrialState.WAITING
