"""Whole searches without training or Ray: the policy and the repeats drive records whose scores are given.

search = SimulatedSearch(space, score, workers=4)
search.run()
search.study.trials(), search.record.trials(), search.epochs
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reid_train.settings.config import TrainConfig
from tests.reports import epoch_report
from tests.without_ray import StubTrial, tell
from tuning.confirm.repeats import Repeats, open_record
from tuning.decide.budget import Purse
from tuning.decide.policy import Policy
from tuning.record.cause import Cause
from tuning.record.study import Study
from tuning.run.messages import EpochEnded, Failed
from tuning.run.scheduler import RungScheduler
from tuning.run.work import Work
from tuning.space.space import SearchSpace

Score = Callable[[TrainConfig, int], "float | Cause"]
"""What a configuration scores at the end of a schedule of so many epochs, or why it fails in the first of them."""


class Clock:
    """Stands for the module `time` in tuning.record.study."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


class SimulatedSearch:
    """A search of a study that is kept in a folder or in memory alone; all that run train an epoch at a time."""

    def __init__(
        self,
        space: SearchSpace,
        score: Score,
        *,
        folder: Path | None = None,
        workers: int = 1,
        clock: Clock | None = None,
        epoch_s: float = 1.0,
    ):
        """`clock` moves by `epoch_s` with each epoch of those that run."""
        self.score, self.workers, self.clock, self.epoch_s = score, workers, clock, epoch_s
        if folder is None:
            self.study = Study("study", space, in_memory=True)
            self.record = Study("study", space, name="repeats", in_memory=True)
        else:
            self.study = Study(folder, space)
            self.study.keep_space()
            self.study.settle()
            self.record = open_record(folder, self.study.space)
        self.record.share_clock(self.study)
        self.purse = Purse(self.study, self.record, workers)
        self.policy = Policy(self.study, self.purse)
        self.repeats = Repeats(self.record, self.study, self.purse)
        self.epochs = 0
        """Trained since this began."""

    def run(self, most_epochs: int = 10_000) -> bool:
        """Runs it to its end; False where it was killed, after so many epochs."""
        return all(self.run_one(work, most_epochs) for work in (self.policy, self.repeats))

    def run_one(self, work: Work, most_epochs: int = 10_000) -> bool:
        """Runs the trials, or the repeats."""
        scheduler, running = RungScheduler(work), list[int]()
        while True:
            while len(running) < self.workers and (number := work.next_trial()) is not None:
                running.append(number)
            if not running:
                return True
            if self.clock is not None:
                self.clock.now_s += self.epoch_s
            for number in list(running):
                if self.epochs >= most_epochs:
                    return False
                self.epochs += 1
                if not self._train_epoch(work, scheduler, number):
                    running.remove(number)

    def _train_epoch(self, work: Work, scheduler: RungScheduler, number: int) -> bool:
        trial, job = work.study.trial(number), work.job(number)
        done = max(trial.rung, job.behind)
        rung = next(rung for rung in job.rungs if rung > done)
        begins = 0 if job.promotion == "restart" else done
        epoch = 1 + max((e.report.epoch for e in trial.reports if e.rung == rung), default=begins)
        scored = self.score(job.config, rung)
        if isinstance(scored, Cause):
            return tell(scheduler, StubTrial(job), [Failed(scored)])
        report = epoch_report(epoch, num_epochs=rung, val_mAP=scored, seconds=self.epoch_s)
        return tell(scheduler, StubTrial(job), [EpochEnded(rung, report)])

    @property
    def trained(self) -> int:
        """Epochs on record, those of repeats too."""
        return sum(trial.epochs for record in (self.study, self.record) for trial in record.trials())

    def runs(self) -> list[tuple[Mapping[str, Any], int, int]]:
        """Settings, seed and length of every schedule that was trained to its end."""
        found = [
            (trial.parameters, self.study.config(trial.number).seed, rung)
            for trial in self.study.trials()
            for rung in trial.scores
        ]
        return found + [
            (run.notes["parameters"], run.notes["seed"], rung) for run in self.record.trials() for rung in run.scores
        ]
