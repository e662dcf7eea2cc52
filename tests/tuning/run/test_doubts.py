"""A broken machine uses up no trials: failures that say nothing about a configuration stop a search, and wait."""

import pytest

from data.system.errors import UserError
from tests.reports import epoch_report
from tests.without_ray import StubTrial, tell
from tuning.decide.budget import Purse
from tuning.decide.policy import Policy
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.run.doubts import failed
from tuning.run.guard import SearchStopped
from tuning.run.messages import EpochEnded, Failed, job_of
from tuning.run.scheduler import RungScheduler
from tuning.run.searcher import StudySearcher
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  optimizer: [adamw, sgd]
  batch_size: [8, 16, 32]
study: {trials: 12, rungs: [1, 2]}
"""
NO_GPU = Cause(Kind.ERROR, "AcceleratorError: CUDA error: unspecified launch failure")
NOT_THERE = Cause(Kind.DOES_NOT_FIT, "device=cuda is not available here; use device=auto or device=cpu")


class Search:
    """A search whose trials are trained by hand."""

    def __init__(self, folder, space=SPACE):
        folder.mkdir(exist_ok=True)
        (folder / "space.yaml").write_text(space)
        self.study = Study(folder / "study", read_space(folder / "space.yaml"))
        self.study.settle()
        self.policy = Policy(self.study, Purse(self.study, None))
        self.searcher, self.scheduler = StudySearcher(self.policy, self.policy.job), RungScheduler(self.policy)

    def begin(self):
        given = self.searcher.suggest("")
        return given if given is None or given == StudySearcher.FINISHED else StubTrial(job_of(given))

    def fail(self, cause, trial=None):
        tell(self.scheduler, trial or self.begin(), [Failed(cause)])

    def train(self, trial=None):
        trial = trial or self.begin()
        job = job_of(trial.config)
        ends = next(rung for rung in job.rungs if rung > job.behind)
        tell(self.scheduler, trial, [EpochEnded(ends, epoch_report(ends, val_mAP=0.3))])

    def fail_until_it_stops(self, cause_of, most=8):
        for count in range(most):
            trial = self.begin()
            try:
                self.fail(cause_of(job_of(trial.config)), trial)
            except SearchStopped as stopped:
                assert isinstance(stopped.reason, UserError)
                return count + 1, str(stopped.reason)
        return None, ""

    def states(self):
        return [trial.state for trial in self.study.trials()]


@pytest.fixture
def search(tmp_path):
    return Search(tmp_path)


@pytest.mark.parametrize("trained_before", [0, 6])
@pytest.mark.parametrize(
    "cause_of",
    [
        lambda job: NO_GPU,
        lambda job: NOT_THERE,
        lambda job: Cause(Kind.ERROR, f"FileNotFoundError: [Errno 2] No such file or directory: '{job.folder}/x'"),
        lambda job: Cause(Kind.DOES_NOT_FIT, f"/data/train/{job.number:04d}_c1.jpg: No such file or directory"),
        lambda job: Cause(Kind.WORKER_DIED, f"worker died at 11:42:0{job.number % 10}: actor 83af{job.number}2bc died"),
        lambda job: Cause(Kind.TIMED_OUT, "no epoch was reported for 1:00 (study.trial_timeout)"),
    ],
)
def test_equal_failures_stop_the_search_and_cost_it_nothing(search, tmp_path, cause_of, trained_before):
    for _ in range(trained_before):
        search.train()
    count, said = search.fail_until_it_stops(cause_of)
    assert count is not None and "failed alike" in said and "\n" not in said and "give the same command" in said
    assert TrialState.FAILED not in search.states()
    again = Search(tmp_path)  # on the mended machine
    waited = again.study.in_state(TrialState.WAITING)
    assert len(waited) == count
    for number in waited:
        trial = again.begin()
        assert job_of(trial.config).number == number, "it goes on before any other"
        again.train(trial)
    assert TrialState.FAILED not in again.states() and TrialState.WAITING not in again.states()


def test_a_failure_is_the_trials_own_where_one_that_began_later_trains(search):
    search.train()
    search.fail(NO_GPU)
    assert search.states()[1] is TrialState.WAITING
    search.train()
    assert search.states()[1] is TrialState.FAILED and search.study.trial(1).cause == NO_GPU
    search.fail(NO_GPU)
    search.fail(NO_GPU)
    search.train()
    assert search.states().count(TrialState.FAILED) == 3, "never three without one that trained"


def test_a_trial_that_trains_since_before_says_nothing_about_the_machine(search):
    """One GPU of two has died: what runs on the other goes on."""
    beside = search.begin()
    for _ in range(2):
        search.fail(NO_GPU)
        assert tell(search.scheduler, beside, [EpochEnded(2, epoch_report(1))])
    count, _ = search.fail_until_it_stops(lambda _: NO_GPU)
    assert count is not None and TrialState.FAILED not in search.states()


def test_a_choice_that_always_fails_is_to_blame_and_not_the_machine(search):
    """The trained have adamw, what fails has sgd: the search goes on, and the failures are on record."""
    broken = Cause(Kind.ERROR, "RuntimeError: no such kernel")
    for _ in range(12):
        trial = search.begin()
        if trial is None or trial == StudySearcher.FINISHED:
            break
        if job_of(trial.config).config.optimizer == "sgd":
            search.fail(broken, trial)
        else:
            search.train(trial)
    causes = {trial.parameters["optimizer"] for trial in search.study.trials() if trial.state is TrialState.FAILED}
    assert causes == {"sgd"}


@pytest.mark.parametrize("kind", [Kind.DIVERGED, Kind.COLLAPSED, Kind.OUT_OF_MEMORY])
def test_what_the_configuration_brings_about_is_on_record_at_once(search, kind):
    for _ in range(5):
        search.fail(Cause(kind, "the same words"))
    assert search.states() == [TrialState.FAILED] * 5


def test_want_of_memory_is_the_machines_where_it_was_enough_for_the_same_trials(search):
    """Another program has taken the GPU's memory when the best go on to the second rung."""
    for _ in range(5):
        search.train()
    going_on = search.study.in_state(TrialState.PAUSED)[:3]
    for number in going_on:
        search.study.go_on(number)
    trials = [StubTrial(search.policy.job(number)) for number in going_on]
    full = Cause(Kind.OUT_OF_MEMORY, "batch_size=8 is too large here: CUDA out of memory")
    for trial in trials[:2]:
        search.fail(full, trial)
    with pytest.raises(SearchStopped, match="3 trials failed alike"):
        search.fail(full, trials[2])
    assert [search.study.trial(number).state for number in going_on] == [TrialState.WAITING] * 3


