"""The searches that this project's is compared with, with their own classes, under the benchmark's clock."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.benchmarks.curve_table import configuration_at
from tests.benchmarks.simulation import Part, whole
from tests.benchmarks.truth import Task, path_end
from tuning.space.batches import nearest_trainable
from tuning.space.space import SearchSpace


def suggested(space: SearchSpace, trial: Any) -> dict[str, Any]:
    """What an Optuna trial suggests, setting by setting as conditions have them; a batch that can be trained."""
    from tuning.decide.sampler import suggest

    chosen: dict[str, Any] = {}
    for parameter in space.parameters:
        if parameter.applies({**space.settings, **chosen}):
            chosen[parameter.name] = nearest_trainable(space, parameter, suggest(trial, parameter), chosen)
    return chosen


class FullLength:
    """One of Optuna's samplers; every trial at full length; the best single score is handed over."""

    def __init__(self, task: Task, sampler: Any):
        import optuna

        self._task = task
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._study.enqueue_trial(task.space.by_key(task.space.first_trials[0]))
        self._best: tuple[float, Any] = (-1.0, None)

    def next_part(self, left: float) -> Part | None:
        trial = self._study.ask()
        return whole(suggested(self._task.space, trial), self._task.top, trial)

    def tell(self, part: Part) -> None:
        self._study.tell(part.about, part.score)
        self._best = max(self._best, (part.score, part.parameters), key=lambda pair: pair[0])

    def choice(self) -> Mapping[str, Any] | None:
        return self._best[1]


class ShortFirst:
    """Random configurations after one short schedule with a share of the budget; the best of them at full length."""

    def __init__(self, task: Task, rung: int, share: float, budget: float, seed: int):
        self._task, self._path, self._share, self._budget = task, str(rung), share, budget
        self._rng = np.random.default_rng(seed)
        self._short, self._long = list[Part](), list[Part]()
        self._begun = set[int]()
        self._first = True

    def next_part(self, left: float) -> Part | None:
        if left > (1 - self._share) * self._budget:
            space = self._task.space
            drawn = configuration_at(space, self._rng.random(len(space.parameters)).tolist())
            drawn, self._first = (dict(space.first_trials[0]) if self._first else drawn), False
            return whole(drawn, self._path)
        for part in sorted(self._short, key=lambda part: -part.score):
            if id(part) not in self._begun:
                self._begun.add(id(part))
                return whole(part.parameters, self._task.top)
        return None

    def tell(self, part: Part) -> None:
        (self._long if part.path == self._task.top else self._short).append(part)

    def choice(self) -> Mapping[str, Any] | None:
        ended = self._long or self._short
        return max(ended, key=lambda part: part.score).parameters if ended else None


class StubTrial:
    """What Ray's classes look at of a Ray trial."""

    def __init__(self, trial_id: str, config: dict[str, Any]):
        self.trial_id, self.config = trial_id, config


class RayAsha:
    """Ray's OptunaSearch and ASHAScheduler: compared in the middle of one long schedule."""

    def __init__(self, task: Task, seed: int, grace: int):
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        self._task, self._rungs = task, [rung for rung in task.table.rungs if rung >= grace]
        self._search = OptunaSearch(
            lambda trial: suggested(task.space, trial),
            metric="val_mAP",
            mode="max",
            points_to_evaluate=[task.space.by_key(task.space.first_trials[0])],
            seed=seed,
        )
        self._scheduler = ASHAScheduler(
            metric="val_mAP", mode="max", max_t=self._rungs[-1], grace_period=grace, reduction_factor=3
        )
        self._number = itertools.count()
        self._waiting = list[Part]()
        self._last = dict[str, tuple[float, Mapping[str, Any]]]()

    def next_part(self, left: float) -> Part | None:
        if self._waiting:
            return self._waiting.pop()
        trial = StubTrial(str(next(self._number)), {})
        answer = self._search.suggest(trial.trial_id)
        trial.config = {name: answer[name] for name in self._task.space.searched if name in answer}
        self._scheduler.on_trial_add(None, trial)
        return self._part(trial, None)

    def _part(self, trial: StubTrial, before: Part | None) -> Part:
        begin = path_end(before.path) if before else 0
        rung = next(rung for rung in self._rungs if rung > begin)
        path = self._task.top if rung == self._rungs[-1] else f"{self._task.top}@{rung}"
        return Part(trial.config, path, rung - begin, before, trial)

    def tell(self, part: Part) -> None:
        trial, end = part.about, path_end(part.path)
        result = {"val_mAP": part.score, "training_iteration": end}
        self._last[trial.trial_id] = part.score, part.parameters
        self._search.on_trial_result(trial.trial_id, result)
        if end < self._rungs[-1] and self._scheduler.on_trial_result(None, trial, result) != "STOP":
            self._waiting.append(self._part(trial, part))
            return
        self._scheduler.on_trial_complete(None, trial, result)
        self._search.on_trial_complete(trial.trial_id, result)

    def choice(self) -> Mapping[str, Any] | None:
        return max(self._last.values(), key=lambda pair: pair[0])[1] if self._last else None
