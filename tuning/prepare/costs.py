"""What the architectures of a space cost, found before the search begins, when nothing else is computing.

Costs depend on a few settings only (ARCHITECTURE), so that they are the same for all trials of an architecture and
known before any is trained.

torch is imported where it is used: the process that steers a search never loads it.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from data.system.errors import UserError
from data.system.threads import usable_cpus
from data.system.wording import counted, show_value
from reid_train.config import ARCHITECTURE, TrainConfig
from tuning.decide.ranking import within
from tuning.record.study import Study
from tuning.space.space import SearchSpace

MOST_ARCHITECTURES = 64
"""Of a space: to measure the latency of each takes a second or more."""
ROUNDS = 3
BUSY = 0.5
"""Share of the CPUs in use from which on a latency is not to be trusted."""


Prices = list[tuple[list[Any], dict[str, float]]]
"""The costs of each architecture, after its values of ARCHITECTURE."""


def measure_prices(space: SearchSpace) -> Prices:
    """What each architecture of the space costs. Raises UserError for too many of them, and for limits that none keeps.

    To be called while nothing else computes.
    """
    wanted, limits = space.study.costs, space.study.pick
    if not wanted:
        return []
    if "latency_ms" in wanted and (load := os.getloadavg()[0]) > BUSY * usable_cpus():
        print(f"note: other programs are computing here (load {load:.1f}): latencies may come out too long", flush=True)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        prices = pool.submit(_prices, architectures(space), wanted).result()
    if isinstance(limits, dict) and not any(within(costs, limits) for _, costs in prices):
        least = ", ".join(f"{name} {min(costs[name] for _, costs in prices):.4g}" for name in limits)
        raise UserError(f"{space.source.at('study', 'pick')}: no architecture keeps the limits; the least are {least}")
    return prices


def describe_prices(prices: Prices) -> list[str]:
    """A line for each cost."""
    lines = []
    for name in prices[0][1] if prices else ():
        low, high = (show_value(extreme(costs[name] for _, costs in prices)) for extreme in (min, max))
        reach = f"{low} to {high}" if high != low else low
        lines.append(f"{name} of {counted(len(prices), 'architecture')}: {reach}")
    return lines


def costs_of(study: Study, parameters: Mapping[str, Any]) -> dict[str, float]:
    """What a configuration costs, by the study's metrics; empty where it has none but a score."""
    if not study.space.study.costs:
        return {}
    key = _key(study.space.config(parameters))
    return next(costs for known, costs in study.attributes["prices"] if known == key)


def architectures(space: SearchSpace) -> list[TrainConfig]:
    """A configuration for each architecture that trials and the default may have.

    Raises UserError where there are too many.
    """
    return space.combinations(ARCHITECTURE, MOST_ARCHITECTURES, "architectures, too many to measure each")


def _key(config: TrainConfig) -> list[Any]:
    return [getattr(config, name) for name in ARCHITECTURE]


def _prices(configs: list[TrainConfig], wanted: tuple[str, ...]) -> Prices:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read when torch is loaded: threads that spin wait for each other longer
    from reid_train.inference_cost import latency_ms, parameters_and_width

    costs: list[dict[str, float]] = [dict(parameters_and_width(config)) for config in configs]
    if "latency_ms" in wanted:
        # In rounds, of which the least counts: what else runs on the machine slows some of them, and quickens none.
        rounds = [[latency_ms(config) for config in configs] for _ in range(ROUNDS)]
        costs = [{**own, "latency_ms": round(min(times), 3)} for own, *times in zip(costs, *rounds, strict=True)]
    return [(_key(config), {name: own[name] for name in wanted}) for config, own in zip(configs, costs, strict=True)]
