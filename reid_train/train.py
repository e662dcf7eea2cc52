"""Trains one model and keeps what it leaves: history, log, plot, checkpoint.

python -m reid_train.train --config FILE [--set name=value ...] [--out DIR]
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.system.errors import UserError, exit_on_user_error
from data.system.options import add_cache_options, cache_options

if TYPE_CHECKING:
    from data.pixels.cache import Pixels
    from data.sets.samples import Sample
    from data.sets.splits import TrainingData
    from reid_train.config import TrainConfig
    from reid_train.report import EpochReport

logger = logging.getLogger(__name__)


class Diverged(UserError):
    """Training that came to a loss which is no finite number: with these settings it always does."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m reid_train.train",
        description="Trains one model. The same command goes on where an interrupted one stopped.",
        epilog="Every setting is a line `name: value` of the file; reid_train/config.py lists them with their meaning.",
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="YAML file of settings")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting; may be repeated")
    add_cache_options(parser)
    parser.add_argument("--out", metavar="DIR", help="default: results/train-<name of the config file>")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    from data.pixels.bad_images import describe_left_out
    from data.pixels.cache import open_pixels
    from reid_train.config import check_training, read_config
    from reid_train.looks import DATABASE

    config = read_config(arguments.config, arguments.set)
    out = Path(arguments.out or f"results/train-{Path(arguments.config).stem}")
    if (out / DATABASE).exists():
        raise UserError(f"{out}: holds a study; choose another --out")
    samples, data, left_out = read_training(config, arguments.cache_dir)
    check_training(config, data)
    pixels = open_pixels(samples, height=config.image_height, width=config.image_width, **cache_options(arguments))
    log_to(out / "train.log")
    if left_out:
        logger.warning(line := describe_left_out(left_out, "training"))
        print(line, flush=True)
    train_into(config, data, pixels, out)
    print(f"checkpoint, history.csv, history.png and train.log are in {out}")


def read_training(
    config: "TrainConfig", cache_dir: Path | None = None
) -> tuple[list["Sample"], "TrainingData", list[str]]:
    """The training images, their parts as the configuration splits them, and the paths of those it leaves out."""
    from data.pixels.bad_images import usable_train
    from data.sets.splits import hold_out_images, split_identities

    samples, left_out = usable_train(**config.images, cache_dir=cache_dir)
    data = split_identities(samples, fraction=config.validation_fraction, seed=config.split_seed)
    if config.holdout_images_per_identity:
        data = hold_out_images(data, images_per_identity=config.holdout_images_per_identity, seed=config.split_seed)
    return samples, data, left_out


def log_to(file: Path) -> None:
    """Sends what this process logs to a file, and what the run and its images have to tell to the terminal as well."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}; choose another --out") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    terminal = logging.StreamHandler(sys.stdout)
    terminal.addFilter(lambda record: record.name.startswith(("data.", "reid_train.")) and record.name != __name__)
    logging.basicConfig(handlers=[handler, terminal], level=logging.INFO, format="%(message)s")


def train_into(config: "TrainConfig", data: "TrainingData", pixels: "Pixels", out: Path) -> None:
    """Trains `config` into the folder `out`, printing a line an epoch: history, plot and checkpoint.

    Goes on from the state that an interrupted run left there; does nothing when the run is finished. Raises
    UserError when the folder holds a run with other settings, and Diverged when training diverges.
    """
    from reid_train.checkpoint import WEIGHTS, load_checkpoint, remove_state
    from reid_train.config import difference
    from reid_train.history import read_history, write_history
    from reid_train.loop import NonFiniteLoss, train_epochs
    from reid_train.plots import plot_history

    rows = read_history(out / "history.csv")

    def record(report: dict[str, Any]) -> None:
        """Puts an epoch's report in the table, in place of what an interrupted run left there."""
        earlier = [row for row in rows if row["epoch"] < report["epoch"]]
        known = earlier[-1]["epoch"] if earlier else 0
        if known < report["epoch"] - 1:
            rows_lost = f"rows {known + 1} to {report['epoch'] - 1} are missing"
            print(f"{out / 'history.csv'}: damaged: {rows_lost}", flush=True)
        rows[:] = [*earlier, report]
        write_history(out / "history.csv", rows)

    if (out / WEIGHTS).is_file():
        finished = load_checkpoint(out)
        if changed := difference(finished.config.model_dump(mode="json"), config):
            raise UserError(f"{out}: holds a run with other settings: {changed}; choose another folder, or remove it")
        print(f"{out}: this run is finished")
        record(finished.metrics)  # it may have been interrupted between the weights and the table
    else:
        try:
            for report in train_epochs(config, data, pixels, out_dir=out):
                record(report.to_record())
                logger.info(line := _epoch_line(report))
                print(line, flush=True)
        except NonFiniteLoss as error:
            raise Diverged(f"{out}: training diverged: {error}; try a smaller learning_rate") from error
    remove_state(out)
    plot_history(rows, out / "history.png", title=f"Training history: {out.name}")


def _epoch_line(report: "EpochReport") -> str:
    line = f"epoch {report.epoch}/{report.num_epochs}  loss {report.loss:.3f}  accuracy {report.accuracy:.1%}"
    if report.val_mAP is not None:
        line += f"  val mAP {report.val_mAP:.1%}  rank 1 {report.val_rank1:.1%}"
    return f"{line}  {report.images_per_s:.0f} images/s"


if __name__ == "__main__":
    main()
