"""What a trial's own process does: it trains a job, and tells of every epoch and of what goes wrong.

for told in train(job, data, pixels, storage=None):  # EpochEnded(rung, report), ..., or Failed(cause)
"""

import logging
import os
from collections.abc import Generator

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from data.system.errors import UserError, refused_write
from data.system.processes import HelperDied, dead_helpers_told
from reid_train.model.gpus import why_no_gpu
from tuning.record.cause import Kind
from tuning.record.job import TrialJob
from tuning.record.storage import Storage, trial_workspace
from tuning.run.climb import climb
from tuning.run.failures import failure_cause
from tuning.run.messages import DiskFull, EpochEnded, Failed, Told
from tuning.run.shared_pixels import SharedPixels

logger = logging.getLogger(__name__)

EXPECTED = frozenset({Kind.DIVERGED, Kind.DOES_NOT_FIT})
"""Failures that need no traceback in the log."""


def train(job: TrialJob, data: TrainingData, pixels: Pixels | SharedPixels, storage: Storage | None) -> Generator[Told]:
    """Trains the job up its rungs; the last thing told of a trial that fails is why.

    With a storage, the job's folder is a place in it: the trial works in a folder of its own machine, which is kept
    there whenever it has changed, before the epoch is told.
    """
    try:
        keep_to_gpu(job)
        if isinstance(pixels, SharedPixels):
            pixels = pixels.at(job.config.image_height, job.config.image_width).here()
        with trial_workspace(storage, job.folder) as (folder, keep):
            for rung, report in dead_helpers_told(climb(job, data, pixels, folder)):
                keep()
                yield EpochEnded(rung, report)
    except HelperDied:
        os._exit(1)  # as if this process had been killed itself: the trial goes on from its last state in another
    except Exception as error:  # whatever it is, it is this trial's and not the search's
        if refused := refused_write(error):  # but for a full or broken disk
            yield DiskFull(refused.errno or 0, refused.strerror or "", refused.filename)
            return
        cause = failure_cause(error, job.config.batch_size)
        if cause.kind not in EXPECTED:
            logger.exception("trial failed")
        yield Failed(cause)


def keep_to_gpu(job: TrialJob) -> None:
    """Hides GPUs from a trial that was given none. Raises UserError where one was given that cannot compute: "auto"
    would train on the CPU, for days."""
    if not job.on_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # read when torch first asks for GPUs
    elif problem := why_no_gpu():
        raise UserError(f"the trial's GPU cannot be used: {problem}")
