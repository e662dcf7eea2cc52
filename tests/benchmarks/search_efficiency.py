"""How many epochs a search spends until it has found a good configuration: searches replayed on recorded curves.

    python -m tests.benchmarks.search_efficiency [--space FILE] [--replays 200] [--variants]

Four searches, each with its real classes, on the runs that record_curves.py recorded: random search and Optuna's TPE
at full length; Ray's OptunaSearch with its ASHAScheduler, which compares runs in mid-cycle; this project's searcher
and scheduler. A proposed configuration is trained by looking up the nearest recorded one that the replay has not had
(Euclidean, every range scaled to 1), with one of the seeds that it was recorded with, drawn once a replay. All begin
with the space's first trial.

A search has arrived when the configuration that it would choose now is within 0.01 mAP of the table's best, by the
mean over all recorded seeds at full length. Printed are the epochs spent until then, median and quartiles, and how
much worse than the best the choice is after so many epochs: a search that arrived may choose another one later.
"""

import argparse
import itertools
import json
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from data.system.errors import exit_on_user_error
from tests.benchmarks.curve_table import CURVES, MODES, Table, path_to, to_unit
from tests.reports import epoch_report
from tuning.decide.forecast import forecast
from tuning.space.plan import Plan
from tuning.space.read import read_space
from tuning.space.schedules import Mode, schedules
from tuning.space.settings import SamplerName, StudySettings
from tuning.space.space import SearchSpace

CLOSE = 0.01
"""mAP that a good configuration may be below the best."""
RAY = "Ray OptunaSearch + ASHA, grace"
HORIZON = 900
"""Epochs after which a search is given up."""
BUDGETS = (100, 200, 400, 800)
"""Epochs after which the choice's regret is printed."""


class Replay:
    """One replay's view of the table: a seed for each configuration, and which ones are left."""

    def __init__(self, table: Table, seed: int):
        self.table = table
        self.rng = np.random.default_rng(seed)
        self.left = list(table.complete)
        self.seeds = {number: int(self.rng.choice(table.seeds[number])) for number in self.left}

    def nearest(self, parameters: dict[str, Any]) -> int | None:
        """The recorded configuration that stands for the proposed one; None when all were tried."""
        if not self.left:
            return None
        here = np.array([to_unit(p, parameters[p.name]) for p in self.table.space.parameters])
        distances = ((self.table.places[self.left] - here) ** 2).sum(axis=1)
        return self.left.pop(int(distances.argmin()))

    def score(self, configuration: int, path: str, epoch: int) -> float:
        """mAP on a path."""
        return self.table.curves[path, epoch][configuration, self.seeds[configuration]]


class Choice(NamedTuple):
    """What a search would choose after so many epochs."""

    epochs: int
    configuration: int


def full_length(replay: Replay, sampler: Any) -> Iterator[Choice]:
    """One of Optuna's samplers, every trial at full length."""
    import optuna

    from tuning.record.trial import distribution

    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(replay.table.space.first_trials[0])
    distributions = {p.name: distribution(p) for p in replay.table.space.parameters}
    top, spent, best = replay.table.rungs[-1], 0, (-1.0, -1)
    while True:
        trial = study.ask(distributions)
        configuration = replay.nearest(trial.params)
        if configuration is None:
            return
        score = replay.score(configuration, str(top), top)
        study.tell(trial, score)
        spent, best = spent + top, max(best, (score, configuration))
        yield Choice(spent, best[1])


class StubTrial:
    """What Ray's and our classes look at of a Ray trial."""

    def __init__(self, trial_id: str, config: dict[str, Any]):
        self.trial_id, self.config = trial_id, config


