"""Searches a space, keeps the best trial's weights, and evaluates them once on the test images.

python -m tuning.search [--space FILE] [--data-dir DIR] [--set name=value ...] [--trials N] [--time-budget 2h]
"""

import argparse
import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.atomic import lock_at, write_text
from data.command_line import add_cache_options, cache_options
from data.errors import UserError, exit_on_user_error, running_command

if TYPE_CHECKING:
    from filelock import FileLock

    from data.splits import TrainingData
    from tuning.space import SearchSpace
    from tuning.storage import Storage
    from tuning.study import Study

MOST_LESSONS = 10_000
"""Teachers with weights of their losses that a space may search."""
DEFAULT_SPACE = "search_spaces/sample.yaml"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tuning.search",
        description="Searches a space of training settings. The same command goes on where an interrupted search "
        "stopped, and prints the result when it is finished.",
    )
    parser.add_argument("--space", default=DEFAULT_SPACE, metavar="FILE", help=f"default: {DEFAULT_SPACE}")
    parser.add_argument("--data-dir", metavar="DIR", help="the data set, its parent folder, or a manifest's CSV file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fixes a training setting (it is then not searched); may be repeated",
    )
    parser.add_argument("--trials", type=int, metavar="N", help="configurations to try; default: the space's")
    parser.add_argument("--time-budget", metavar="TIME", help="e.g. 45m or 2h; default: the space's")
    parser.add_argument(
        "--warm-start",
        nargs="+",
        default=[],
        metavar="results/OTHER",
        help="earlier studies, whose three best configurations are tried first, without their scores",
    )
    parser.add_argument("--cpus-per-trial", type=int, metavar="N", help="default: follows the machine")
    parser.add_argument(
        "--gpus-per-trial", type=float, metavar="X", help="may be a fraction; default: 1 where there is a GPU"
    )
    parser.add_argument("--name", metavar="NAME", help="the study's folder below results/; default: the space's name")
    parser.add_argument("--results", default="results", metavar="DIR", help="where studies are kept; default: results")
    add_cache_options(parser)
    parser.add_argument("--address", metavar="ADDRESS", help="an existing Ray cluster; default: this machine alone")
    parser.add_argument(
        "--storage",
        metavar="FOLDER|URL",
        help="where trials keep their states and weights when machines or drivers share no disk: a folder that all of "
        "them see, or a URL such as s3://bucket/reid; default: the study's folder",
    )
    parser.add_argument(
        "--study-storage",
        metavar="URL",
        help="keeps the study in a PostgreSQL server, postgresql://USER@HOST/DATABASE (password: PGPASSWORD), where "
        "several drivers share it; default: the study's folder",
    )
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    if arguments.study_storage is None:
        search(arguments)
        return
    from tuning.team import server_errors

    with server_errors(arguments.study_storage):
        search(arguments)


