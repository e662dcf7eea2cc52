"""Everything between a search's command line and its study: the space, the images, the models, the machines.

ready = prepare(arguments)  # says what it found; raises UserError before a study is begun
"""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from data.drawing.datasets import draw_dataset
from data.pixels.bad_images import describe_left_out
from data.pixels.cache import Pixels, open_sizes
from data.sets.listing import queries_without_match
from data.sets.readers import describe_dataset, find_reader, read_test
from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.errors import UNPRINTABLE, UserError
from data.system.files import LONGEST_NAME_BYTES
from data.system.wording import open_console
from reid_train.settings.config import TrainConfig
from reid_train.training.images import read_training
from tuning.prepare.costs import measure_prices
from tuning.prepare.models import starts_of, teachers_in
from tuning.prepare.request import SearchRequest
from tuning.prepare.warm_start import warm_started
from tuning.record.drivers import check_server
from tuning.record.facts import Prices
from tuning.record.folders import DATABASE, ENVIRONMENT, WEIGHTS
from tuning.record.job import WEIGHTS_IN, weights_file
from tuning.record.lock import FolderLock, lock_folder
from tuning.record.storage import Storage
from tuning.run.publishing import check_logger
from tuning.run.ray_process import set_variables, start_ray, wait_for_ray
from tuning.run.resources import Resources, note_of_gpus, plan_resources, trial_memory_bytes
from tuning.space.batches import fit_to_data
from tuning.space.given import given_settings
from tuning.space.read import space_of
from tuning.space.settings import CLOSING_S, MOST_TRIALS, parse_duration, show_duration
from tuning.space.space import SearchSpace


class Prepared(NamedTuple):
    """What the trials need, and the lock on the study's folder."""

    space: SearchSpace
    """With the command line's budgets."""
    folder: Path
    samples: list[Sample]
    """All training images."""
    left_out: list[str]
    """Training images that cannot be decoded."""
    data: TrainingData
    teachers: str | None
    """Digests of the space's teachers; None without any."""
    pixels: Pixels
    resources: Resources
    storage: Storage | None
    prices: Prices | None
    """What the space's architectures cost; None where the study has begun and has them on record."""
    lock: FolderLock
    new: bool
    """Whether the folder was made now."""

    def undo(self) -> None:
        """Empties the folder, if it was made now: for a study that cannot begin. The lock's release removes it."""
        for left in self.folder.iterdir() if self.new else ():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            elif left.suffix not in (".lock", ".pid"):
                left.unlink()


def prepare(arguments: SearchRequest, *, trains: bool = True) -> Prepared:
    """Reads and checks what the arguments name, and says what it found. Raises UserError.

    `trains`: whether trials follow, for which Ray starts meanwhile.
    """
    check_words()
    space = read_space_of(arguments)
    if space.study.publish is not None:
        check_logger(space.study.publish, "--publish" if arguments.publish else "study.publish")
    folder = study_folder(arguments, space)
    space, remarks = start_warm(arguments, space, folder)
    config = space.base_config()
    if space.sample_data is not None and not Path(config.data_dir).exists():
        draw_sample(config.data_dir, space.sample_data)
    new = not folder.exists()
    lock = lock_folder(folder)  # before anything that takes long
    try:
        return _prepare(arguments, space, remarks, folder, lock, new=new, trains=trains)
    except BaseException:
        lock.release()
        raise


def _prepare(
    arguments: SearchRequest,
    space: SearchSpace,
    remarks: list[str],
    folder: Path,
    lock: FolderLock,
    *,
    new: bool,
    trains: bool,
) -> Prepared:
    """`prepare` in the study's folder. What is quick to check comes before the images are decoded."""
    config = space.base_config()
    find_reader(config.data_dir, config.dataset, config.name_pattern)  # a wrong path is told at once
    resources, storage = find_machines(arguments, space, folder)
    samples, data, left_out = read_training(config, arguments.cache_dir)
    space, note = fit_to_data(space, data)
    if note:
        print(note, flush=True)
    teachers = teachers_in(space, data)
    starts = starts_of(space, len({sample.identity for sample in data.train}))
    with open_console().status(f"opening {len(samples)} images, which are decoded once"):
        pixels = open_sizes(samples, space.image_sizes(), **arguments.cache)
    lines = describe_pixels(space, pixels)
    lines += [describe_left_out(left_out, "training")] if left_out else []
    untested = [] if arguments.no_test else missing_test(config)
    remark = describe_dataset(config.data_dir, config.dataset, config.name_pattern)
    for line in filter(None, (remark, *lines, *starts, *remarks, *untested)):
        print(line, flush=True)
    prices = None
    if not (folder / DATABASE).exists():
        prices = measure_prices(space)  # before Ray's processes compute
        if trains and not space.study.time_budget:
            start_ray(arguments.address, resources)  # a new study runs trials for certain
    return Prepared(space, folder, samples, left_out, data, teachers, pixels, resources, storage, prices, lock, new)


def check_words() -> None:
    """Raises UserError where the command line or the working folder is no UTF-8: Ray is given both."""
    for text in (*sys.argv, str(Path.cwd())):
        if os.fsencode(text).decode(errors="ignore").encode() != os.fsencode(text):
            raise UserError(f"{text}: a name whose bytes are no UTF-8, which Ray does not take; rename it")