def ray_pairing(replay: Replay, seed: int, grace_period: int) -> Iterator[Choice]:
    """Ray's OptunaSearch and ASHAScheduler: rungs from `grace_period` epochs on, of one long cycle."""
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from tuning.record.trial import distribution

    rungs = replay.table.rungs
    search = OptunaSearch(
        {p.name: distribution(p) for p in replay.table.space.parameters},
        metric="val_mAP",
        mode="max",
        points_to_evaluate=[dict(replay.table.space.first_trials[0])],
        seed=seed,
    )
    scheduler = ASHAScheduler(
        metric="val_mAP", mode="max", max_t=rungs[-1], grace_period=grace_period, reduction_factor=3
    )
    spent, last = 0, dict[int, float]()
    for number in range(len(replay.left)):
        trial = StubTrial(str(number), search.suggest(str(number)))
        configuration = replay.nearest(trial.config)
        assert configuration is not None
        scheduler.on_trial_add(None, trial)
        for epoch in range(1, rungs[-1] + 1):
            spent += 1
            last[configuration] = replay.score(configuration, str(rungs[-1]), epoch)
            result = {"val_mAP": last[configuration], "training_iteration": epoch}
            search.on_trial_result(trial.trial_id, result)
            yield Choice(spent, max(last, key=last.__getitem__))
            if scheduler.on_trial_result(None, trial, result) == "STOP":
                break
        scheduler.on_trial_complete(None, trial, result)
        search.on_trial_complete(trial.trial_id, result)


def ours(replay: Replay, space: SearchSpace) -> Iterator[Choice]:
    """This project's searcher, scheduler and study, one trial at a time."""
    from tuning.decide.policy import Policy
    from tuning.decide.ranking import best_first
    from tuning.record.study import Study
    from tuning.run.messages import EpochEnded, job_of, ray_result
    from tuning.run.scheduler import RungScheduler
    from tuning.run.searcher import StudySearcher

    study = Study("replay", space, in_memory=True)
    policy = Policy(study)
    searcher = StudySearcher(policy, policy.job)
    scheduler = RungScheduler(policy)
    configurations, spent = dict[int, int](), 0
    while not isinstance(given := searcher.suggest("trial"), str):
        assert given is not None, "nothing runs, so that the searcher need not wait"
        number = job_of(given).number
        if number not in configurations:
            found = replay.nearest(study.trial(number).parameters)
            if found is None:
                return
            configurations[number] = found
        for rung, epoch, score in curve(replay, configurations[number], policy.rungs, policy.plan.promotion):
            if epoch <= study.trial(number).rung and rung <= study.trial(number).rung:
                continue
            spent += 1
            result = ray_result(EpochEnded(rung, epoch_report(epoch, val_mAP=score)))
            decision = scheduler.on_trial_result(None, StubTrial("trial", given), result)
            ranked = best_first(study.trials())
            if ranked:
                yield Choice(spent, configurations[ranked[0].number])
            if decision == "STOP":
                break


def curve(replay: Replay, configuration: int, rungs: tuple[int, ...], mode: Mode) -> Iterator[tuple[int, int, float]]:
    """A trial's epochs up its rungs: rung, epoch, mAP."""
    for schedule in schedules(rungs, mode):
        for epoch in range(schedule.begins + 1, schedule.ends + 1):
            rung = next(rung for rung in rungs if rung >= epoch) if mode == "cut" else schedule.ends
            yield rung, epoch, replay.score(configuration, path_to(schedule.ends, rungs, mode), epoch)


class Outcome(NamedTuple):
    """What came of one replay."""

    epochs: float
    """Spent when the choice was good for the first time; infinite where it never was within the HORIZON."""
    regrets: tuple[float, ...]
    """mAP that the choice after each of BUDGETS is worse than the best, means over seeds; NaN where there was none."""


def follow(choices: Iterator[Choice], regret: dict[int, float]) -> Outcome:
    """Goes along with a search; `regret` is known by configuration."""
    arrived, after = math.inf, dict.fromkeys(BUDGETS, math.nan)
    for choice in itertools.takewhile(lambda choice: choice.epochs <= HORIZON, choices):
        if arrived == math.inf and regret[choice.configuration] <= CLOSE:
            arrived = choice.epochs
        after |= {budget: regret[choice.configuration] for budget in BUDGETS if choice.epochs <= budget}
    return Outcome(arrived, tuple(after.values()))


