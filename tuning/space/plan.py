"""Plan: the rungs that trials climb, and who goes on. Each study has one, and everything about rungs is asked of it.

plan = Plan(rungs=(12, 36), promotion="continue")
plan.rungs_of(config)  # (12, 36)
plan.lengths()  # [12, 24]: `continue` trains on from the weights of the first 12 epochs
"""

from dataclasses import dataclass

from reid_train.settings.config import TrainConfig
from tuning.space.schedules import Mode, Schedule, lengths, schedules
from tuning.space.settings import StudySettings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How trials climb."""

    rungs: tuple[int, ...] | None
    """Epochs after which trials are compared; None: each trial has one rung, its own num_epochs."""
    promotion: Mode

    @classmethod
    def of(cls, settings: StudySettings, chosen: tuple[int, ...] | None = None) -> "Plan":
        """The plan that the settings name. `chosen` has the rungs that `rungs: auto` came to."""
        named = settings.rungs if isinstance(settings.rungs, tuple) else None
        return cls(rungs=chosen or named, promotion=settings.promotion)

    def rungs_of(self, config: TrainConfig) -> tuple[int, ...]:
        """The rungs of a trial of `config`."""
        return self.rungs or (config.num_epochs,)

    def schedules_of(self, config: TrainConfig) -> list[Schedule]:
        """The schedules that lead a trial of `config` to the top."""
        return schedules(self.rungs_of(config), self.promotion)

    def lengths(self) -> list[int]:
        """Epochs that a trial trains to each rung from the one below."""
        return lengths(self.rungs or (), self.promotion)
