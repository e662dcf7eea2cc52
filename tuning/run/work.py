"""Work: what is to be run.

A search's trials (tuning/decide/policy.py) and repeats (tuning/confirm/repeats.py) are both Work: one searcher,
scheduler and display serve both.

number = work.next_trial()
work.at_rung_end(number, rung=12)  # whether it trains on
"""

from typing import Protocol

from tuning.decide.budget import Purse
from tuning.record.job import TrialJob
from tuning.record.study import Study
from tuning.space.plan import Plan
from tuning.space.settings import StudySettings


class Work(Protocol):
    """Trials that are to be run."""

    study: Study
    """Their record."""
    settings: StudySettings
    plan: Plan
    purse: Purse

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

    def is_over(self) -> bool:
        """Whether time is up: what runs is interrupted at its epoch's end."""

    def tidy(self) -> None:
        """Removes what ended trials left and nobody needs."""
