"""What a trial is given and what it tells, through Ray: a TrialJob one way, EpochEnded, Failed or DiskFull the other.

ray_result(EpochEnded(rung=12, report=report))  # a dict, as Ray wants it
"""

from dataclasses import dataclass
from typing import Any

from reid_train.measure.epoch_report import EpochReport
from tuning.record.cause import Cause
from tuning.record.job import TrialJob


@dataclass(frozen=True)
class EpochEnded:
    """A trial tells of an epoch."""

    rung: int
    """The rung that the epoch's schedule leads to."""
    report: EpochReport


@dataclass(frozen=True)
class Failed:
    """A trial tells that it cannot go on."""

    cause: Cause


@dataclass(frozen=True)
class DiskFull:
    """A trial tells that the system refused to write: that ends the search, not the trial."""

    errno: int
    strerror: str
    filename: str | None


Told = EpochEnded | Failed | DiskFull
"""What a trial tells at each step."""

# Ray hands on dicts: each of ours has one item.


def ray_config(job: TrialJob) -> dict[str, Any]:
    """A job as Ray's configuration of a trial."""
    return {"job": job}


def job_of(config: dict[str, Any]) -> TrialJob:
    """The job in Ray's configuration of a trial."""
    job: TrialJob = config["job"]
    return job


def ray_result(told: Told) -> dict[str, Any]:
    """What a trial tells as a result of Ray's."""
    return {"told": told}


def told_in(result: dict[str, Any]) -> Told:
    """What a trial told in a result of Ray's."""
    told: Told = result["told"]
    return told
