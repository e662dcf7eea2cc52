"""Forecast: what a budget buys. The rungs that fit it, and about how many trials reach each of them.

choose_rungs(num_epochs=36, shortest=2, budget=400.0)  # (12, 36)
forecast((12, 36), [12, 36], epochs=400.0).describe()
# about 23 configurations for 12 epochs, 3 for 36
"""

from collections.abc import Sequence
from typing import NamedTuple

from data.system.wording import counted
from tuning.decide.budget import Purse, Shares

STEP = 3
"""The longest schedule is so many times the one below."""
FULL_LENGTHS = 4
"""A budget holds at least so many of the longest schedule; else that is made shorter."""


class Forecast(NamedTuple):
    """About how many schedules of each length a budget holds."""

    rungs: tuple[int, ...]
    trials: tuple[int, ...]
    """By rung."""
    repeats: int

    def describe(self) -> str:
        """A few words."""
        first, *others = zip(self.trials, self.rungs, strict=True)
        said = [f"about {counted(first[0], 'configuration')} for {counted(first[1], 'epoch')}"]
        said += [f"{count} for {rung}" for count, rung in others]
        if self.repeats:
            said.append(f"{counted(self.repeats, 'repeat')} of the best")
        return ", ".join(said)


def choose_rungs(num_epochs: int, shortest: int, budget: float | None) -> tuple[int, ...]:
    """The rungs for `rungs: auto`: num_epochs and a third of it, or less where the budget, in epochs, is small.

    `shortest` is the least number of epochs that makes a schedule; None stands for any budget.
    """
    full = num_epochs
    if budget is not None:
        full = max(min(num_epochs, int(budget / FULL_LENGTHS)), min(shortest, num_epochs))
    lower = round(full / STEP)
    return (lower, full) if shortest <= lower < full else (full,)


def forecast_of(purse: Purse) -> Forecast:
    """What a study's budget buys."""
    plan, settings = purse.study.plan, purse.settings
    rungs = plan.rungs or (purse.longest,)
    to_top = purse.at_once if settings.time_budget is not None else 1
    return forecast(rungs, plan.lengths() or list(rungs), purse.total(), purse.most_trials, to_top)


def forecast(
    rungs: Sequence[int], lengths: Sequence[int], epochs: float, most_trials: int | None = None, to_top: int = 1
) -> Forecast:
    """What so many epochs buy. `lengths` are the epochs from each rung to the next; of the first rung no more are
    trained than leave room for `to_top` to go on."""
    shares = Shares.of(epochs / rungs[-1], len(rungs))
    repeats = int(shares.repeats * epochs / rungs[-1])
    lower = min(shares.lower * epochs, epochs - to_top * sum(lengths[1:]))
    if len(rungs) == 1:
        counts = [max(1, int(lower / rungs[0]))]
    else:
        counts = [max(1, int(lower / (len(rungs) - 1) / length)) for length in lengths[:-1]]
        left = epochs - repeats * rungs[-1] - sum(c * length for c, length in zip(counts, lengths, strict=False))
        counts.append(max(1, int(left / lengths[-1])))
    if most_trials is not None:
        counts = [min(count, most_trials) for count in counts]
    for place in range(1, len(counts) - 1):
        counts[place] = min(counts[place], counts[place - 1])
    return Forecast(tuple(rungs), tuple(counts), repeats)
