"""A search under a clock that counts full lengths: what is asked of a method, and what it hands over.

outcome = simulate(lambda: FullLength(task, sampler), truth, budget=10, workers=8, seed=3)
"""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tests.benchmarks.truth import Task, path_end


@dataclass
class Part:
    """A cycle of training that a method wants: up to a path's end, from the end of the cycle before."""

    parameters: Mapping[str, Any]
    path: str
    epochs: int
    """Trained for it."""
    before: "Part | None" = None
    """What it goes on from."""
    about: Any = None
    """The method's own note."""
    score: float = math.nan
    noise: float = field(default=0.0, repr=False)


def whole(parameters: Mapping[str, Any], path: str, about: Any = None) -> Part:
    """A schedule from the starting weights to a path's end."""
    return Part(parameters, path, path_end(path), about=about)


class Method(Protocol):
    """A search under the benchmark's clock."""

    def next_part(self, left: float) -> Part | None:
        """What to train now, with so many full lengths left; None for nothing now."""

    def tell(self, part: Part) -> None:
        """The score of a part that has ended."""

    def choice(self) -> Mapping[str, Any] | None:
        """What is handed over."""


class World(Protocol):
    """What configurations score: a draw of truth.py, or recorded curves."""

    task: Task

    @property
    def best(self) -> float:
        """The highest mean after one schedule of full length."""

    def mean(self, parameters: Mapping[str, Any], path: str) -> float:
        """Over seeds, at a path's end."""

    def score(
        self, parameters: Mapping[str, Any], path: str, rng: np.random.Generator, before: float = 0.0
    ) -> tuple[float, float]:
        """Of one run, and its noise in standard deviations; `before` is the noise of the cycle before."""


class UsedUp(Exception):
    """A search has had all that a world can score."""


@dataclass(frozen=True)
class Simulated:
    """A search that has ended."""

    method: Method
    parts: list[Part]
    """In the order of their ends."""
    spent: float
    """Full lengths."""
    decisions_cpu_s: float
    """CPU seconds of all that `next_part` was asked."""
    used_up: bool
    """Whether it ended because the world had nothing left."""


def simulate(make: Callable[[], Method], world: World, budget: float, workers: int, seed: int) -> Simulated:
    """One search: whenever a worker is free and the budget is expected to hold what the method wants, it is trained.

    It ends with the first part that the budget would not hold.
    """
    task, rng, method = world.task, np.random.default_rng([seed, 7]), make()
    running: list[tuple[float, int, Part]] = []
    ended: list[Part] = []
    count, now, spent, over, cpu_s = itertools.count(), 0.0, 0.0, False, 0.0
    while True:
        while len(running) < workers and not over:
            began_s = time.process_time()
            part = method.next_part(budget - spent)
            cpu_s += time.process_time() - began_s
            if part is None:
                break
            expected = task.expected_cost(part.parameters, part.epochs)
            if spent + expected > budget:
                over = True
                break
            cost = expected * float(rng.lognormal(0, 0.1))
            spent += cost
            heapq.heappush(running, (now + cost, next(count), part))
        if not running:
            return Simulated(method, ended, spent, cpu_s, False)
        now, _, part = heapq.heappop(running)
        before = part.before.noise if part.before else 0.0
        try:
            part.score, part.noise = world.score(part.parameters, part.path, rng, before)
        except UsedUp:
            return Simulated(method, ended, spent, cpu_s, True)
        method.tell(part)
        ended.append(part)
