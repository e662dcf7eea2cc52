"""Runs trials with Ray Tune, on this machine or on a cluster.

run_trials(Policy(study), data, pixels, resources)
"""

import logging
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ray import tune

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from tuning.record.job import TrialJob
from tuning.record.trial import TrialState
from tuning.run import cluster
from tuning.run.guard import SearchStopped, TrialTimeout
from tuning.run.messages import job_of
from tuning.run.progress import Progress
from tuning.run.ray_private import keep_processes_alike
from tuning.run.ray_process import PLACE, wait_for_ray
from tuning.run.resources import Resources
from tuning.run.scheduler import RungScheduler
from tuning.run.searcher import StudySearcher
from tuning.run.shared_pixels import share_pixels
from tuning.run.told import Told
from tuning.run.trainable import ReIDTrainable
from tuning.run.work import Work

WITHHELD = "(withheld from trials)"
"""A trial's data_dir; best/ and best_config.yaml have the true one."""
RAY_LOGGERS = ("ray", "ray.tune", "ray.train", "ray._private")


def run_trials(
    work: Work,
    data: TrainingData,
    pixels: Pixels,
    resources: Resources,
    *,
    address: str | None = None,
    told: Callable[[], None] | None = None,
) -> None:
    """Runs what the work has left to do. Trials that fail are recorded with their cause and never end the search.

    `told` is called after each epoch. Where other drivers share the study, it ends when none has anything left to do.
    Raises KeyboardInterrupt after Ctrl-C, with the study settled.
    """
    study, storage = work.study, work.study.storage
    with study.exclusive():
        if not work.has_work() and not study.in_state(TrialState.RUNNING):
            return
    wait_for_ray(address, resources)
    if address is None:
        keep_processes_alike()
    rays_own = f"ray-{secrets.token_hex(4)}"  # another driver may have one there
    place = storage.path(rays_own) if storage is not None else str((study.folder / "ray").absolute())
    progress = Progress(work, resources)
    callbacks = [TrialTimeout(study, work.settings.trial_timeout), progress, *([Told(told)] if told else [])]
    tuner = _tuner(work, data, pixels, resources, address, place, callbacks)
    try:
        with _logging_to(study.folder / "ray.log"), progress:
            tuner.fit()
    except SearchStopped as stopped:
        raise stopped.reason from None
    finally:
        with suppress(Exception):  # on a full disk: it is done when the study is opened again
            study.settle()
        shutil.rmtree(study.folder / "ray", ignore_errors=True)  # nothing in it is needed: the study is the record
        if storage is not None:
            with suppress(OSError):
                storage.remove(rays_own)


def _tuner(
    work: Work,
    data: TrainingData,
    pixels: Pixels,
    resources: Resources,
    address: str | None,
    place: str,
    callbacks: list[tune.Callback],
) -> tune.Tuner:
    """Ray's Tuner; what it keeps itself goes to `place`."""
    storage, asked = work.study.storage, work.settings.concurrency
    sent = pixels if address is None or storage is None else share_pixels(pixels)
    trainable = tune.with_parameters(ReIDTrainable, data=data, pixels=sent, storage=storage)
    each = {PLACE: 1.0, "gpu": resources.gpus}
    if address is not None:
        each = {"cpu": resources.cpus, "gpu": resources.gpus}
        if storage is None:
            each |= cluster.this_machine()  # whatever joins later does not see the folder
    room = None if address is None else lambda: asked or cluster.room(resources)
    return tune.Tuner(
        tune.with_resources(trainable, each),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            search_alg=StudySearcher(work, lambda number: handed_job(work, number, resources), room),
            scheduler=RungScheduler(work),
            max_concurrent_trials=resources.concurrency if address is None else None,
            reuse_actors=resources.gpus == 0,
            trial_name_creator=lambda trial: f"trial_{job_of(trial.config).number}",
            trial_dirname_creator=lambda trial: f"trial_{job_of(trial.config).number}_{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=place,
            storage_filesystem=storage and storage.filesystem,
            verbose=0,
            callbacks=callbacks,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


def handed_job(work: Work, number: int, resources: Resources) -> TrialJob:
    """The job as a trial's process gets it. It leads to no query or gallery image: a trial gets the list of training
    images and their pixels, and where the data set lies is withheld. With a storage, the job's folder is a place there.
    """
    job = work.job(number).with_absolute_paths().with_settings(data_dir=WITHHELD)
    job = replace(job.with_settings(num_threads=job.config.num_threads or resources.cpus), on_gpu=resources.gpus > 0)
    if work.study.storage is None:
        return job
    return job.in_folder(Path(job.folder).relative_to(work.study.folder.absolute()).as_posix())


@contextmanager
def _logging_to(file: Path) -> Iterator[None]:
    """Sends what Ray logs in this process to a file."""
    handler = logging.FileHandler(file)
    handler.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk is told once, by the search
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = {name: logging.getLogger(name).handlers for name in RAY_LOGGERS}
    for name in RAY_LOGGERS:
        logging.getLogger(name).handlers = [handler] if name == "ray" else []
        logging.getLogger(name).propagate = name != "ray"
    try:
        yield
    finally:
        for name, handlers in before.items():
            logging.getLogger(name).handlers = handlers
        handler.close()