def read_space_of(arguments: SearchRequest) -> SearchSpace:
    """The space, with the command line's budgets in place of its own."""
    file = str(arguments.space or arguments.config)
    given = given_settings(arguments.space, arguments.config, arguments.search, arguments.study, arguments.sampler)
    space = space_of(given, Path(file).stem, list(arguments.set), arguments.data_dir)
    changes: dict[str, Any] = {}
    if arguments.trials is not None:
        if not 1 <= arguments.trials <= MOST_TRIALS:
            raise UserError(f"--trials {arguments.trials}: at least 1, at most {MOST_TRIALS:,}")
        changes["trials"] = arguments.trials
    if arguments.epochs is not None:
        if arguments.epochs < 1:
            raise UserError(f"--epochs {arguments.epochs}: at least 1")
        changes["epochs"] = arguments.epochs
    if arguments.time_budget is not None:
        changes["time_budget"] = parse_duration(arguments.time_budget, "--time-budget")
    if arguments.publish is not None:
        changes["publish"] = arguments.publish
    space = replace(space, study=space.study.model_copy(update=changes))
    if (budget_s := space.study.time_budget) is not None and budget_s <= CLOSING_S:
        raise UserError(
            f"--time-budget {show_duration(budget_s)}: what follows the training takes {CLOSING_S:.0f} s; give some "
            "minutes"
        )
    return space


def study_folder(arguments: SearchRequest, space: SearchSpace) -> Path:
    """results/NAME."""
    name = space.name if arguments.name is None else arguments.name
    if not name or Path(name).name != name or name in (".", "..") or UNPRINTABLE.search(name):
        raise UserError(f"--name {name}: a folder's name is needed, without slashes and control characters")
    if len(os.fsencode(name)) > LONGEST_NAME_BYTES:
        raise UserError(f"--name {name[:20]}...: has more than {LONGEST_NAME_BYTES} bytes; choose a shorter one")
    folder = Path(arguments.results) / name
    if (folder / WEIGHTS).exists():
        raise UserError(f"{folder}: holds a single run ({WEIGHTS}), no study; choose another --name")
    return folder


def start_warm(arguments: SearchRequest, space: SearchSpace, folder: Path) -> tuple[SearchSpace, list[str]]:
    """The space with its warm starts, and a line about each; a study that has begun keeps its own."""
    if (folder / ENVIRONMENT).is_file():
        return space, ["warm starts: those that the study began with"] if arguments.warm_start else []
    return warm_started(space, arguments.warm_start)


def find_machines(arguments: SearchRequest, space: SearchSpace, folder: Path) -> tuple[Resources, Storage | None]:
    """What each trial gets, here or on a cluster, and the storage, where one is given. Raises UserError for a server, a
    storage, a device or a cluster that does not answer: before the images are read, which may take minutes."""
    if arguments.study_storage is not None:
        check_server(arguments.study_storage)
    storage = None if arguments.storage is None else Storage(arguments.storage)
    device = space.base_config().device
    asked = arguments.cpus_per_trial, arguments.gpus_per_trial, space.study.concurrency, device
    if not arguments.address:
        if storage is not None:
            storage.check()
        resources = plan_resources(*asked, trial_memory_bytes(space))
        for line in note_of_gpus(device):
            print(line, flush=True)
        set_variables(None, resources)  # nothing has imported Ray yet
        return resources, storage
    anything = Resources(1, 0, 1)  # what a trial gets is planned when the machines are known
    set_variables(arguments.address, anything)
    # Loads Ray, which a search on this machine starts later.
    from tuning.run.cluster import check_address, check_machines, plan_cluster

    check_address(arguments.address)
    wait_for_ray(arguments.address, anything)
    resources = plan_cluster(*asked)
    named = {weights_file(value) for name in WEIGHTS_IN for values in space.reach(name) for value in values}
    check_machines(storage, folder, sorted(filter(None, named)))
    return resources, storage


def describe_pixels(space: SearchSpace, pixels: Pixels) -> list[str]:
    """A line for each size of the images."""
    lines = []
    for height, width in space.image_sizes():
        at_size = pixels.at(height, width)
        decoded = f"{at_size.decoded} decoded now" if at_size.file else "decoded at every read"
        lines.append(f"{len(at_size)} images at {height} x {width}: {decoded}")
    return lines


def missing_test(config: TrainConfig) -> list[str]:
    """A line when there will be nothing to test on. Lists the test images' names, and looks into none of them."""
    reader, place = find_reader(config.data_dir, config.dataset, config.name_pattern)
    missing = [str(folder) for folder in reader.folders_in(place) if not folder.is_dir()]
    why = f"{', '.join(missing)} is missing" if missing else ""
    if not missing:
        try:
            query, gallery = read_test(
                config.data_dir,
                config.dataset,
                name_pattern=config.name_pattern,
                outside_images=config.outside_images,
                max_left_out=config.max_left_out,
            )
            if len(queries_without_match(query, gallery)) == len(query):
                why = f"{place}: no query's identity is in the gallery by another camera"
        except UserError as error:
            why = str(error)
    return [f"note: the winner will not be tested: {why}"] if why else []


def draw_sample(folder: str, settings: dict[str, Any]) -> None:
    """Draws the sample data set that a space describes, where it is not there yet."""
    print(f"drawing sample data in {folder}", flush=True)
    try:
        draw_dataset(out_dir=folder, **settings)
    except TypeError as error:
        raise UserError(f"sample_data: {error}") from None
