"""TrialJob: what a trial is given to train.

The driver makes it from the study; it travels through Ray to the process that trains.

job = policy.job(7)  # trial 7: its config, its rungs, the folder of its weights
"""

import os
from dataclasses import dataclass, replace
from typing import Any

from reid_train.settings.config import TrainConfig
from tuning.space.schedules import Mode
from tuning.space.space import names_a_file


@dataclass(frozen=True, kw_only=True)
class TrialJob:
    """One trial, as a process of its own trains it."""

    number: int
    """The trial's number in its study."""
    config: TrainConfig
    rungs: tuple[int, ...]
    """Lengths of schedule, in epochs, at whose ends the trial is compared with others."""
    promotion: Mode
    """How it gets from one rung to the next."""
    behind: int
    """The last rung at which the study has decided about it, in epochs; 0 for none."""
    folder: str
    """Where it keeps its states and weights: an absolute path, or a place in the study's storage."""
    state_interval_s: float
    """Least number of seconds between two saves of its training state."""

    on_gpu: bool = False
    """Whether it was given a GPU, or a share of one; else it must not take one."""

    def with_settings(self, **changes: Any) -> "TrialJob":
        """The job with some training settings changed."""
        return replace(self, config=self.config.changed(**changes))

    def in_folder(self, folder: str) -> "TrialJob":
        """The job with another folder."""
        return replace(self, folder=folder)

    def with_absolute_paths(self) -> "TrialJob":
        """The job with the absolute paths of its weights: a process of Ray's may work in another folder."""
        named = {name: getattr(self.config, name) for name in WEIGHTS_IN}
        return self.with_settings(**{name: file for name, value in named.items() if (file := weights_file(value))})


WEIGHTS_IN = ("pretrained", "teacher")
"""The settings that may name weights by where they lie."""


def weights_file(value: str | None) -> str | None:
    """The absolute path that a value of WEIGHTS_IN stands for here; None where it names no file or folder."""
    if value is None or not names_a_file(value):
        return None
    return os.path.abspath(os.path.expanduser(value))  # noqa: PTH100, PTH111 - Path's raises for unknown users
