"""Writes a study to TensorBoard, W&B or MLflow, from its record: a run a trial, and one for the winner.

python -m tuning.publish results/NAME --to tensorboard|wandb|mlflow

The same command again writes what is new since, and nothing twice. With --follow it goes on while the search runs.
"""

import argparse
import os
import select
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.system.errors import FORBIDDEN, UserError, exit_on_user_error
from data.system.options import CommandParser, add_study_argument

if TYPE_CHECKING:
    from tuning.result.loggers import Target

TO = ("tensorboard", "wandb", "mlflow")
NOTES = "published.json"
"""In the study's folder: what was published where, a digest and the number of epochs for each run."""
EVERY_S = 15.0
"""Between two looks at a search that is followed."""


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m tuning.publish",
        description="Writes a study to TensorBoard, W&B or MLflow from its record: a run for each trial, with its "
        "settings, its curve and its score, and one for the winner. Given again, it writes what is new.",
    )
    add_study_argument(parser)
    parser.add_argument("--to", required=True, choices=TO, help="where to")
    parser.add_argument(
        "--out", metavar="DIR", help="folder of event files, or of W&B's files; default: in the study's folder"
    )
    parser.add_argument("--project", default="reid", help="W&B's project, MLflow's experiment; default: reid")
    parser.add_argument(
        "--uri",
        metavar="URI",
        help="MLflow's server or store; default: $MLFLOW_TRACKING_URI, or mlflow.db beside the study's folder",
    )
    parser.add_argument("--again", action="store_true", help="writes all runs, whatever was published before")
    parser.add_argument(
        "--follow", action="store_true", help=f"looks again every {EVERY_S:.0f} s, until the search ends"
    )
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    from tuning.record.folders import check_study

    folder = Path(arguments.study)
    check_study(folder)
    from data.system.passwords import without_passwords
    from tuning.record.place import sqlite_url
    from tuning.result.loggers import Target
    from tuning.run.publishing import check_logger

    check_logger(arguments.to, "--to")
    out = Path(arguments.out) if arguments.out else folder / arguments.to
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is no folder; choose another")
    uri = arguments.uri or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(folder.resolve().parent / "mlflow.db")
    target = Target(out, arguments.project, uri, shared=bool(arguments.out))
    written = follow(folder, arguments.to, target, again=arguments.again, ends=not arguments.follow)
    place = {
        "tensorboard": shlex.join(["tensorboard", "--logdir", str(out)]),
        "wandb": f"project {arguments.project}",
        "mlflow": without_passwords(uri),
    }
    print(f"{written} runs written: {place[arguments.to]}")


def follow(folder: Path, to: str, target: "Target", *, again: bool, ends: bool) -> int:
    """Publishes what is new; unless it `ends` then, again and again while a search runs. Gives how many runs it wrote.

    A search that started this process holds its input open: once that is closed, this was the last time.
    """
    from tuning.record.copied import copied_study
    from tuning.record.lock import process_in

    written, started = 0, not sys.stdin.isatty() and not ends
    with copied_study(folder) as copy:
        while True:
            last = ends or process_in(folder) is None
            copy.renew()
            written += publish(folder, copy.folder, to, target, again=again)
            if last:
                return written
            again = False
            if started:
                ends = bool(select.select([sys.stdin], [], [], EVERY_S)[0])
            else:
                select.select([], [], [], EVERY_S)


def publish(folder: Path, copy: Path, to: str, target: "Target", *, again: bool = False) -> int:
    """Writes the runs that are new or changed since they were last written there; gives how many. Raises UserError for
    a logger that refuses."""
    from data.system.files import read_json
    from tuning.record.study import Study
    from tuning.result.loggers import LOGGERS, TensorBoard
    from tuning.result.published import runs_of

    logger = LOGGERS[to](study := Study(copy), target)
    notes = read_json(folder / NOTES) if (folder / NOTES).is_file() else {}
    known, written = {} if again else notes.get(logger.place, {}), 0
    try:
        for run in runs_of(study):
            gone = isinstance(logger, TensorBoard) and not (logger.out / run.key).is_dir()
            before = known.get(run.key, {})
            if before.get("digest") != run.digest or gone:
                logger.write(run, before.get("epochs", 0))
                known[run.key], written = {"digest": run.digest, "epochs": len(run.curve)}, written + 1
    finally:
        if written:
            _note(folder / NOTES, {**notes, logger.place: known})
    return written


def _note(file: Path, notes: dict[str, Any]) -> None:
    """Writes what was published; says so where the study can only be read: its runs are out, and nothing is lost."""
    from data.system.files import write_json

    try:
        write_json(file, notes)
    except OSError as error:
        if error.errno not in FORBIDDEN:
            raise
        print(f"note: {file}: {error.strerror}; the same command will write these runs again", file=sys.stderr)


if __name__ == "__main__":
    main()
