"""What a search hands over for a budget: every method is given the same number of full-length runs to spend.

    python -m tests.benchmarks.equal_budget [--table FILE] [--replays 200] [--jobs 8] [--keep results/pedestrians.jsonl]

The task is tests/benchmarks/truth.py's: a continuous response that recorded curves support, another for each replay; or
with --recorded the curves as they are. Everything that a method trains is counted, at the recorded pace: what measures
noise, what confirms, what was given up. A run begins only if the budget is expected to hold it. Each method is told its
budget and begins anew for each. It hands over one configuration; its regret is how far the truth's mean after one
full-length schedule lies below the best. A method that hands over nothing is given the regret of the default, which its
user had before. The rows "our choice" have what this project's model would have chosen of the same runs.

Set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1: threads that wait for each other cost many times what they compute.

Each search is a line of --keep's file as soon as it has ended: the same command goes on where it was killed. The lines
are those of one version of the code; name another file for another. The last line printed is the figures as JSON.
"""

import argparse
import itertools
import json
import logging
import multiprocessing
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data.system.errors import UserError, exit_on_user_error
from tests.benchmarks.budget_report import OURS, Outcome, Search, Stated, describe, figures, read_outcomes
from tests.benchmarks.curve_table import CURVES
from tests.benchmarks.former_default import Halving
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.our_search import Ours, our_choice, proposal_cpu_s
from tests.benchmarks.recorded_world import Recorded
from tests.benchmarks.rivals import FullLength, RayAsha, ShortFirst
from tests.benchmarks.simulation import Method, World, simulate
from tests.benchmarks.smac_rival import Smac
from tests.benchmarks.truth import Kind, Task, describe_gates
from tuning.space.read import read_space

BUDGETS = (4, 6, 10, 14, 20, 30, 40, 60)
"""In full lengths."""
KINDS: dict[str, Kind] = {"gp": "gp", "trees": "trees"}
RECORDED = "recorded"
TRIALS_TIMED = (100, 290, 300)
"""From 300 trials on TPE proposes."""


def methods(task: Task, budget: float, seed: int, workers: int) -> dict[str, Callable[[], Method]]:
    """By name; each made anew for a replay."""
    from optuna.samplers import GPSampler, RandomSampler, TPESampler

    low, middle, _ = task.table.rungs
    restart = partial(Halving, sampler="random", promotion="restart", reduction=3, audit=0, confirmed=False)
    return {
        OURS: lambda: Ours(task, seed, budget),
        "random": lambda: FullLength(task, RandomSampler(seed=seed)),
        f"random at {low} epochs first": lambda: ShortFirst(task, low, 0.7, budget, seed),
        f"random at {middle} epochs first": lambda: ShortFirst(task, middle, 0.7, budget, seed),
        "halving, restart": lambda: restart(task, seed),
        "Optuna TPE": lambda: FullLength(task, TPESampler(seed=seed)),
        "Optuna GPSampler": lambda: FullLength(task, GPSampler(seed=seed, deterministic_objective=False)),
        "Ray OptunaSearch + ASHA": lambda: RayAsha(task, seed, middle),
        "SMAC3 multi-fidelity": lambda: Smac(task, seed, budget, workers),
        "former default": lambda: Halving(task, seed),
    }


def outcome_of(search: Search, task: Task, world: World) -> Outcome:
    """Simulates it."""
    make = methods(task, search.budget, search.replay, search.workers)[search.method]
    simulated = simulate(make, world, search.budget, search.workers, search.replay)

    def regret(chosen: Mapping[str, Any] | None) -> float:
        return world.best - world.mean(task.space.first_trials[0] if chosen is None else chosen, task.top)

    chosen = simulated.method.choice()
    claims = simulated.method.claims() if isinstance(simulated.method, Ours) else []
    return Outcome(
        search,
        regret=regret(chosen),
        regret_by_model=regret(chosen if search.method == OURS else our_choice(task, simulated.parts)),
        regret_of_default=regret(None),
        nothing=chosen is None,
        spent=simulated.spent,
        parts=len(simulated.parts),
        decisions_cpu_s=simulated.decisions_cpu_s,
        used_up=simulated.used_up,
        stated=[
            Stated(claim.low, claim.high, claim.p_best, world.mean(claim.parameters, task.top), claim.handed_over)
            for claim in claims
        ],
    )


