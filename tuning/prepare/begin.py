"""Everything between a search's command line and its first trial: the space, the images, the machines, the study."""

import argparse
import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data.pixels.bad_images import describe_left_out
from data.pixels.cache import Pixels, open_sizes
from data.pixels.digests import fingerprint
from data.sets.samples import Sample
from data.sets.splits import TrainingData, describe_split
from data.system.errors import UserError, running_command
from data.system.files import write_text
from data.system.options import cache_options
from reid_train.training_images import read_training
from tuning.prepare.costs import describe_prices, measure_prices
from tuning.prepare.models import starts_of, teachers_in
from tuning.record.lock import lock_folder
from tuning.record.storage import Storage
from tuning.run.trials import Resources, plan_resources, start_ray, surely_fits, trial_memory_bytes
from tuning.space.read import read_space
from tuning.space.settings import StudySettings, parse_duration
from tuning.space.space import SearchSpace, fit_to_data

if TYPE_CHECKING:
    from filelock import FileLock

    from tuning.record.study import Study


SINGLE_RUN = "model.safetensors"
"""What reid_train.train leaves in its folder, and no study in its own: reid_train.checkpoint.WEIGHTS, without torch."""


class Prepared(NamedTuple):
    """What the trials need, and the lock on the study's folder."""

    space: SearchSpace
    settings: StudySettings
    """The space's, with the command line's trials and time budget."""
    folder: Path
    samples: list[Sample]
    """All training images."""
    left_out: list[str]
    """Training images that cannot be decoded."""
    data: TrainingData
    teachers: str | None
    """What the space's teachers can be compared by; None without any."""
    pixels: Pixels
    resources: Resources
    storage: Storage | None
    lock: "FileLock"


def prepare(arguments: argparse.Namespace) -> Prepared:
    """Reads and checks what the arguments name, and says what it found. Raises UserError before a study is begun."""
    space, settings = read_settings_of(arguments)
    folder = study_folder(arguments, space)
    space, remarks = start_warm(arguments, space, folder)
    config = space.base_config()
    if space.sample_data is not None and not Path(config.data_dir).exists():
        draw_sample(config.data_dir, space.sample_data)
    samples, data, left_out = read_training(config, arguments.cache_dir)
    space, note = fit_to_data(space, data)
    if note:
        print(note, flush=True)
    teachers = teachers_in(space, data)
    resources, storage = find_machines(arguments, space, settings, folder)
    pixels = open_sizes(samples, space.image_sizes(), **cache_options(arguments))
    lines = describe_pixels(space, pixels)
    lines += [describe_left_out(left_out, "training")] if left_out else []
    lines += [*starts_of(space, len({sample.identity for sample in data.train})), *remarks]
    for line in (*lines, *missing_test(config.data_dir, config.dataset)):
        print(line, flush=True)
    lock = lock_folder(folder)
    return Prepared(space, settings, folder, samples, left_out, data, teachers, pixels, resources, storage, lock)


def read_settings_of(arguments: argparse.Namespace) -> tuple[SearchSpace, StudySettings]:
    """The space, and how to search it."""
    space = read_space(arguments.space, arguments.set, arguments.data_dir)
    changes: dict[str, Any] = {}
    if arguments.trials is not None:
        if arguments.trials < 1:
            raise UserError(f"--trials {arguments.trials}: at least 1")
        changes["trials"] = arguments.trials
    if arguments.time_budget is not None:
        changes["time_budget"] = parse_duration(arguments.time_budget)
    return space, space.study.model_copy(update=changes)


def study_folder(arguments: argparse.Namespace, space: SearchSpace) -> Path:
    """results/NAME."""
    name = space.name if arguments.name is None else arguments.name
    if not name or Path(name).name != name or name in (".", ".."):
        raise UserError(f"--name {name}: a folder's name is needed, without slashes")
    folder = Path(arguments.results) / name
    if (folder / SINGLE_RUN).exists():
        raise UserError(f"{folder}: holds a single run ({SINGLE_RUN}), no study; choose another --name")
    return folder


def start_warm(arguments: argparse.Namespace, space: SearchSpace, folder: Path) -> tuple[SearchSpace, list[str]]:
    """The space with its warm starts, and a line about each; a study that has begun keeps its own."""
    from tuning.prepare.warm_start import warm_started

    if (folder / "environment.json").is_file():
        return space, ["warm starts: those that the study began with"] if arguments.warm_start else []
    return warm_started(space, arguments.warm_start)


def find_machines(
    arguments: argparse.Namespace, space: SearchSpace, settings: StudySettings, folder: Path
) -> tuple[Resources, Storage | None]:
    """What each trial gets, here or on a cluster, and where states go that this machine's disk does not keep."""
    storage = None if arguments.storage is None else Storage(arguments.storage)
    device = space.base_config().device
    asked = arguments.cpus_per_trial, arguments.gpus_per_trial, settings.concurrency, device
    if not arguments.address:
        return plan_resources(*asked, trial_memory_bytes(space)), storage
    from tuning.run.cluster import check_address, check_machines, plan_cluster

    check_address(arguments.address)
    start_ray(arguments.address, Resources(1, 0, 1))
    resources = plan_cluster(*asked)
    check_machines(storage, folder)
    return resources, storage


