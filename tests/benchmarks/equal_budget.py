"""What a search hands over for a budget: every method is given the same number of full-length runs to spend.

    python -m tests.benchmarks.equal_budget [--table FILE] [--replays 200] [--budgets 4 6 10 14 20 30 40 60]

The task is tests/benchmarks/truth.py's: a continuous response that recorded curves support, another for each replay.
Everything that a method trains is counted, at the recorded pace: what measures noise, what confirms, what was given up.
A run begins only if the budget is expected to hold it. Each method is told its budget and begins anew for each. It
hands over one configuration; its regret is how far the truth's mean after one full-length schedule lies below the best.
A method that hands over nothing is given the regret of the default, which its user had before.
"""

import argparse
import itertools
import json
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.system.errors import exit_on_user_error
from tests.benchmarks.curve_table import CURVES
from tests.benchmarks.our_search import Ours, our_choice
from tests.benchmarks.rivals import FullLength, RayAsha, ShortFirst
from tests.benchmarks.simulation import Method, simulate
from tests.benchmarks.truth import Kind, Task, Truth, describe_gates
from tuning.space.read import read_space

BUDGETS = (4, 6, 10, 14, 20, 30, 40, 60)
"""In full lengths."""
KINDS: tuple[Kind, ...] = ("gp", "trees")


class Outcome(NamedTuple):
    """What a method handed over."""

    regret: float
    """mAP below the truth's best."""
    worse_than_default: bool
    nothing: bool
    """No configuration was handed over, and the default's regret counts."""
    spent: float
    """Full lengths."""
    cpu_s: float
    """Of deciding."""


def outcomes_of(make: Callable[[], Method], truth: Truth, budget: float, workers: int, seed: int) -> list[Outcome]:
    """With a method's own choice, and with the model's."""
    search = simulate(make, truth, budget, workers, seed)
    task = truth.task
    default = truth.best - truth.mean(task.space.first_trials[0], task.top)
    found = []
    for chosen in (search.method.choice(), our_choice(task, search.parts)):
        regret = default if chosen is None else truth.best - truth.mean(chosen, task.top)
        worse, nothing = regret > default + 1e-9, chosen is None
        found.append(Outcome(regret, worse, nothing, search.spent, search.decisions_cpu_s))
    return found


def methods(task: Task, budget: float, seed: int) -> dict[str, Callable[[], Method]]:
    """By name; each made anew for a replay."""
    import optuna

    low, middle, _ = task.table.rungs
    return {
        "ours": lambda: Ours(task, seed, budget),
        "random": lambda: FullLength(task, optuna.samplers.RandomSampler(seed=seed)),
        f"random at {low} epochs first": lambda: ShortFirst(task, low, 0.7, budget, seed),
        f"random at {middle} epochs first": lambda: ShortFirst(task, middle, 0.7, budget, seed),
        "Optuna TPE": lambda: FullLength(task, optuna.samplers.TPESampler(seed=seed)),
        "Optuna GPSampler": lambda: FullLength(
            task, optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)
        ),
        "Ray OptunaSearch + ASHA": lambda: RayAsha(task, seed, middle),
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
    if arguments.gates:
        for kind in arguments.truths:
            print(f"{task.space.name}, {kind}", *describe_gates(task.gates(kind)), sep="\n  ", flush=True)
        return
    replays = range(arguments.first_replay, arguments.first_replay + arguments.replays)
    means: dict[tuple[str, int, str], float] = {}
    for kind, budget in itertools.product(arguments.truths, arguments.budgets):
        outcomes: dict[str, list[Outcome]] = {}
        for seed in replays:
            truth = task.draw(kind, seed)
            for name, make in methods(task, budget, seed).items():
                if not arguments.methods or name in arguments.methods:
                    own, by_model = outcomes_of(make, truth, budget, arguments.workers, seed)
                    outcomes.setdefault(name, []).append(own)
                    if name != "ours":
                        outcomes.setdefault(f"{name}, our choice", []).append(by_model)
        for name, found in outcomes.items():
            regrets = [outcome.regret for outcome in found]
            low, high = interval(regrets, np.random.default_rng(0))
            means[kind, budget, name] = float(np.mean(regrets))
            worse, nothing = (
                float(np.mean([getattr(o, what) for o in found])) for what in ("worse_than_default", "nothing")
            )
            print(
                f"{kind} {budget:3d} L  {name:40s} regret {1e3 * means[kind, budget, name]:5.1f} "
                f"({1e3 * low:.1f} to {1e3 * high:.1f}), 90th percentile {1e3 * np.quantile(regrets, 0.9):5.1f}; "
                f"worse than the default {100 * worse:.0f} %, nothing {100 * nothing:.0f} %, "
                f"spent {np.mean([o.spent for o in found]):.1f}, decided in {np.mean([o.cpu_s for o in found]):.1f} s; "
                f"n={len(found)}",
                flush=True,
            )
    ours = "ours"
    ratios = {
        budget: max(means[kind, budget, ours] / means[kind, budget, "random"] for kind in arguments.truths)
        for budget in arguments.budgets
        if all((kind, budget, name) in means for kind in arguments.truths for name in (ours, "random"))
    }
    print(json.dumps({"ratio_to_random": {k: round(v, 3) for k, v in ratios.items()}, "replays": len(replays)}))


if __name__ == "__main__":
    main()
