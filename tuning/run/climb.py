"""Trains a trial up its rungs, by the schedules that tuning/space/schedules.py lists. Runs in the trial's process.

for rung, report in climb(job, data, pixels, folder):
    ...  # report.epoch counts the epochs behind the weights: at a rung's end it equals the rung
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from reid_train.checkpoints.checkpoint import WEIGHTS, DamagedFile, load_checkpoint, remove_state
from reid_train.measure.epoch_report import EpochReport
from reid_train.training.loop import train_epochs
from tuning.record.folders import rung_folder
from tuning.record.job import TrialJob
from tuning.space.schedules import Schedule, schedules

logger = logging.getLogger(__name__)


def climb(job: TrialJob, data: TrainingData, pixels: Pixels, folder: str | Path) -> Iterator[tuple[int, EpochReport]]:
    """Trains up the job's rungs in `folder`; yields each epoch's report with the rung that it leads to.

    At a rung's end the weights are in the folder of its schedule, and those of shorter ones are gone. Closing the
    generator frees everything. After an interruption it goes on where it was, and tells the last rung that it finished
    once more. A schedule whose state or weights are damaged is trained again from its beginning. Raises what
    `train_epochs` does.
    """
    plan, rungs, mode = schedules(job.rungs, job.promotion), job.rungs, job.promotion
    # Only `restart` needs nothing of the rungs that are over; the other ways go on from their weights.
    behind = job.behind if mode == "restart" else 0
    for schedule in plan:
        place = rung_folder(folder, schedule.ends)
        if (place / WEIGHTS).is_file() and (finished := _last_report(place)) is not None:
            told = _of_trial(finished, schedule)
            behind = max(behind, told.epoch)
            yield told.epoch, told
    for schedule in plan:
        place = rung_folder(folder, schedule.ends)
        if schedule.ends <= behind:
            continue
        cycle = job.config.changed(num_epochs=schedule.num_epochs)
        if schedule.begins:  # with other batches than the last schedule's
            start = str(rung_folder(folder, schedule.begins))
            cycle = cycle.changed(pretrained=start, seed=job.config.seed + schedule.begins)
        train = partial(
            train_epochs,
            cycle,
            data,
            pixels,
            out_dir=place,
            state_interval_s=job.state_interval_s,
            keep_at=rungs if mode == "cut" else (),
        )
        for own_report in _in_spite_of_damage(train):
            report = _of_trial(own_report, schedule)
            if report.epoch == schedule.ends:
                remove_state(place)
                for shorter in plan[: plan.index(schedule)]:  # these weights take the place of theirs
                    shutil.rmtree(rung_folder(folder, shorter.ends), ignore_errors=True)
            yield min(rung for rung in rungs if rung >= report.epoch) if mode == "cut" else schedule.ends, report


def _last_report(place: Path) -> EpochReport | None:
    """The last epoch of the checkpoint in `place`; None, and the file removed, when it is damaged."""
    try:
        return EpochReport.from_record(load_checkpoint(place).metrics)
    except DamagedFile as error:
        _remove_damaged(error)
        return None


def _in_spite_of_damage(train: Callable[[], Iterator[EpochReport]]) -> Iterator[EpochReport]:
    """The epochs of `train`; from the first on when the state that it would have gone on from is damaged."""
    try:
        yield from train()
    except DamagedFile as error:  # comes before the first epoch
        _remove_damaged(error)
        yield from train()


def _remove_damaged(error: DamagedFile) -> None:
    logger.warning("%s; it is removed, and what led to it is trained again", error)
    error.file.unlink(missing_ok=True)


def _of_trial(report: EpochReport, schedule: Schedule) -> EpochReport:
    """A schedule's report that also counts the epochs behind its starting weights."""
    return replace(report, epoch=schedule.begins + report.epoch, num_epochs=schedule.begins + report.num_epochs)
