"""Runs a study's trials with Ray Tune on this machine or on a cluster."""

import logging
import os
import secrets
import shutil
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from data.system.errors import UserError, end_politely_on_signals
from data.system.threads import usable_cpus
from tuning.record.environment import gpus
from tuning.run import cluster
from tuning.run.shared_pixels import share_pixels
from tuning.space.space import SearchSpace

if TYPE_CHECKING:
    from tuning.confirm.repeats import Repeats
    from tuning.decide.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
PLACE = "trial"
"""Ray's resource for a trial's place on this machine alone."""
WITHHELD = "(withheld from trials)"
"""A trial's data_dir; best/ and best_config.yaml have the true one."""
PROCESS_BYTES = 2 * 2**30
"""Memory that a trial on the CPU needs before its first batch: libraries, model, optimizer, evaluation."""
BYTES_A_PIXEL = 4096
"""Memory for what ResNet-50 keeps of each pixel of a batch until the gradients are known; measured, rounded up."""


@dataclass(frozen=True)
class Resources:
    """What each trial gets, and how many run at once."""

    cpus: int
    gpus: float
    concurrency: int


def plan_resources(
    cpus_per_trial: int | None,
    gpus_per_trial: float | None,
    concurrency: int | None,
    device: str,
    trial_bytes: int = PROCESS_BYTES,
) -> Resources:
    """Follows the machine: a GPU a trial where there are GPUs, else rather many trials at once than many threads.

    Trials side by side wait for nothing of each other's, threads of one trial wait for each other at every layer
    (measured by tests/benchmarks/search_overhead.py). So a trial gets one CPU; more, up to 4, only where more than
    4 trials would run at once or the machine has no memory for `trial_bytes` each.
    Raises UserError for more than the machine has.
    """
    cpus, gpu_count = usable_cpus(), len(gpus()) if device in ("auto", "cuda") else 0
    asked = (("--cpus-per-trial", cpus_per_trial, cpus), ("--gpus-per-trial", gpus_per_trial, gpu_count))
    for name, value, there in asked:
        if value is not None and value > there:
            raise UserError(f"{name} {value:g}: this machine has {there}")
    if cpus_per_trial is not None and cpus_per_trial < 1:
        raise UserError(f"--cpus-per-trial {cpus_per_trial}: at least 1")
    if gpus_per_trial is not None and gpus_per_trial < 0:
        raise UserError(f"--gpus-per-trial {gpus_per_trial:g}: at least 0")
    of_gpus = gpus_per_trial if gpus_per_trial is not None else float(min(gpu_count, 1))
    if of_gpus:
        of_cpus = cpus_per_trial or max(1, int(cpus * of_gpus / gpu_count))
        room = min(cpus // of_cpus, int(gpu_count / of_gpus))
    else:
        room = min(concurrency or cpus, cpus, max(1, _memory_bytes() // trial_bytes))
        of_cpus = cpus_per_trial or min(4, max(1, cpus // min(room, 4)))
        room = min(room, cpus // of_cpus) if cpus_per_trial is None else cpus // of_cpus
    return Resources(of_cpus, of_gpus, max(1, min(room, concurrency or room)))


def trial_memory_bytes(space: SearchSpace) -> int:
    """Memory that the largest trial of the space takes on a CPU, roughly."""
    pixels = space.largest("batch_size") * space.largest("image_height") * space.largest("image_width")
    return PROCESS_BYTES + BYTES_A_PIXEL * int(pixels)


def surely_fits(space: SearchSpace, resources: Resources) -> bool:
    """Whether all trials at once are reckoned to take less than half of the machine's memory; never for a GPU's."""
    return not resources.gpus and trial_memory_bytes(space) * resources.concurrency < _memory_bytes() / 2


def _memory_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def run_trials(
    policy: "Policy | Repeats",
    data: TrainingData,
    pixels: Pixels,
    resources: Resources,
    *,
    address: str | None = None,
) -> None:
    """Runs what the policy has left to do. Trials that fail are recorded with their cause and never end the search.

    Where other drivers share the study, it ends when none has anything left to do. Raises KeyboardInterrupt after
    Ctrl-C, with the study settled.
    """
    study, storage = policy.study, policy.study.storage
    with study.exclusive():
        if not policy.has_work() and not study.in_state("running"):
            return
    start_ray(address, resources)
    from ray import tune
    from ray.tune.execution import class_cache

    from tuning.run.guard import SearchStopped, TrialTimeout
    from tuning.run.progress import Progress
    from tuning.run.scheduler import RungScheduler
    from tuning.run.searcher import StudySearcher
    from tuning.run.trainable import ReIDTrainable

    _log_to_file(study.folder / "ray.log")
    if address is None:
        # A variable of their own would keep trials from the processes that Ray starts ahead. Tune's is for Lightning;
        # the other was handed to those processes with the rest of the environment.
        class_cache.DEFAULT_ENV_VARS.clear()
        os.environ.pop("RAY_CHDIR_TO_TRIAL_DIR", None)
    progress = Progress(policy, resources)

    ray_folder = study.folder / "ray"
    sent = pixels if address is None or storage is None else share_pixels(pixels)
    trainable = tune.with_parameters(ReIDTrainable, data=data, pixels=sent, storage=storage)
    on_cluster = {"cpu": resources.cpus, "gpu": resources.gpus}
    if address is not None and storage is None:
        on_cluster |= cluster.this_machine()  # whatever joins later does not see the folder
    rays_own = f"ray-{secrets.token_hex(4)}"  # another driver may have one there
    asked = policy.settings.concurrency
    room = None if address is None else lambda: asked or cluster.room(resources)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {PLACE: 1, "gpu": resources.gpus} if address is None else on_cluster),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            search_alg=StudySearcher(policy, lambda number: trial_config(policy, number, resources.cpus), room),
            scheduler=RungScheduler(policy),
            max_concurrent_trials=resources.concurrency if address is None else None,
            reuse_actors=resources.gpus == 0,
            trial_name_creator=lambda trial: f"trial_{trial.config['number']}",
            trial_dirname_creator=lambda trial: f"trial_{trial.config['number']}_{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=storage.path(rays_own) if storage is not None else str(ray_folder.absolute()),
            storage_filesystem=storage and storage.filesystem,
            verbose=0,
            callbacks=[TrialTimeout(study, policy.settings.trial_timeout), progress],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        with progress:
            tuner.fit()
    except SearchStopped as stopped:
        raise stopped.reason from None
    finally:
        with suppress(Exception):  # on a full disk: it is done when the study is opened again
            study.settle()
        shutil.rmtree(ray_folder, ignore_errors=True)  # nothing in it is needed: the study is the record
        if storage is not None:
            with suppress(OSError):
                storage.remove(rays_own)


def trial_config(policy: "Policy | Repeats", number: int, cpus: int) -> dict[str, Any]:
    """What a trial is given beside the training listing and its pixels. It leads to no query or gallery image.

    Where the data set lies is withheld: the folder of the training images is not the trial's to list. With a storage
    `folder` is a place there.
    """
    training = policy.training(number)
    if policy.study.storage is not None:
        training["folder"] = Path(training["folder"]).relative_to(policy.study.folder.absolute()).as_posix()
    config = training["settings"]
    changed = config.changed(num_threads=config.num_threads or cpus, data_dir=WITHHELD)
    return {**training, "settings": changed.model_dump(mode="json")}


def stop_ray() -> None:
    """Ends Ray, where it was started. It gives SIGTERM back to the system while it ends: that is taken again here."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return
    ending = threading.Thread(target=ray.shutdown)
    ending.start()
    while ending.is_alive():
        ending.join(timeout=0.02)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.getsignal(number))


def start_ray(address: str | None, resources: Resources) -> None:
    """Starts Ray on this machine alone, on loopback, or joins the cluster at `address`; does nothing the second time.

    Meanwhile it imports what the search needs next: starting Ray is waiting for other processes.
    """
    _set_ray_environment(resources)
    if address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # listens on loopback only
    else:
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(cluster.STARTING_AT_ONCE)
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")  # its warnings would bury ours
    import ray

    from tuning.run.guard import watch_ray

    if ray.is_initialized():
        return
    # None of these imports ray, so that the two threads never wait for each other's half-imported modules.
    importing = threading.Thread(
        target=lambda: [import_module(name) for name in ("sqlalchemy.orm", "alembic", "pandas")]
    )
    importing.start()
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    if address is None:
        ray.init(
            address="local",
            num_cpus=1,  # Ray starts as many processes ahead: the first trial's, undisturbed by the others'
            resources={PLACE: resources.concurrency},
            object_store_memory=200 * 1024**2,
            **options,
        )
    else:
        options.pop("include_dashboard")
        cluster.join(address, options)
    importing.join()
    end_politely_on_signals()  # Ray has taken SIGTERM for itself
    if address is None:
        watch_ray()


def _set_ray_environment(resources: Resources) -> None:
    """What Ray reads from the environment, before it is imported."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_DEDUP_LOGS": "0",
        # Tune does not understand what Ray's own watch over the memory does to a trial, and gives up the search. The
        # kernel takes the workers first, too (Ray sees to that), and guard.oom_kills tells of it.
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_worker_niceness": "0",  # Ray's 15 would have trials wait for everything else on the machine
        # Processes for trials load torch while this one goes on; with GPUs only when they know theirs.
        "RAY_preload_python_modules": "" if resources.gpus else "reid_train.loop,tuning.run.trainable",
        "RAY_idle_worker_killing_time_threshold_ms": "60000",  # not before the first trial has come to them
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # the study is the record, Ray's own is not used
        "TUNE_MAX_PENDING_TRIALS_PG": str(resources.concurrency),
        "OMP_NUM_THREADS": str(resources.cpus),
        # Threads that wait sleep instead of spinning: a step beside another busy process took 1.2 s instead of 2.0 s.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


def _log_to_file(file: Path) -> None:
    """Sends what Ray logs in this process to a file."""
    handler = logging.FileHandler(file)
    handler.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk is told once, by the search
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("ray", "ray.tune", "ray.train", "ray._private"):
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name == "ray" else []
        logger.propagate = name != "ray"