def search(arguments: argparse.Namespace) -> None:
    """Runs or goes on with the study that the arguments name."""
    from tuning.space import fit_to_data
    from tuning.space_file import read_space
    from tuning.study_settings import parse_duration

    space = read_space(arguments.space, arguments.set, arguments.data_dir)
    changes: dict[str, Any] = {}
    if arguments.trials is not None:
        if arguments.trials < 1:
            raise UserError(f"--trials {arguments.trials}: at least 1")
        changes["trials"] = arguments.trials
    if arguments.time_budget is not None:
        changes["time_budget"] = parse_duration(arguments.time_budget)
    settings = space.study.model_copy(update=changes)
    name = space.name if arguments.name is None else arguments.name
    if not name or Path(name).name != name or name in (".", ".."):
        raise UserError(f"--name {name}: a folder's name is needed, without slashes")
    folder = Path(arguments.results) / name

    from tuning.warm_start import warm_started

    begun = (folder / "environment.json").is_file()
    if begun:
        remarks = ["warm starts: those that the study began with"] if arguments.warm_start else []
    else:
        space, remarks = warm_started(space, arguments.warm_start)

    from data.cache import fingerprint, open_sizes
    from data.splits import describe_split
    from data.usable import describe_left_out
    from reid_train.train import read_training

    config = space.base_config()
    if space.sample_data is not None and not Path(config.data_dir).exists():
        draw_sample(config.data_dir, space.sample_data)
    samples, data, left_out = read_training(config, arguments.cache_dir)
    space, note = fit_to_data(space, data)
    if note:
        print(note, flush=True)
    teachers = teachers_in(space, data)

    from tuning.confirm import confirmation_runs, expectations, intention, noise_runs, reserved_epochs
    from tuning.costs import Prices, describe_prices, measure_prices
    from tuning.environment import check_unchanged, describe
    from tuning.plan import plan_study, warn_of_largest
    from tuning.policy import Policy
    from tuning.repeats import Repeats, open_record
    from tuning.run import (
        Resources,
        plan_resources,
        run_trials,
        start_ray,
        stop_ray,
        surely_fits,
        trial_memory_bytes,
    )
    from tuning.storage import Storage
    from tuning.study import DATABASE, Study
    from tuning.weights import bring_back

    storage = None if arguments.storage is None else Storage(arguments.storage)
    asked = arguments.cpus_per_trial, arguments.gpus_per_trial, settings.concurrency, config.device
    if arguments.address:
        from tuning.cluster import check_address, check_machines, plan_cluster

        check_address(arguments.address)
        start_ray(arguments.address, Resources(1, 0, 1))
        resources = plan_cluster(*asked)
        check_machines(storage, folder)
    else:
        resources = plan_resources(*asked, trial_memory_bytes(space))
    sizes = space.image_sizes()
    pixels = open_sizes(samples, sizes, **cache_options(arguments))
    for size in sizes:
        at_size = pixels.at(*size)
        decoded = f"{at_size.decoded} decoded now" if at_size.file else "decoded at every read"
        print(f"{len(at_size)} images at {size[0]} x {size[1]}: {decoded}", flush=True)
    if left_out:
        print(describe_left_out(left_out, "training"), flush=True)
    for line in (*pretrained_in(space, len({sample.identity for sample in data.train})), *remarks):
        print(line, flush=True)
    warn_of_missing_test(config.data_dir, config.dataset)
    lock = lock_folder(folder)
    prices: Prices | None = None
    if not (folder / DATABASE).exists():
        prices = measure_prices(space)
        if space.study.rungs != "auto":
            start_ray(arguments.address, resources)  # a new study runs trials for certain
    server = (arguments.study_storage, driver_name(folder)) if arguments.study_storage else None
    study = Study(folder, space, server=server)
    with study.exclusive():
        settle_storage(study, storage, name)
        if "prices" not in study.attributes:
            study.set_attribute("prices", measure_prices(space) if prices is None else prices)
        check_unchanged(study, fingerprint(samples, cache_dir=arguments.cache_dir), describe_split(data), teachers)
        study.set_attribute("images_left_out", [Path(path).name for path in left_out])
        study.settle()
        study.set_attribute("command", running_command())
        study.set_attribute("trials", settings.trials)
        study.set_attribute("pick", settings.pick)
        describe(study, arguments.space)
        probes = 0 if arguments.address else 1 if resources.gpus else resources.concurrency
        if not study.trials() and not arguments.address and not surely_fits(space, resources):
            together = max(1, int(1 / resources.gpus)) if resources.gpus else resources.concurrency
            if warning := warn_of_largest(space, data, pixels, together):
                print(warning, flush=True)
        plan = plan_study(study, settings, data, pixels, probes=probes, concurrency=resources.concurrency)
        for line in (*describe_prices(study.attributes["prices"]), *([plan] if plan else []), *intention(study.space)):
            print(line, flush=True)
    record = open_record(folder, study.space, server)
    record.storage = study.storage

    def run(policy: Policy | Repeats) -> None:
        run_trials(policy, data, pixels, resources, address=arguments.address)

    try:
        run(Repeats(record, noise_runs(study.space), "noise of the default"))
        for line in expectations(study, record, settings, resources.concurrency):
            print(line, flush=True)
        run(Policy(study, settings, reserved_epochs=reserved_epochs(study.space, resources.concurrency)))
        run(Repeats(record, confirmation_runs(study), "confirmation"))
    finally:
        try:
            study.save_elapsed()
            study.write_copy()
        finally:
            stop_ray()

    from tuning.conclude import conclude  # loads torch, which the trials need not wait for

    with study.exclusive():
        bring_back(study, record)
        conclude(study, record, data, pixels)
    study.write_copy()
    lock.release()