def open_records(arguments: argparse.Namespace, ready: Prepared) -> "tuple[Study, Study]":
    """The study and the record of its repeats, new or to be gone on with; says what is planned.

    Raises UserError for a study of another space, other images or other code.
    """
    from tuning.confirm.repeats import open_record
    from tuning.confirm.winner import intention
    from tuning.decide.plan import plan_study, warn_of_largest
    from tuning.record.environment import check_unchanged, describe
    from tuning.record.study import DATABASE, Study

    space, settings, folder, resources = ready.space, ready.settings, ready.folder, ready.resources
    prices = None
    if not (folder / DATABASE).exists():
        prices = measure_prices(space)
        if space.study.rungs != "auto":
            start_ray(arguments.address, resources)  # a new study runs trials for certain
    server = (arguments.study_storage, driver_name(folder)) if arguments.study_storage else None
    study = Study(folder, space, server=server)
    with study.exclusive():
        settle_storage(study, ready.storage)
        if "prices" not in study.attributes:
            study.set_attribute("prices", measure_prices(space) if prices is None else prices)
        images = fingerprint(ready.samples, cache_dir=arguments.cache_dir)
        check_unchanged(study, images, describe_split(ready.data), ready.teachers)
        study.set_attribute("images_left_out", [Path(path).name for path in ready.left_out])
        study.settle()
        study.set_attribute("command", running_command())
        study.set_attribute("trials", settings.trials)
        study.set_attribute("pick", settings.pick)
        describe(study, arguments.space)
        if not study.trials() and not arguments.address and not surely_fits(space, resources):
            together = max(1, int(1 / resources.gpus)) if resources.gpus else resources.concurrency
            if warning := warn_of_largest(space, ready.data, ready.pixels, together):
                print(warning, flush=True)
        probes = 0 if arguments.address else 1 if resources.gpus else resources.concurrency
        plan = plan_study(study, settings, ready.data, ready.pixels, probes=probes, concurrency=resources.concurrency)
        for line in (*describe_prices(study.attributes["prices"]), *([plan] if plan else []), *intention(study.space)):
            print(line, flush=True)
    record = open_record(folder, study.space, server)
    record.storage = study.storage
    record.share_clock(study)
    return study, record


def driver_name(folder: Path) -> str:
    """What this folder's searches are called among the drivers that share a study: the same after a restart."""
    file = folder / "search.driver"
    if not file.is_file():
        write_text(file, f"{os.uname().nodename}-{secrets.token_hex(6)}\n")
    return file.read_text().strip()


def settle_storage(study: "Study", storage: Storage | None) -> None:
    """Gives the study its own folder in the storage; raises UserError when its trials' states are somewhere else."""
    place = str(storage or f"{os.uname().nodename}:{study.folder.absolute()}")
    known = study.attributes.get("storage")
    if known is None:
        known = {"place": place, "folder": f"{study.folder.name}-{secrets.token_hex(4)}", "given": storage is not None}
        study.set_attribute("storage", known)
    elif known["place"] != place and (storage is not None or known["given"] or study.shared):
        raise UserError(
            f"{study.folder}: the trials of this study keep their states in {known['place']}, not in {place}"
            + (": give that as --storage" if known["given"] else "")
            + ("; drivers that share a study need a --storage that all of them see" if study.shared else "")
        )
    if storage is not None:
        study.storage = replace(storage, folder=known["folder"])


def describe_pixels(space: SearchSpace, pixels: Pixels) -> list[str]:
    """A line for each size of the images."""
    lines = []
    for height, width in space.image_sizes():
        at_size = pixels.at(height, width)
        decoded = f"{at_size.decoded} decoded now" if at_size.file else "decoded at every read"
        lines.append(f"{len(at_size)} images at {height} x {width}: {decoded}")
    return lines


def missing_test(data_dir: str, dataset: str | None) -> list[str]:
    """A line when there will be nothing to test on. Looks for the folders alone: what is in them is for later."""
    from data.sets.readers import READERS, find_dataset

    name, place = find_dataset(data_dir, dataset)
    missing = [str(folder) for folder in READERS[name].folders_in(place) if not folder.is_dir()]
    return [f"note: the winner will not be tested: {', '.join(missing)} is missing"] if missing else []


def draw_sample(folder: str, settings: dict[str, Any]) -> None:
    """Draws the sample data set that a space describes, where it is not there yet."""
    from data.drawing.datasets import draw_dataset

    print(f"drawing sample data in {folder}", flush=True)
    try:
        draw_dataset(out_dir=folder, **settings)
    except TypeError as error:
        raise UserError(f"sample_data: {error}") from None
