"""Forecast: what a budget buys. How many trials reach each rung of a plan, and the epochs and time that this takes.

    forecast(plan, trials=40).describe(epoch_s=12.0, concurrency=1)
    # plan: 40 trials to 12 epochs, 13 of them to 36 (792 epochs instead of 1440; continue, best 1 in 4), about 2:38:24

`rungs: auto` chooses the rungs and the reduction here, once; the study keeps them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from data.system.errors import UserError
from data.system.wording import clock, counted
from tuning.space.plan import Plan
from tuning.space.settings import StudySettings

MOST_RUNGS = 3
REDUCTIONS = (2, 3, 4)
FEWEST_AT_TOP = 2
"""Trials that a chosen plan promotes to the longest schedule, beside the audited ones."""
TIME_SHARE = 0.9
"""Share of a time budget that a plan fills: the rest is for starting, evaluating and what runs longer."""


@dataclass(frozen=True)
class Forecast:
    """How many trials are expected at each rung of a plan."""

    plan: Plan
    """With rungs."""
    trials: tuple[int, ...]
    """By rung."""

    @property
    def rungs(self) -> tuple[int, ...]:
        assert self.plan.rungs is not None
        return self.plan.rungs

    @property
    def epochs(self) -> int:
        """Epochs of all trials together."""
        return sum(count * length for count, length in zip(self.trials, self.plan.lengths(), strict=True))

    @property
    def promoted_to_top(self) -> int:
        """Trials that reach the longest schedule for their scores and not because they are audited."""
        return self.trials[-1] - (_audited(self.plan, self.trials[0]) if len(self.rungs) > 1 else 0)

    def describe(self, epoch_s: float, concurrency: int) -> str:
        """One line; `epoch_s` is 0 where the pace is not known yet."""
        first, *others = zip(self.trials, self.rungs, strict=True)
        steps = [f"{counted(first[0], 'trial')} to {counted(first[1], 'epoch')}"]
        steps += [f"{count} of them to {rung}" for count, rung in others]
        trained = f"{self.epochs} epochs"
        if others:
            instead = self.trials[0] * self.rungs[-1]
            trained += f" instead of {instead}; {self.plan.promotion}, best 1 in {self.plan.reduction}"
        time_s = self.epochs * epoch_s / concurrency
        time = f", about {clock(time_s)} of training at {epoch_s:.3g} s an epoch" if epoch_s else ""
        return f"plan: {', '.join(steps)} ({trained}){time}"


class Budget(NamedTuple):
    """Epochs that a time budget has room for."""

    epochs: float
    """One after the other."""
    at_once: int
    """Trials side by side."""

    def holds(self, expected: Forecast) -> bool:
        """Whether all of its epochs fit, and those of one trial, which follow each other."""
        return sum(expected.plan.lengths()) <= self.epochs and expected.epochs <= self.epochs * self.at_once


def forecast(plan: Plan, trials: int) -> Forecast:
    """What the plan makes of so many trials."""
    audited, counts = _audited(plan, trials), [trials]
    for _ in (plan.rungs or ())[1:]:
        counts.append(min(counts[-1], max(1, (counts[-1] - audited) // plan.reduction) + audited))
    return Forecast(plan, tuple(counts))


def fitted(expected: Forecast, budget: Budget) -> Forecast | None:
    """The same plan with as many of its trials as the budget holds; None where it holds not one."""
    for trials in range(expected.trials[0], 0, -1):
        fewer = forecast(expected.plan, trials)
        if budget.holds(fewer):
            return fewer
    return None


def choose_plan(settings: StudySettings, num_epochs: int, shortest: int, budget: Budget | None = None) -> Forecast:
    """The plan for `rungs: auto`: the one that prunes least among those that fit the budget.

    The longest rung has `num_epochs`; each other is a `reduction`th of the next one, `shortest` epochs at least; at
    least FEWEST_AT_TOP trials are promoted to the top. Without a budget every plan fits, and the one with the fewest
    epochs is taken. Where none fits, the plan has fewer trials than were asked for. Raises UserError where not even
    one trial fits.
    """
    found = [forecast(plan, settings.trials) for plan in _candidates(settings, num_epochs, shortest)]
    found = [one for one in found if len(one.rungs) == 1 or one.epochs < settings.trials * num_epochs]
    # Where enough trials can climb at all, plans in which too few do are left out.
    found = [one for one in found if one.promoted_to_top >= FEWEST_AT_TOP] or found
    if budget is None:
        return min(found, key=lambda one: one.epochs)
    if fitting := [one for one in found if budget.holds(one)]:
        return max(fitting, key=lambda one: one.epochs)
    for one in sorted(found, key=lambda one: one.epochs):
        if fewer := fitted(one, budget):
            return fewer
    raise UserError(
        f"time budget: no trial of {num_epochs} epochs fits, there is time for {max(0.0, budget.epochs):.1f} epochs; "
        "raise --time-budget, or lower num_epochs or the image size"
    )


def _candidates(settings: StudySettings, num_epochs: int, shortest: int) -> Iterator[Plan]:
    """Plans to choose from."""
    given = "reduction" in settings.model_fields_set
    for reduction in (settings.reduction,) if given else REDUCTIONS:
        for count in range(1, MOST_RUNGS + 1):
            rungs = tuple(round(num_epochs / reduction**power) for power in range(count - 1, -1, -1))
            if count == 1 or rungs[0] >= shortest:
                yield Plan.of(settings, (rungs, reduction))


def _audited(plan: Plan, trials: int) -> int:
    return trials // plan.audit if plan.audit else 0