def driver_name(folder: Path) -> str:
    """What this folder's searches are called among the drivers that share a study: the same after a restart."""
    file = folder / "search.driver"
    if not file.is_file():
        write_text(file, f"{os.uname().nodename}-{secrets.token_hex(6)}\n")
    return file.read_text().strip()


def settle_storage(study: "Study", storage: "Storage | None", name: str) -> None:
    """Gives the study its own folder in the storage; raises UserError when its trials' states are somewhere else."""
    place = str(storage or f"{os.uname().nodename}:{study.folder.absolute()}")
    known = study.attributes.get("storage")
    if known is None:
        known = {"place": place, "folder": f"{name}-{secrets.token_hex(4)}", "given": storage is not None}
        study.set_attribute("storage", known)
    elif known["place"] != place and (storage is not None or known["given"] or study.shared):
        raise UserError(
            f"{study.folder}: the trials of this study keep their states in {known['place']}, not in {place}"
            + (": give that as --storage" if known["given"] else "")
            + ("; drivers that share a study need a --storage that all of them see" if study.shared else "")
        )
    if storage is not None:
        study.storage = replace(storage, folder=known["folder"])


def lock_folder(folder: Path, doing: str = "searching") -> "FileLock":
    """Keeps others who are `doing` the same out of the folder; the system frees it when this process ends, however.

    Raises UserError with the process id of the one who is.
    """
    from filelock import Timeout

    name = "search" if doing == "searching" else "process"
    holder = folder / f"{name}.pid"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_at(folder / f"{name}.lock")
        lock.acquire(timeout=0)
        holder.write_text(f"{os.getpid()}\n")
    except Timeout:
        process = (holder.read_text().strip() if holder.is_file() else "") or "unknown"
        way_out = ", or choose another --name" if doing == "searching" else ""
        raise UserError(f"{folder}: process {process} is {doing} here; wait for it{way_out}") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}; choose another --results") from error
    return lock


def pretrained_in(space: "SearchSpace", identities: int) -> list[str]:
    """What each of the space's starting weights gives each of its backbones, a line each; none for random weights.

    Raises UserError for weights that are not there: once, and not in every trial.
    """
    config = space.base_config()
    choices = {p.name: p.values() for p in space.parameters if p.name in ("backbone", "pretrained")}
    lines = []
    for backbone in choices.get("backbone", (config.backbone,)):
        for pretrained in choices.get("pretrained", (config.pretrained,)):
            if pretrained != "none":
                from reid_train.checkpoint import build_model, load_pretrained

                model = build_model(config.changed(backbone=backbone), identities)
                lines.append(f"{backbone}: {load_pretrained(model, pretrained, backbone)}")
    return lines


def teachers_in(space: "SearchSpace", data: "TrainingData") -> str | None:
    """What the space's teachers can be compared by, when the study is gone on with; None without any.

    Raises UserError for one that is not there, or that cannot teach on this data: once, and not in every trial.
    """
    from reid_train.config import KD_WEIGHTS

    if all(teacher is None for values in space.reach("teacher") for teacher in values):
        return None
    from reid_train.distill import load_teacher, teacher_digest

    lessons = space.combinations(("teacher", *KD_WEIGHTS), MOST_LESSONS, "ways to be taught, each checked")
    asked = {(config.teacher, config.kd_logits_weight > 0): config for config in lessons if config.distills}
    for config in asked.values():
        load_teacher(config, data)
    digests = {config.teacher: teacher_digest(config) for config in asked.values()}
    return ", ".join(digest for digest in digests.values() if digest) or None


def warn_of_missing_test(data_dir: str, dataset: str | None) -> None:
    """Says at once when there will be nothing to test on. Looks for the folders alone: what is in them is for later."""
    from data.datasets import READERS, find_dataset

    name, place = find_dataset(data_dir, dataset)
    folders = [place / folder for folder in getattr(READERS[name], "FOLDERS", {}).values()]
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        print(f"note: the winner will not be tested: {', '.join(missing)} is missing", flush=True)


def draw_sample(folder: str, settings: dict[str, Any]) -> None:
    """Draws the sample data set that a space describes, where it is not there yet."""
    from data.synthetic import draw_dataset

    print(f"drawing sample data in {folder}", flush=True)
    try:
        draw_dataset(out_dir=folder, **settings)
    except TypeError as error:
        raise UserError(f"sample_data: {error}") from None


if __name__ == "__main__":
    main()
