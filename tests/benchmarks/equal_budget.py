"""What a search hands over for a budget: every method is given the same number of full-length runs to spend.

    python -m tests.benchmarks.equal_budget [--table FILE] [--replays 200] [--budgets 4 6 10 14 20 30 40 60]

The task is tests/benchmarks/truth.py's: a continuous response that recorded curves support, another for each replay.
Everything that a method trains is counted, at the recorded pace: what measures noise, what confirms, what was given up.
A run begins only if the budget is expected to hold it. Each method is told its budget and begins anew for each. It
hands over one configuration; its regret is how far the truth's mean after one full-length schedule lies below the best.
A method that hands over nothing is given the regret of the default, which its user had before.

Compared: random search, its best single score, and with a short rung first; Optuna's TPE and GPSampler at full length;
Ray's OptunaSearch with its ASHAScheduler; this project's default. Missing yet: SMAC3, and a model of our own.
"""

import argparse
import heapq
import itertools
import json
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data.system.errors import exit_on_user_error
from tests.benchmarks.curve_table import CURVES, configuration_at, path_to
from tests.benchmarks.search_efficiency import StubTrial
from tests.benchmarks.truth import Kind, Task, Truth, describe_gates, path_end
from tests.reports import epoch_report
from tuning.space.batches import nearest_trainable
from tuning.space.read import read_space
from tuning.space.schedules import Mode
from tuning.space.settings import StudySettings
from tuning.space.space import SearchSpace

BUDGETS = (4, 6, 10, 14, 20, 30, 40, 60)
"""In full lengths."""
KINDS: tuple[Kind, ...] = ("gp", "trees")


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


class Method(Protocol):
    """A search under the benchmark's clock."""

    def next_part(self, left: float) -> Part | None:
        """What to train now, with so many full lengths left; None for nothing now."""

    def tell(self, part: Part) -> None:
        """The score of a part that has ended."""

    def choice(self) -> Mapping[str, Any] | None:
        """What is handed over."""


def suggested(space: SearchSpace, trial: Any) -> dict[str, Any]:
    """What an Optuna trial suggests, setting by setting as conditions have them; a batch that can be trained."""
    from tuning.decide.sampler import _suggest

    chosen: dict[str, Any] = {}
    for parameter in space.parameters:
        if parameter.applies({**space.settings, **chosen}):
            chosen[parameter.name] = nearest_trainable(space, parameter, _suggest(trial, parameter), chosen)
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
        return Part(suggested(self._task.space, trial), self._task.top, path_end(self._task.top), about=trial)

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
            return Part(drawn, self._path, path_end(self._path))
        for part in sorted(self._short, key=lambda part: -part.score):
            if id(part) not in self._begun:
                self._begun.add(id(part))
                return Part(part.parameters, self._task.top, path_end(self._task.top))
        return None

    def tell(self, part: Part) -> None:
        (self._long if part.path == self._task.top else self._short).append(part)

    def choice(self) -> Mapping[str, Any] | None:
        ended = self._long or self._short
        return max(ended, key=lambda part: part.score).parameters if ended else None


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


class Ours:
    """This project's study and policy; with noise runs and a confirmation if asked, as the command does by default."""

    def __init__(self, task: Task, seed: int, budget: float, *, confirmed: bool = True, **changes: Any):
        from tuning.decide.policy import Policy
        from tuning.record.study import Study

        trials = 10_000
        settings = StudySettings(trials=trials, rungs=task.table.rungs)
        settings = settings.model_copy(update={"sampler_seed": seed, **changes})
        self._task, self._study = task, Study("replay", replace(task.space, study=settings), in_memory=True)
        self._policy = Policy(self._study)
        self._budget = budget
        self._noise_left = settings.noise_seeds if confirmed else 0
        self._to_confirm = settings.top_k * settings.seeds if confirmed else 0
        self._queue: list[Mapping[str, Any]] | None = None
        self._repeats = list[Part]()
        self._parts = dict[int, Part]()
        self._climbing = list[int]()
        self._settings = settings

    def next_part(self, left: float) -> Part | None:
        top = self._task.top
        if self._noise_left:
            if left < self._noise_left + self._to_confirm + 1:
                return None
            self._noise_left -= 1
            return Part(self._task.space.first_trials[0], top, path_end(top), about="noise")
        if left > self._to_confirm + self._next_cost():
            number = self._climbing.pop() if self._climbing else self._policy.next_trial()
            return None if number is None else self._part(number)
        if self._queue is None:
            from tuning.decide.ranking import best_first

            chosen = [trial.parameters for trial in best_first(self._study.trials())[: self._settings.top_k]]
            self._queue = [parameters for parameters in chosen for _ in range(self._settings.seeds)]
            self._queue = self._queue if self._to_confirm else []
        return Part(self._queue.pop(0), top, path_end(top), about="repeat") if self._queue else None

    def _next_cost(self) -> float:
        """Of the longest part that may come next, in full lengths."""
        return max(self._policy.plan.lengths()) / path_end(self._task.top)

    def _part(self, number: int) -> Part:
        mode: Mode = self._policy.plan.promotion
        trial, rungs = self._study.trial(number), self._policy.rungs
        rung = next(rung for rung in rungs if rung > trial.rung)
        epochs = self._policy.plan.lengths()[rungs.index(rung)]
        path = path_to(rung, rungs, mode)
        path = f"{path}@{rung}" if mode == "cut" and rung < rungs[-1] else path
        return Part(trial.parameters, path, epochs, self._parts.get(number), number)

    def tell(self, part: Part) -> None:
        if isinstance(part.about, str):
            self._repeats.append(part)
            return
        number, rung = part.about, path_end(part.path)
        self._parts[number] = part
        self._study.record(number, rung, epoch_report(rung, val_mAP=part.score))
        if self._policy.at_rung_end(number, rung):
            self._climbing.append(number)

    def choice(self) -> Mapping[str, Any] | None:
        from tuning.decide.ranking import best_first

        means = [(float(np.mean([part.score for part in group])), group[0].parameters) for group in self._groups()]
        if means:
            return max(means, key=lambda pair: pair[0])[1]
        ranked = [trial for trial in best_first(self._study.trials()) if trial.is_complete]
        return ranked[0].parameters if ranked and not self._to_confirm else None

    def _groups(self) -> list[list[Part]]:
        repeats = [part for part in self._repeats if part.about == "repeat"]
        found: dict[str, list[Part]] = {}
        for part in repeats:
            found.setdefault(json.dumps(part.parameters, sort_keys=True), []).append(part)
        return list(found.values())


