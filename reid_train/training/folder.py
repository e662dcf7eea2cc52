"""One run in a folder of its own: history, log, plot and checkpoint, and going on where it was interrupted.

train_into(config, data, pixels, Path("results/one"))
"""

import logging
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from data.system.errors import UserError
from data.system.options import check_out
from data.system.processes import dead_helpers_told
from data.system.wording import clock
from reid_train.checkpoints.checkpoint import WEIGHTS, another_run, load_checkpoint, remove_state
from reid_train.measure.epoch_report import EpochReport
from reid_train.objective.losses import NonFiniteLoss
from reid_train.settings.config import TrainConfig, fit_defaults
from reid_train.training.history import read_history, write_history
from reid_train.training.learned_from import learned_from
from reid_train.training.loop import train_epochs
from reid_train.training.plots import plot_history

logger = logging.getLogger(__name__)
HISTORY = "history.csv"
TOLD_S = 15.0
"""Seconds between two lines about an epoch's steps."""


class Diverged(UserError):
    """Training that came to a loss which is no finite number: with these settings it always does."""


class _Log(logging.FileHandler):
    """Makes its folder with the file."""

    def _open(self) -> Any:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()


class NowAndThen(logging.Filter):
    """Lets a line about a training step through after each TOLD_S seconds, and adds how long the run still takes."""

    def __init__(self) -> None:
        super().__init__()
        self.first: tuple[float, int] | None = None
        """When the first step was told of here, and which it was: an interrupted run goes on from a later one."""
        self.told_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        done, of, now = getattr(record, "step", None), getattr(record, "steps", 0), time.monotonic()
        if done is None:
            return True
        if self.first is None or done <= self.first[1]:  # another run of this process, maybe
            self.first, self.told_at = (now, done), now
        if now - self.told_at < TOLD_S:
            return False
        self.told_at = now
        began, first = self.first
        record.msg = f"{record.getMessage()}, {clock((of - done) * (now - began) / (done - first))} left"
        record.args, record.levelno, record.levelname = (), logging.INFO, "INFO"
        return True


def log_to(file: Path) -> None:
    """Sends what this process logs to a file, and what the run and its images have to tell to the terminal as well.

    The file and its folder appear with the first line, but for what is said while images are decoded: one that cannot
    be decoded is to leave no folder. Raises UserError where they cannot.
    """
    handler = _Log(check_out(file), encoding="utf-8", delay=True)
    handler.addFilter(lambda record: record.name != "data.pixels.pixel_file")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    terminal = logging.StreamHandler(sys.stdout)
    terminal.addFilter(lambda record: record.name.startswith(("data.", "reid_train.")) and record.name != __name__)
    loop = logging.getLogger(train_epochs.__module__)
    for before in [one for one in loop.filters if isinstance(one, NowAndThen)]:
        loop.removeFilter(before)
    loop.addFilter(NowAndThen())
    loop.setLevel(logging.DEBUG)  # its lines about steps
    logging.basicConfig(handlers=[handler, terminal], level=logging.INFO, format="%(message)s")


def train_into(config: TrainConfig, data: TrainingData, pixels: Pixels, out: Path) -> None:
    """Trains `config` into the folder `out`, printing a line an epoch: history, plot and checkpoint.

    Goes on from the state that an interrupted run left there; does nothing when the run is finished. Raises
    UserError when the folder holds a run with other settings, and Diverged when training diverges.
    """
    config, _ = fit_defaults(config, data)
    if (out / WEIGHTS).is_file():
        finished = load_checkpoint(out)
        there, seen = finished.config.model_dump(mode="json"), learned_from(config, data, pixels)
        if other := another_run(there, finished.seen, config, seen):
            raise UserError(f"{out}: holds a run {other}; choose another folder, or remove it")
        print(f"{out}: this run is finished")
        _record(finished.metrics, out)  # it may have been interrupted between the weights and the table
    else:
        seconds = list[float]()
        try:
            for report in dead_helpers_told(train_epochs(config, data, pixels, out_dir=out)):
                _record(report.to_record(), out)
                seconds.append(report.seconds)
                logger.info(line := _epoch_line(report, (report.num_epochs - report.epoch) * mean(seconds)))
                print(line, flush=True)
        except NonFiniteLoss as error:
            raise Diverged(f"{out}: training diverged: {error}; try a smaller learning_rate") from error
    remove_state(out)
    plot_history(read_history(out / HISTORY), out / "history.png", title=f"Training history: {out.name}")


def _record(report: dict[str, Any], out: Path) -> None:
    """Puts an epoch's report in the table, in place of what an interrupted run left there."""
    rows = [row for row in read_history(out / HISTORY) if row["epoch"] < report["epoch"]]
    known = rows[-1]["epoch"] if rows else 0
    if known < report["epoch"] - 1:
        rows_lost = f"rows {known + 1} to {report['epoch'] - 1} are missing"
        print(f"{out / HISTORY}: damaged: {rows_lost}", flush=True)
    write_history(out / HISTORY, [*rows, report])


def _epoch_line(report: EpochReport, left_s: float) -> str:
    line = f"epoch {report.epoch}/{report.num_epochs}  loss {report.loss:.3f}  accuracy {report.accuracy:.1%}"
    if report.val_mAP is not None:
        line += f"  val mAP {report.val_mAP:.1%}  rank 1 {report.val_rank1:.1%}"
    left = f"  {clock(left_s)} left" if report.epoch < report.num_epochs else ""
    return f"{line}  {report.images_per_s:.0f} images/s{left}"
