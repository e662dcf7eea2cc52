"""Records real training runs for equal_budget.py to make truths of: many configurations, several seeds, every epoch.

    python -m tests.benchmarks.record_curves --space tests/benchmarks/curves/pedestrians.yaml

Configurations are the space's first trials and then the points of a Sobol sequence. Each is trained with each seed in
complete schedules of every length among the rungs, and each of these is continued by further cycles up to the longest:
with rungs [1, 3, 9], the paths 1+2+6, 3+6 and 9. Promotion by `restart` goes along the paths 1, 3 and 9; by `continue`
along one of them; `cut` looks at 9 on its way. The best configurations and the first trials are then trained with
further seeds at full length.

Every path is a file in results/curves/NAME/; the same command leaves out what is there. At its end, and after
--minutes, the files become curves/NAME.csv.gz, a row an epoch, and curves/NAME.json, which says how they were made.
"""

import argparse
import datetime
import gzip
import json
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from data.pixels.cache import Pixels, open_pixels
from data.sets.readers import read_train
from data.sets.splits import TrainingData, split_identities
from data.system.errors import exit_on_user_error
from data.system.files import replacing
from reid_train.settings.config import TrainConfig
from tests.benchmarks.curve_table import COLUMNS, Table, path_to, sobol_configurations
from tuning.space.read import read_space
from tuning.space.space import SearchSpace

CURVES = Path(__file__).parent / "curves"
WORK = Path("results/curves")
DIGITS = {"val_mAP": 5}
"""Of the numbers in the file, by column; 3 of the others, which nothing is measured by."""


class Piece(NamedTuple):
    """One path to record."""

    configuration: int
    seed: int
    first: int
    """Epochs of its first cycle, one of the rungs."""

    @property
    def file_name(self) -> str:
        return f"{self.configuration:03d}-{self.seed}-{self.first}.csv"


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--space", type=Path, default=CURVES / "pedestrians.yaml", help="what is searched and fixed")
    parser.add_argument("--thin", type=Path, metavar="DIR", help="a VeRi-776 folder of which a part is used")
    parser.add_argument("--configurations", type=int, default=100, help="Sobol points (default 100)")
    parser.add_argument("--seeds", type=int, default=2, help="of every configuration (default 2)")
    parser.add_argument("--best", type=int, default=20, help="configurations that get further seeds (default 20)")
    parser.add_argument("--further-seeds", type=int, default=8, help="how many (default 8)")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="default: one a core")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin nothing after this; default: no limit")
    record(parser.parse_args())


def record(arguments: argparse.Namespace) -> None:
    """Everything that is not there yet, in two rounds: all configurations, then further seeds of the best."""
    deadline = time.time() + 60 * arguments.minutes
    space = prepare(arguments.space, arguments.thin)
    configurations = sobol_configurations(space, arguments.configurations)
    folder = WORK / space.name
    folder.mkdir(parents=True, exist_ok=True)
    rungs = space.study.rungs
    assert isinstance(rungs, tuple), "a space to record needs study.rungs"
    first_round = [
        Piece(number, seed, first)
        for seed in range(arguments.seeds)
        for number in range(len(configurations))
        for first in rungs
    ]
    unpack(space, folder)
    work = arguments.space, configurations, folder, deadline
    whole = record_pieces(first_round, work, arguments.processes)
    table = collect(space, configurations, folder)
    if whole and arguments.further_seeds:
        chosen = sorted({*table.best_first()[: arguments.best], *range(len(space.first_trials))})
        seeds = range(arguments.seeds, arguments.seeds + arguments.further_seeds)
        second_round = [Piece(number, seed, rungs[-1]) for seed in seeds for number in chosen]
        record_pieces(second_round, work, arguments.processes)
        table = collect(space, configurations, folder)
    print(table.describe())


def prepare(file: Path, thinned: Path | None) -> SearchSpace:
    """The space, with its images drawn, or taken from the folder that is to be thinned, and its starting weights."""
    import yaml

    from data.drawing.datasets import draw_dataset
    from reid_train.checkpoints.checkpoint import WEIGHTS

    space = read_space(file)
    folder = Path(space.fixed["data_dir"])
    if space.sample_data and not folder.is_dir():
        draw_dataset(out_dir=folder, **space.sample_data)
    elif thinned and not folder.is_dir():
        thin(thinned, folder)
    start = Path(space.fixed["pretrained"])
    if not (start / WEIGHTS).is_file():
        settings = yaml.safe_load((CURVES / "start.yaml").read_text())
        if not Path(settings["data_dir"]).is_dir():
            vehicles = {"identities": 160, "test_identities": 2, "cameras": 4, "images_per_camera": 2, "seed": 2}
            draw_dataset(layout="veri", out_dir=settings["data_dir"], **vehicles)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(train_start, settings, start).result()
    return space


