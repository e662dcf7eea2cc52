"""What the architectures of a space cost, measured before the search begins, while nothing else is computing.

    study.note(prices=measure_prices(space))

Costs depend on the architecture alone: they are the same for all of its trials, and known before any is trained.
"""

import os

from data.system.errors import UserError
from data.system.limits import usable_cpus
from data.system.processes import in_processes
from data.system.wording import counted, show_value
from reid_train.settings.config import ARCHITECTURE, TrainConfig
from tuning.decide.ranking import within
from tuning.record.facts import Prices
from tuning.space.space import SearchSpace

MOST_ARCHITECTURES = 64
"""Architectures that a space may have where costs count: measuring the latency of each takes a second or more."""
BUSY = 0.5
"""Share of the CPUs in use from which on a latency is not to be trusted."""


def measure_prices(space: SearchSpace) -> Prices:
    """What each architecture of the space costs. Raises UserError for too many of them, and for limits that none keeps.

    To be called while nothing else computes.
    """
    wanted, limits = space.study.costs, space.study.pick
    if not wanted:
        return []
    if "latency_ms" in wanted and (load := os.getloadavg()[0]) > BUSY * usable_cpus():
        print(f"note: other programs are computing here (load {load:.1f}): latencies may come out too long", flush=True)
    (prices,) = in_processes("tuning.prepare.probes:prices", architectures(space), wanted)
    if isinstance(limits, dict) and not any(within(costs, limits) for _, costs in prices):
        least = ", ".join(f"{name} {min(costs[name] for _, costs in prices):.4g}" for name in limits)
        raise UserError(f"{space.source.at('study', 'pick')}: no architecture keeps the limits; the least are {least}")
    found: Prices = prices
    return found


def describe_prices(prices: Prices) -> list[str]:
    """A line for each cost."""
    lines = []
    for name in prices[0][1] if prices else ():
        low, high = (show_value(extreme(costs[name] for _, costs in prices)) for extreme in (min, max))
        reach = f"{low} to {high}" if high != low else low
        lines.append(f"{name} of {counted(len(prices), 'architecture')}: {reach}")
    return lines


def architectures(space: SearchSpace) -> list[TrainConfig]:
    """A configuration for each architecture that trials and the default may have.

    Raises UserError where there are too many.
    """
    return space.combinations(ARCHITECTURE, MOST_ARCHITECTURES, "architectures, too many to measure each")
