"""Packs a study into one file to send on: all of it but training states, repeats and the weights of single trials.

python -m tuning.pack results/NAME [--out FILE]
"""

import argparse
import os
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path

from data.system.commands import program
from data.system.errors import UserError, exit_on_user_error, printable
from data.system.options import CommandParser, add_study_argument, check_out

LEFT_OUT = ("trials", "repeats", "ablation", "ray", "tensorboard", "mlruns", "wandb")
"""Folders that stay: weights and states of single runs, and what can be made of the record again."""
STAYS = (".lock", ".pid", ".driver", ".tmp", "-journal")
"""Endings of files that mean something here alone."""
STATE = "state.pt"
STORED = {".safetensors", ".png", ".webp", ".jpg", ".zip"}
"""Endings of files that deflating hardly makes smaller."""


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m tuning.pack",
        description="Packs a study into a zip file to send on: the winner's model, tables, plots, report and record, "
        "without training states, repeats and the weights of single trials. What is unpacked elsewhere is a study: it "
        "can be reported, retrained and embedded with.",
    )
    add_study_argument(parser)
    parser.add_argument("--out", metavar="FILE", help="default: results/NAME.zip")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    from tuning.record.folders import BEST, check_study

    folder = Path(arguments.study)
    check_study(folder)
    name = folder.resolve().name
    out = check_out(Path(arguments.out) if arguments.out else folder.resolve().parent / f"{name}.zip", ".zip")
    if out.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"--out {out}: lies in the study itself; choose a place beside it")
    from tuning.record.lock import process_in

    if (process := process_in(folder)) is not None:
        print(f"note: process {process} is searching here; what is packed is how it stands now", flush=True)
    files, before = pack(folder, name, out)
    print(f"{megabytes(before)} in {folder}, {megabytes(out.stat().st_size)} packed: {files} files")
    print(printable(f"written to {out}"))
    if not (folder / BEST).is_dir():
        print(f"note: it holds no model ({BEST}/): the search has not come to its end")
    for line in needed_elsewhere(folder, name):
        print(line)


def pack(folder: Path, name: str, out: Path) -> tuple[int, int]:
    """Writes the file, whose folder is called `name`; how many files it holds, and the bytes of all in the study."""
    from data.system.files import replacing
    from data.system.own_folder import OwnFolder
    from tuning.record.copied import copy_database
    from tuning.record.folders import DATABASE

    files, before = 0, sum(file.stat().st_size for file in _files(folder))
    with OwnFolder("reid-pack-") as place, replacing(out) as temporary:
        copy_database(folder / DATABASE, place / DATABASE)  # whole, whoever writes meanwhile
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in _files(folder):
                inside = file.relative_to(folder)
                if not goes_along(inside):
                    continue
                kind = zipfile.ZIP_STORED if file.suffix in STORED else zipfile.ZIP_DEFLATED
                source = place / DATABASE if inside == Path(DATABASE) else file
                packed.write(source, f"{name}/{inside.as_posix()}", kind)
                files += 1
    return files, before


def _files(folder: Path) -> Iterator[Path]:
    """All files, in the order of their names; links to folders are not followed."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (file for name in sorted(names) if (file := Path(place, name)).is_file())


def goes_along(inside: Path) -> bool:
    """Whether a file, by its path in the study, is packed."""
    named = inside.name == STATE or inside.name.endswith(STAYS)
    return not named and (len(inside.parts) == 1 or inside.parts[0] not in LEFT_OUT)


def needed_elsewhere(folder: Path, name: str) -> list[str]:
    """What has to be given with a retraining elsewhere, where the study is the folder `name`; a line."""
    from reid_train.settings.config import read_config
    from tuning.record.folders import BEST_CONFIG

    if not (folder / BEST_CONFIG).is_file():
        return []
    config = read_config(str(folder / BEST_CONFIG))
    options = ["--data-dir DIR"]
    if Path(config.pretrained).is_file():
        options.append("--pretrained FILE")
    if config.teacher and Path(str(config.teacher)).exists():
        options.append("--teacher DIR")
    there = shlex.quote(name)
    report, retrain = f"{program('tuning.report')} {there}", f"{program('tuning.retrain')} {there} {' '.join(options)}"
    return [printable(f"elsewhere: unpack it, then {report}; {retrain}")]


def megabytes(size_bytes: int) -> str:
    """1.5 MB, 1,520 MB."""
    return f"{size_bytes / 1e6:,.{1 if size_bytes < 1e8 else 0}f} MB"


if __name__ == "__main__":
    main()
