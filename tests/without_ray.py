"""Searches in one process: what Ray calls is called here, one trial after the other.

def test_...(without_ray):
    done = run_here("tuning.search", "--space", ...)  # a second or two, where a real one takes twenty
"""

from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from reid_train.model.backbones import BACKBONES
from tests.narrow_resnet import NarrowResNet
from tuning.record.job import TrialJob
from tuning.record.trial import TrialState
from tuning.run.guard import SearchStopped
from tuning.run.messages import Told, job_of, ray_config, ray_result
from tuning.run.progress import Progress
from tuning.run.resources import Resources
from tuning.run.scheduler import RungScheduler
from tuning.run.searcher import StudySearcher
from tuning.run.trials import handed_job
from tuning.run.work import Work
from tuning.run.worker import train


class StubTrial:
    """What Ray's callbacks are given of a trial."""

    def __init__(self, job: TrialJob, error: Exception | str | None = None):
        """`error` is why Ray says that it ended."""
        self.config, self.trial_id, self.status = ray_config(job), f"stub-{job.number}", "RUNNING"
        self.temporary_state = SimpleNamespace(ray_actor=f"actor of {job.number}")
        self.error = error

    def get_pickled_error(self) -> Exception | None:
        return self.error if isinstance(self.error, Exception) else None

    def get_error(self) -> Exception | str | None:
        return self.error


def tell(scheduler: RungScheduler, trial: StubTrial, told: Iterable[Told], progress: Progress | None = None) -> bool:
    """Has a trial tell the scheduler, and then the display, of each in turn; whether it is to go on after the last."""
    for each in told:
        result: dict[str, Any] = ray_result(each)
        decision = scheduler.on_trial_result(None, trial, result)
        if progress is not None:
            progress.on_trial_result(0, [], trial, result)
        if decision == scheduler.STOP:
            return False
    return True


def run_trials_here(
    work: Work,
    data: TrainingData,
    pixels: Pixels,
    resources: Resources,
    *,
    address: str | None = None,
    told: Callable[[], None] | None = None,
) -> None:
    """What tuning.run.trials.run_trials does, one trial after the other and in this process."""
    assert address is None
    study = work.study
    if not work.has_work() and not study.in_state(TrialState.RUNNING):
        return
    searcher = StudySearcher(work, partial(handed_job, work, resources=resources))
    scheduler = RungScheduler(work)
    try:
        with Progress(work, resources) as progress:
            while isinstance(config := searcher.suggest(""), dict):
                trial = StubTrial(job_of(config))
                progress.on_trial_start(0, [], trial)
                telling = train(job_of(config), data, pixels, study.storage)
                tell(scheduler, trial, telling, progress)
                telling.close()
                if told is not None:
                    told()
    except SearchStopped as stopped:
        raise stopped.reason from None
    finally:
        study.settle()


def call_here(function: str, *arguments: Any, count: int = 1) -> list[Any]:
    """data.system.processes.in_processes, in this process."""
    module, _, name = function.partition(":")
    return [getattr(import_module(module), name)(*arguments) for _ in range(count)]


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches that are run in this process start no other, and resnet18 is NarrowResNet there."""
    monkeypatch.setattr("tuning.run.trials.run_trials", run_trials_here)
    monkeypatch.setattr("tuning.run.worker.keep_to_gpu", lambda job: None)  # it changes the whole process
    monkeypatch.setattr("tuning.prepare.begin.start_ray", lambda address, resources: None)
    for module in ("costs", "models", "planning"):
        monkeypatch.setattr(f"tuning.prepare.{module}.in_processes", call_here)
    monkeypatch.setitem(BACKBONES, "resnet18", (NarrowResNet, BACKBONES["resnet18"][1], 64))