@dataclass(frozen=True)
class Outcome:
    """What a method handed over."""

    regret: float
    """mAP below the truth's best."""
    worse_than_default: bool
    nothing: bool
    """No configuration was handed over, and the default's regret counts."""
    spent: float
    """Full lengths."""


def simulate(make: Callable[[], Method], truth: Truth, budget: float, workers: int, seed: int) -> Outcome:
    """One search: whenever a worker is free and the budget is expected to hold what the method wants, it is trained."""
    task, rng, method = truth.task, np.random.default_rng([seed, 7]), make()
    running: list[tuple[float, int, Part]] = []
    count, now, spent, over = itertools.count(), 0.0, 0.0, False
    while True:
        while len(running) < workers and not over:
            part = method.next_part(budget - spent)
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
            break
        now, _, part = heapq.heappop(running)
        part.score, part.noise = truth.score(part.parameters, part.path, rng, part.before.noise if part.before else 0.0)
        method.tell(part)
    default = truth.best - truth.mean(task.space.first_trials[0], task.top)
    chosen = method.choice()
    if chosen is None:
        return Outcome(default, False, True, spent)
    regret = truth.best - truth.mean(chosen, task.top)
    return Outcome(regret, regret > default + 1e-9, False, spent)


def methods(task: Task, budget: float, seed: int) -> dict[str, Callable[[], Method]]:
    """By name; each made anew for a replay."""
    import optuna

    low, middle, _ = task.table.rungs
    return {
        "random": lambda: FullLength(task, optuna.samplers.RandomSampler(seed=seed)),
        f"random at {low} epochs first": lambda: ShortFirst(task, low, 0.7, budget, seed),
        f"random at {middle} epochs first": lambda: ShortFirst(task, middle, 0.7, budget, seed),
        "halving, restart": lambda: Ours(
            task, seed, budget, confirmed=False, sampler="random", promotion="restart", audit=0, reduction=3
        ),
        "Optuna TPE": lambda: FullLength(task, optuna.samplers.TPESampler(seed=seed)),
        "Optuna GPSampler": lambda: FullLength(
            task, optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)
        ),
        "Ray OptunaSearch + ASHA": lambda: RayAsha(task, seed, middle),
        "today's default": lambda: Ours(task, seed, budget),
    }


def interval(values: Sequence[float], rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the mean, by bootstrap."""
    drawn = rng.choice(np.asarray(values), (2000, len(values))).mean(axis=1)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.equal_budget", description=__doc__.split("\n")[0])
    parser.add_argument("--table", type=Path, default=CURVES / "pedestrians.yaml", help="the space of a recorded table")
    parser.add_argument("--first-replay", type=int, default=0)
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS), help="in full lengths")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--truths", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--methods", nargs="+", help="default: all")
    parser.add_argument("--gates", action="store_true", help="only says whether the truths stand for the table")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task = Task.read(read_space(arguments.table))
    for kind in arguments.truths:
        print(f"{task.space.name}, {kind}", *describe_gates(task.gates(kind)), sep="\n  ", flush=True)
    if arguments.gates:
        return
    replays = range(arguments.first_replay, arguments.first_replay + arguments.replays)
    means: dict[tuple[str, int, str], float] = {}
    for kind, budget in itertools.product(arguments.truths, arguments.budgets):
        outcomes: dict[str, list[Outcome]] = {}
        for seed in replays:
            truth = task.draw(kind, seed)
            for name, make in methods(task, budget, seed).items():
                if not arguments.methods or name in arguments.methods:
                    outcomes.setdefault(name, []).append(simulate(make, truth, budget, arguments.workers, seed))
        for name, found in outcomes.items():
            regrets = [outcome.regret for outcome in found]
            low, high = interval(regrets, np.random.default_rng(0))
            means[kind, budget, name] = float(np.mean(regrets))
            worse, nothing = (
                float(np.mean([getattr(o, what) for o in found])) for what in ("worse_than_default", "nothing")
            )
            print(
                f"{kind} {budget:3d} L  {name:32s} regret {1e3 * means[kind, budget, name]:5.1f} "
                f"({1e3 * low:.1f} to {1e3 * high:.1f}), 90th percentile {1e3 * np.quantile(regrets, 0.9):5.1f}; "
                f"worse than the default {100 * worse:.0f} %, nothing {100 * nothing:.0f} %, "
                f"spent {np.mean([o.spent for o in found]):.1f}; n={len(found)}",
                flush=True,
            )
    ours = "today's default"
    ratios = {
        budget: max(means[kind, budget, ours] / means[kind, budget, "random"] for kind in arguments.truths)
        for budget in arguments.budgets
        if all((kind, budget, name) in means for kind in arguments.truths for name in (ours, "random"))
    }
    print(json.dumps({"ratio_to_random": {k: round(v, 3) for k, v in ratios.items()}, "replays": len(replays)}))


if __name__ == "__main__":
    main()
