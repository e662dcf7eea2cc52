"""Which trial Ray is handed next, and when there is none."""

import pytest

from tests.reports import epoch_report
from tests.without_ray import StubTrial, tell
from tuning.decide.budget import Purse
from tuning.decide.policy import Policy
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.run.guard import SearchStopped
from tuning.run.messages import EpochEnded, job_of
from tuning.run.scheduler import RungScheduler
from tuning.run.searcher import StudySearcher
from tuning.space.read import read_space

SPACE = """\
search: {learning_rate: {low: 1e-4, high: 1e-1, log: true}}
study: {trials: 3, rungs: [1, 2]}
"""


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    study = Study(tmp_path / "study", read_space(tmp_path / "space.yaml"), in_memory=True)
    return Policy(study, Purse(study, None))


def test_a_trial_is_handed_its_job_and_nothing_else(policy):
    handed = StudySearcher(policy, policy.job).suggest("")
    assert handed == {"job": policy.job(0)} and policy.study.is_running(0)


def test_a_search_ends_when_nothing_is_left_to_hand_out_and_nothing_runs(policy):
    searcher, scheduler = StudySearcher(policy, policy.job), RungScheduler(policy)
    trials = [StubTrial(job_of(searcher.suggest(""))) for _ in range(3)]
    assert searcher.suggest("") is None, "one of those that run may yet be promoted"
    for number, trial in enumerate(trials):
        report = epoch_report(1, val_mAP=0.3 - number / 10)
        assert tell(scheduler, trial, [EpochEnded(1, report)]) is False, "it pauses, and for Ray it has ended"
    promoted = StubTrial(job_of(searcher.suggest("")))
    assert job_of(promoted.config).number == 0 and job_of(promoted.config).behind == 1, "it comes back as another"
    assert searcher.suggest("") is None
    assert tell(scheduler, promoted, [EpochEnded(2, epoch_report(2, val_mAP=0.4))]) is False
    assert searcher.suggest("") == StudySearcher.FINISHED
    states = [trial.state for trial in policy.study.trials()]
    assert states == [TrialState.COMPLETE, TrialState.PAUSED, TrialState.PAUSED]


def test_no_more_trials_are_handed_out_than_the_machines_have_room_for_now(policy):
    room = [1]
    searcher = StudySearcher(policy, policy.job, lambda: room[0])
    assert job_of(searcher.suggest("")).number == 0
    assert searcher.suggest("") is None and len(policy.study.trials()) == 1
    room[0] = 2  # a machine joined
    assert job_of(searcher.suggest("")).number == 1


def test_a_study_that_cannot_be_written_ends_the_search_and_not_a_trial(policy, monkeypatch):
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(policy.study, "add", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(SearchStopped) as stopped:
        StudySearcher(policy, policy.job).suggest("")
    assert stopped.value.reason is full
