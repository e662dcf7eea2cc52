"""Plan: the rungs that trials climb, and who goes on. Each study has one, and everything about rungs is asked of it.

plan = Plan(rungs=(12, 36), reduction=4, promotion="continue", audit=8)
plan.rungs_of(config)  # (12, 36)
plan.lengths()  # [12, 24]: `continue` trains on from the weights of the first 12 epochs
"""

from dataclasses import dataclass, replace

from reid_train.settings.config import TrainConfig
from tuning.space.schedules import Mode, Schedule, lengths, schedules
from tuning.space.settings import StudySettings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How trials climb."""

    rungs: tuple[int, ...] | None
    """Epochs after which trials are compared; None: each trial has one rung, its own num_epochs."""
    reduction: int
    """At a rung's end the best 1 in `reduction` go on."""
    promotion: Mode
    audit: int
    """Every n-th trial goes to the top whatever its scores; 0: none does."""

    @classmethod
    def of(cls, settings: StudySettings, chosen: tuple[tuple[int, ...], int] | None = None) -> "Plan":
        """The plan that the settings name. `chosen` has the rungs and the reduction that `rungs: auto` came to."""
        rungs = settings.rungs if isinstance(settings.rungs, tuple) else None
        rungs, reduction = chosen or (rungs, settings.reduction)
        return cls(rungs=rungs, reduction=reduction, promotion=settings.promotion, audit=settings.audit)

    def rungs_of(self, config: TrainConfig) -> tuple[int, ...]:
        """The rungs of a trial of `config`."""
        return self.rungs or (config.num_epochs,)

    def schedules_of(self, config: TrainConfig) -> list[Schedule]:
        """The schedules that lead a trial of `config` to the top."""
        return schedules(self.rungs_of(config), self.promotion)

    def with_rungs(self, rungs: tuple[int, ...]) -> "Plan":
        """The same plan with other rungs."""
        return replace(self, rungs=rungs)

    def lengths(self) -> list[int]:
        """Epochs that a trial trains to each rung from the one below."""
        return lengths(self.rungs or (), self.promotion)

    def is_audited(self, number: int) -> bool:
        """Whether trial `number` goes to the top whatever its scores."""
        return self.audit > 0 and (number + 1) % self.audit == 0