def thin(source: Path, target: Path, *, identities: int = 86, images: int = 16) -> None:
    """Copies the first identities' images, from cameras spread over theirs, into a folder of the same layout."""
    by_identity: dict[int, list[str]] = {}
    for sample in sorted(read_train(source), key=lambda sample: (sample.identity, sample.camera, sample.path)):
        by_identity.setdefault(sample.identity, []).append(sample.path)
    (target / "image_train").mkdir(parents=True)
    for paths in list(by_identity.values())[:identities]:
        for path in paths[:: len(paths) // images][:images]:
            shutil.copy(path, target / "image_train")


def unpack(space: SearchSpace, folder: Path) -> None:
    """Puts what the recorded table holds back into pieces, where they are gone: the recording goes on from there."""
    file = CURVES / f"{space.name}.csv.gz"
    if not file.is_file():
        return
    pieces: dict[Piece, list[str]] = {}
    _, *lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    for line in lines:
        number, seed, path, *_ = line.split(",")
        pieces.setdefault(Piece(int(number), int(seed), int(path.split("+")[0])), []).append(line)
    for piece, rows in pieces.items():
        if not (folder / piece.file_name).is_file():
            (folder / piece.file_name).write_text("\n".join(rows) + "\n")


def open_images(config: TrainConfig) -> tuple[TrainingData, Pixels]:
    """A data set's training and validation images."""
    samples = read_train(config.data_dir, config.dataset)
    data = split_identities(samples, fraction=config.validation_fraction, seed=config.split_seed)
    return data, open_pixels(samples, height=config.image_height, width=config.image_width)


def train_start(settings: dict[str, Any], folder: Path) -> None:
    """Trains the starting weights."""
    from reid_train.settings.config import make_config
    from reid_train.training.loop import train_epochs

    config = make_config(settings, "start.yaml")
    data, pixels = open_images(config)
    for report in train_epochs(config, data, pixels, out_dir=folder):
        print(f"starting weights: epoch {report.epoch}/{report.num_epochs}, mAP {report.val_mAP:.3f}", flush=True)


def record_pieces(pieces: list[Piece], work: tuple[Any, ...], processes: int) -> bool:
    """Trains what is missing; whether nothing is missing any more."""
    folder = work[2]
    missing = [piece for piece in pieces if not (folder / piece.file_name).is_file()]
    if not missing:
        return True
    print(f"{len(missing)} of {len(pieces)} paths to record", flush=True)
    started, done = time.time(), 0
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=open_data, initargs=work) as pool:
        for future in as_completed([pool.submit(record_piece, piece) for piece in missing]):
            done += future.result()
            if future.result() and done % 20 == 0:
                print(f"{done} of {len(missing)} in {(time.time() - started) / 60:.1f} min", flush=True)
    return done == len(missing)


OPEN: dict[str, Any] = {}
"""What a process of the pool has opened."""


def open_data(file: Path, configurations: list[dict[str, Any]], folder: Path, end: float) -> None:
    """A process's beginning: one thread, the images, the configurations."""
    space = read_space(file)
    data, pixels = open_images(space.base_config())
    configs = [space.config(values).changed(num_threads=1) for values in configurations]
    OPEN.update(data=data, pixels=pixels, configs=configs, rungs=space.study.rungs, folder=folder, end=end)


def record_piece(piece: Piece) -> bool:
    """Trains one path and writes its rows; whether there was time for it. One that diverges ends with an empty row."""
    from reid_train.objective.losses import NonFiniteLoss
    from tuning.record.job import TrialJob
    from tuning.run.climb import climb

    if time.time() > OPEN["end"]:
        return False
    config, rungs = OPEN["configs"][piece.configuration].changed(seed=piece.seed), OPEN["rungs"]
    rungs, lines, path = rungs[rungs.index(piece.first) :], [], ""
    try:
        with tempfile.TemporaryDirectory() as folder:
            job = TrialJob(
                number=piece.configuration,
                config=config,
                rungs=rungs,
                promotion="continue",
                behind=0,
                folder=folder,
                state_interval_s=60,
            )
            for rung, report in climb(job, OPEN["data"], OPEN["pixels"], folder):
                path = path_to(rung, rungs)
                row = {**vars(report), "path": path, "configuration": piece.configuration, "seed": piece.seed}
                lines.append(",".join(_text(row[column], DIGITS.get(column, 3)) for column in COLUMNS))
    except NonFiniteLoss:
        later = next(path_to(rung, rungs) for rung in rungs if not lines or path_to(rung, rungs) != path)
        lines.append(f"{piece.configuration},{piece.seed},{later}" + "," * (len(COLUMNS) - 3))
    with replacing(OPEN["folder"] / piece.file_name) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    return True


def _text(value: Any, digits: int) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def collect(space: SearchSpace, configurations: list[dict[str, Any]], folder: Path) -> Table:
    """Puts the pieces together: curves/NAME.csv.gz and NAME.json, and the table that they make."""
    from tests.benchmarks.machine import describe_machine

    data, _ = open_images(space.base_config())
    files = sorted(folder.glob("*.csv"))
    text = "".join(file.read_text() for file in files)
    known = CURVES / f"{space.name}.json"
    earlier = json.loads(known.read_text())["dates"] if known.is_file() else []
    with replacing(CURVES / f"{space.name}.csv.gz") as temporary:
        temporary.write_bytes(gzip.compress((",".join(COLUMNS) + "\n" + text).encode(), mtime=0))
    description = {
        "command": " ".join(["python -m tests.benchmarks.record_curves", *sys.argv[1:]]),
        "dates": sorted({*earlier, datetime.date.today().isoformat()}),
        "machine": describe_machine().rsplit(", load", 1)[0],
        "runs": len(files),
        "training_images": len(data.train),
        "training_identities": len({sample.identity for sample in data.train}),
        "validation_images": len(data.query) + len(data.gallery),
        "configurations": configurations,
    }
    with replacing(known) as temporary:
        temporary.write_text(json.dumps(description, indent=1) + "\n")
    return Table.read(space)


if __name__ == "__main__":
    main()