def searches(table: Table, trials: int, *, variants: bool) -> dict[str, Callable[[int], Iterator[Choice]]]:
    """The searches that are compared, each from a replay's number to its choices."""
    import optuna

    settings = StudySettings(trials=trials, rungs=table.rungs)
    print(f"ours by default: {forecast(Plan.of(settings), trials).describe(0, 1)}")

    def mine(**changes: Any) -> Callable[[int], Iterator[Choice]]:
        def search(seed: int) -> Iterator[Choice]:
            changed = settings.model_copy(update={"sampler_seed": seed, **changes})
            return ours(Replay(table, seed), replace(table.space, study=changed))

        return search

    def ray_from(grace_period: int) -> Callable[[int], Iterator[Choice]]:
        return lambda seed: ray_pairing(Replay(table, seed), seed, grace_period)

    compared: dict[str, Callable[[int], Iterator[Choice]]] = {
        "random, full length": lambda seed: full_length(Replay(table, seed), optuna.samplers.RandomSampler(seed=seed)),
        "TPE, full length": lambda seed: full_length(Replay(table, seed), optuna.samplers.TPESampler(seed=seed)),
        **{f"{RAY} {grace}": ray_from(grace) for grace in table.rungs[:-1]},
        "ours": mine(),
    }
    if variants:
        compared |= {
            **{f"ours, {mode}": mine(promotion=mode) for mode in MODES},
            **{f"ours, {name}": mine(sampler=name) for name in get_args(SamplerName)},
            "ours, no audit": mine(audit=0),
            **{f"ours, reduction {n}": mine(reduction=n) for n in (2, 3, 5)},
            f"ours, rungs {list(table.rungs[1:])}": mine(rungs=table.rungs[1:]),
            f"ours, rungs {list(table.rungs[1:])}, restart": mine(rungs=table.rungs[1:], promotion="restart"),
        }
    return compared


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--space", type=Path, default=CURVES / "pedestrians.yaml")
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--trials", type=int, default=100, help="of this project's search (default 100)")
    parser.add_argument("--variants", action="store_true", help="also other settings of this project's search")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    table = Table.read(read_space(arguments.space))
    print(table.describe(), flush=True)
    final = table.final_means()[table.complete]
    regret = {number: float(final.max() - final[number]) for number in table.complete}
    print(f"good: {sum(value <= CLOSE for value in regret.values())} of {len(regret)} configurations")
    medians: dict[str, float] = {}
    for name, search in searches(table, arguments.trials, variants=arguments.variants).items():
        started = time.monotonic()
        outcomes = [follow(search(seed), regret) for seed in range(arguments.replays)]
        spent = sorted(outcome.epochs for outcome in outcomes)
        low, medians[name], high = (spent[int(len(spent) * part)] for part in (0.25, 0.5, 0.75))
        lost = f", {never} never" if (never := sum(map(math.isinf, spent))) else ""
        means = np.nanmean([outcome.regrets for outcome in outcomes], axis=0)
        after = ", ".join(f"{mean:.4f} at {budget}" for mean, budget in zip(means, BUDGETS, strict=True))
        print(
            f"{name:32s} epochs until good: {medians[name]:.0f} ({low:.0f} to {high:.0f}){lost}; regret {after}; "
            f"n={len(spent)}, {time.monotonic() - started:.0f} s",
            flush=True,
        )
    result = {
        "epochs_random_over_ours": medians["random, full length"] / medians["ours"],
        "epochs_ray_over_ours": min(medians[f"{RAY} {grace}"] for grace in table.rungs[:-1]) / medians["ours"],
        **{f"kendall_{mode}": table.kendall(mode, table.rungs[0])[0] for mode in MODES},
        "replays": arguments.replays,
    }
    print(json.dumps({key: round(value, 3) if math.isfinite(value) else None for key, value in result.items()}))


if __name__ == "__main__":
    main()