def test_want_of_memory_of_a_new_trial_is_the_machines_where_others_as_large_have_trained(tmp_path):
    search = Search(tmp_path, SPACE.replace("batch_size: [8, 16, 32]", "batch_size: [8, 4096]"))
    sizes = set[int]()
    for _ in range(8):
        trial = search.begin()
        job = job_of(trial.config)
        size = job.config.batch_size
        if size == 8 and 8 not in sizes:
            search.train(trial)
            sizes.add(8)
            continue
        search.fail(Cause(Kind.OUT_OF_MEMORY, f"batch_size={size} is too large here: CUDA out of memory"), trial)
        assert search.study.trial(job.number).state is (TrialState.FAILED if size == 4096 else TrialState.WAITING)
        if size == 8:
            return
    pytest.fail("no second trial had a batch of 8")


def test_two_choices_that_fail_only_together_are_to_blame(search):
    """Each of them alone trains: the machine works."""
    study, broken = search.study, Cause(Kind.ERROR, "RuntimeError: no such kernel")

    def begun(optimizer, batch_size):
        return study.add({"learning_rate": 0.01, "optimizer": optimizer, "batch_size": batch_size})

    for choices in (("adamw", 16), ("sgd", 8)):
        study.record(begun(*choices), 2, epoch_report(1))
    for _ in range(5):
        failed(study, begun("sgd", 16), broken)
    with pytest.raises(UserError, match="6 trials failed alike"):
        failed(study, begun("adamw", 16), broken)


def test_a_search_that_ends_before_any_trial_has_trained_keeps_its_trials(tmp_path):
    search = Search(tmp_path, SPACE.replace("trials: 12", "trials: 2"))
    search.fail(NO_GPU)
    search.fail(NO_GPU)
    with pytest.raises(SearchStopped, match="2 trials failed alike and none has trained"):
        search.begin()
    assert search.states() == [TrialState.WAITING] * 2


def test_the_last_trials_failures_are_on_record_when_the_search_ends(tmp_path):
    search = Search(tmp_path, SPACE.replace("trials: 12", "trials: 2"))
    search.train()
    search.fail(NO_GPU)
    while (trial := search.begin()) != StudySearcher.FINISHED:
        assert trial is not None, "it would never end"
        search.train(trial)
    assert TrialState.FAILED in search.states() and TrialState.WAITING not in search.states()