class Bench:
    """Simulates searches, and appends a line of JSON for each to a file."""

    def __init__(self, task: Task, keep: Path):
        self.task, self.keep = task, keep

    def run(self, wanted: Sequence[Search], jobs: int) -> None:
        """What the file does not have yet, in so many processes."""
        known = {outcome.search for outcome in read_outcomes(self.keep)}
        left = sorted(set(wanted) - known, key=wanted.index)
        groups = [list(group) for _, group in itertools.groupby(left, key=lambda s: (s.table, s.truth, s.replay))]
        done = 0
        counts: Iterable[int] = map(self.run_replay, groups)
        if jobs > 1:
            context = multiprocessing.get_context("fork")  # so that this is inherited, and never pickled
            pool = context.Pool(jobs, _PROCESS.append, (self,))
            counts = pool.imap_unordered(_run, groups)
            pool.close()
        for count in counts:
            done += count
            print(f"{done} of {len(left)} searches", file=sys.stderr, flush=True)
        if jobs > 1:
            pool.join()

    def run_replay(self, searches: Sequence[Search]) -> int:
        """Searches in one draw; gives their number."""
        truth, replay = searches[0].truth, searches[0].replay
        draw = None if truth == RECORDED else self.task.draw(KINDS[truth], replay)
        for search in searches:
            outcome = outcome_of(search, self.task, draw or Recorded(self.task, replay))
            with self.keep.open("a") as file:
                file.write(outcome.to_line())
        return len(searches)


_PROCESS: list[Bench] = []
"""What a process of the pool runs searches with."""


def _run(searches: Sequence[Search]) -> int:
    return _PROCESS[0].run_replay(searches)


def chosen_methods(task: Task, names: Sequence[str] | None) -> list[str]:
    """The names given, or all; raises UserError for a wrong one."""
    known = list(methods(task, 1, 0, 1))
    for name in names or ():
        if name not in known:
            raise UserError(f"--methods {name!r}: there are {', '.join(map(repr, known))}")
    return list(names or known)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.equal_budget", description=__doc__.split("\n")[0])
    parser.add_argument("--table", type=Path, default=CURVES / "pedestrians.yaml", help="the space of a recorded table")
    parser.add_argument("--first-replay", type=int, default=0)
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS), help="in full lengths")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8], help="1 and 8")
    parser.add_argument("--truths", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--recorded", action="store_true", help="the recorded curves instead of truths")
    parser.add_argument("--methods", nargs="+", help="default: all")
    parser.add_argument("--gates", action="store_true", help="only says whether the truths stand for the table")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep", type=Path, help="file of a line for each search; it goes on where it ended")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parsed()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task = Task.read(read_space(arguments.table))
    if arguments.gates:
        for truth in arguments.truths:
            print(f"{task.space.name}, {truth}", *describe_gates(task.gates(KINDS[truth])), sep="\n  ", flush=True)
        return
    names = chosen_methods(task, arguments.methods)
    print(describe_machine())
    wanted = [
        Search(task.space.name, truth, replay, workers, budget, name)
        for replay in range(arguments.first_replay, arguments.first_replay + arguments.replays)
        for truth in ([RECORDED] if arguments.recorded else arguments.truths)
        for workers, budget, name in itertools.product(arguments.workers, arguments.budgets, names)
    ]
    with tempfile.TemporaryDirectory() as folder:
        keep = arguments.keep or Path(folder) / "searches.jsonl"
        Bench(task, keep).run(wanted, arguments.jobs)
        outcomes = [outcome for outcome in read_outcomes(keep) if outcome.search in set(wanted)]
    for line in describe(outcomes):
        print(line)
    found = figures(outcomes)
    if OURS in names:
        for trials in TRIALS_TIMED:
            found[f"proposal_cpu_s_{trials}"] = round(proposal_cpu_s(task, trials), 3)
            print(f"a proposal after {trials} trials: {found[f'proposal_cpu_s_{trials}']:.2f} s of CPU")
    print(json.dumps({**found, "replays": arguments.replays}))


if __name__ == "__main__":
    main()
