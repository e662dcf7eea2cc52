"""Work: what is to be run, and how Ray's callbacks speak of a trial.

A search (tuning/decide/policy.py) and the runs of a confirmation (tuning/confirm/repeats.py) are both Work, so that one
searcher, scheduler and display serve both.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from reid_train.report import EpochReport
from tuning.record.cause import Cause
from tuning.record.job import TrialJob
from tuning.space.plan import Plan
from tuning.space.settings import StudySettings

if TYPE_CHECKING:  # the processes of trials import this module, and need neither Optuna nor SQLAlchemy
    from tuning.record.study import Study


class Work(Protocol):
    """Trials that are to be run."""

    study: "Study"
    """Their record."""
    settings: StudySettings
    plan: Plan

    @property
    def planned(self) -> int:
        """Number of trials to run in all."""

    @property
    def announcement(self) -> str:
        """What is to be done, in a few words."""

    def name(self, number: int) -> str:
        """What a trial is called."""

    def job(self, number: int) -> TrialJob:
        """What a trial is given to train."""

    def has_work(self) -> bool:
        """Whether `next_trial` would give a trial."""

    def next_trial(self) -> int | None:
        """The trial to train now, made to run; None for none now."""

    def at_rung_end(self, number: int, rung: int) -> bool:
        """Whether the trial trains on; if not, it is on record as ended or paused."""

    def tidy(self) -> None:
        """Removes what ended trials left and nobody needs."""


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

# What Ray hands on is a dict: of one item, each way.


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
