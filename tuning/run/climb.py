"""How a trial climbs its rungs: the three ways from one rung to the next, longer one.

A rung is a number of epochs after which trials are compared. With rungs [1, 3, 9]:

restart    complete schedules of 1, 3 and 9 epochs, each from the starting weights: 13 epochs to the top.
continue   complete schedules of 1, 2 and 6 epochs, each from the weights of the last: 9 epochs to the top.
cut        one schedule of 9 epochs, compared at 1 and 3, in the middle of its learning-rate cycle.

torch and what needs it are imported where they are used: the process that steers a search never loads them.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from reid_train.config import TrainConfig

if TYPE_CHECKING:
    from reid_train.checkpoint import DamagedFile
    from reid_train.report import EpochReport

logger = logging.getLogger(__name__)

Mode = Literal["restart", "continue", "cut"]


class Schedule(NamedTuple):
    """One OneCycle schedule of a trial, from starting weights or from those of an earlier one."""

    begins: int
    """Epochs behind the weights that it starts from; 0: the configuration's starting weights."""
    ends: int
    """Epochs behind the weights that it gives."""

    @property
    def num_epochs(self) -> int:
        return self.ends - self.begins


def schedules(rungs: Sequence[int], mode: Mode) -> list[Schedule]:
    """The schedules that lead to the top, in their order."""
    if mode == "cut":
        return [Schedule(0, rungs[-1])]
    begins = [0, *rungs[:-1]] if mode == "continue" else [0] * len(rungs)
    return [Schedule(*pair) for pair in zip(begins, rungs, strict=True)]


def lengths(rungs: Sequence[int], mode: Mode) -> list[int]:
    """Epochs that a trial trains to each rung from the one below."""
    begins = [0] * len(rungs) if mode == "restart" else [0, *rungs[:-1]]
    return [rung - below for below, rung in zip(begins, rungs, strict=True)]


def rung_folder(folder: str | Path, rung: int) -> Path:
    """Where, in a trial's folder, the schedule that ends at `rung` epochs keeps its state and its weights."""
    return Path(folder) / f"{rung}-epochs"


def weights_folder(folder: str | Path) -> Path | None:
    """Which of a trial's schedules holds weights: at most one does when none is being trained."""
    from reid_train.checkpoint import WEIGHTS

    found = sorted(Path(folder).glob(f"*-epochs/{WEIGHTS}"), key=lambda file: int(file.parent.name.split("-")[0]))
    return found[-1].parent if found else None


def climb(
    settings: TrainConfig,
    rungs: Sequence[int],
    mode: Mode,
    data: TrainingData,
    pixels: Pixels,
    folder: str | Path,
    *,
    behind: int = 0,
    state_interval_s: float = 60.0,
) -> Iterator[tuple[int, "EpochReport"]]:
    """Trains up the rungs in `folder`; yields each epoch's report with the rung that it leads to.

    `report.epoch` counts the epochs behind the weights, so that it equals the rung at the rung's end; there the
    weights are in the folder of the schedule, and those of shorter ones are gone. Closing the generator frees
    everything. After an interruption it goes on where it was, and tells the last rung that it finished once more.
    `restart` needs nothing of the rungs up to `behind`, which are over; the other ways need their weights. A schedule
    whose state or weights are damaged is trained again from its beginning. Raises what `train_epochs` does.
    """
    from reid_train.checkpoint import WEIGHTS, remove_state
    from reid_train.loop import train_epochs
    from reid_train.report import EpochReport

    plan = schedules(rungs, mode)
    if mode != "restart":
        behind = 0
    for schedule in plan:
        place = rung_folder(folder, schedule.ends)
        if (place / WEIGHTS).is_file() and (metrics := _whole_metrics(place)) is not None:
            told = _of_trial(EpochReport.from_record(metrics), schedule)
            behind = max(behind, told.epoch)
            yield told.epoch, told
    for schedule in plan:
        place = rung_folder(folder, schedule.ends)
        if schedule.ends <= behind:
            continue
        cycle = settings.changed(num_epochs=schedule.num_epochs)
        if schedule.begins:  # with other batches than the last cycle's
            start = str(rung_folder(folder, schedule.begins))
            cycle = cycle.changed(pretrained=start, seed=settings.seed + schedule.begins)
        keep_at = rungs if mode == "cut" else ()
        train = partial(
            train_epochs, cycle, data, pixels, out_dir=place, state_interval_s=state_interval_s, keep_at=keep_at
        )
        for own_report in _in_spite_of_damage(train):
            report = _of_trial(own_report, schedule)
            if report.epoch == schedule.ends:
                remove_state(place)
                for shorter in plan[: plan.index(schedule)]:  # these weights take the place of theirs
                    shutil.rmtree(rung_folder(folder, shorter.ends), ignore_errors=True)
            yield min(rung for rung in rungs if rung >= report.epoch) if mode == "cut" else schedule.ends, report


def _whole_metrics(place: Path) -> dict[str, Any] | None:
    """What the checkpoint in `place` says of its last epoch; None, and the file removed, when it is damaged."""
    from reid_train.checkpoint import DamagedFile, load_checkpoint

    try:
        return load_checkpoint(place).metrics
    except DamagedFile as error:
        _remove_damaged(error)
        return None


def _in_spite_of_damage(train: Callable[[], Iterator["EpochReport"]]) -> Iterator["EpochReport"]:
    """The epochs of `train`; from the first on when the state that it would have gone on from is damaged."""
    from reid_train.checkpoint import DamagedFile

    try:
        yield from train()
    except DamagedFile as error:  # comes before the first epoch
        _remove_damaged(error)
        yield from train()


def _remove_damaged(error: "DamagedFile") -> None:
    logger.warning("%s; it is removed, and what led to it is trained again", error)
    error.file.unlink(missing_ok=True)


def _of_trial(report: "EpochReport", schedule: Schedule) -> "EpochReport":
    """A schedule's report with the epochs that its starting weights have behind them counted in."""
    return replace(report, epoch=schedule.begins + report.epoch, num_epochs=schedule.begins + report.num_epochs)
