"""A recorded table as it is, to search in: each configuration that is proposed scores as a recorded one near it.

world = Recorded(task, seed=3)
world.score({"learning_rate": 1e-3, ...}, "9", rng)  # of the nearest recorded configuration that the search has not had

A search learns of the configuration that it proposed, and not of the one that stands for it: on the pedestrians that
moves scores by several times what a seed does. So the table is kind to searches that do not model. A table is soon used
up: a search that wants more configurations than it has ends there.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.benchmarks.simulation import UsedUp
from tests.benchmarks.truth import Task, path_end


class Recorded:
    """One replay's view of a table: its own order of each configuration's seeds, and which configurations are left."""

    def __init__(self, task: Task, seed: int):
        self.task = task
        self._rng = np.random.default_rng([seed, 2])
        self._left = list(task.table.complete)
        self._stand_ins = dict[str, int]()
        self._runs = Counter[tuple[int, str]]()
        self._means = task.table.final_means()
        self._seeds = {n: self._rng.permutation(seeds).tolist() for n, seeds in task.table.seeds.items()}

    @property
    def best(self) -> float:
        """The highest mean over the seeds recorded at full length."""
        return float(self._means[self.task.table.complete].max())

    def mean(self, parameters: Mapping[str, Any], path: str) -> float:
        """At full length, of the recorded configuration that stands for this one."""
        assert path == self.task.top
        return float(self._means[self._stand_in(parameters, self.task.table.complete)])

    def score(
        self, parameters: Mapping[str, Any], path: str, rng: np.random.Generator, before: float = 0.0
    ) -> tuple[float, float]:
        """A configuration's first run on a path has the replay's seed for it, the next ones its other seeds; when all
        are used, runs are drawn around its mean. The recorded noise is not told: 0. Raises UsedUp."""
        key = json.dumps(parameters, sort_keys=True)
        if key not in self._stand_ins:
            if not self._left:
                raise UsedUp
            self._stand_ins[key] = self._stand_in(parameters, self._left)
            self._left.remove(self._stand_ins[key])
        number, scores = self._stand_ins[key], self.task.table.curves[path.split("@")[0], path_end(path)]
        recorded = [seed for configuration, seed in scores if configuration == number]
        seeds = [*self._seeds[number], *sorted(set(recorded) - set(self._seeds[number]))]
        self._runs[number, path] += 1
        if self._runs[number, path] <= len(seeds):
            return scores[number, seeds[self._runs[number, path] - 1]], 0.0
        mean = float(np.mean([scores[number, seed] for seed in recorded]))
        return mean + float(self.task.sd(path, np.array([mean]))[0] * rng.standard_normal()), 0.0

    def _stand_in(self, parameters: Mapping[str, Any], among: list[int]) -> int:
        known = self._stand_ins.get(json.dumps(parameters, sort_keys=True))
        if known is not None:
            return known
        apart = ((self.task.table.places[among] - self.task.place(parameters)) ** 2).sum(axis=1)
        return among[int(apart.argmin())]
