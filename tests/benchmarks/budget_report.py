"""What searches at equal budget came to: their outcomes, as lines of a file and as tables."""

import contextlib
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# R replays

OURS = "ours"
RANDOM = "random"
BY_MODEL = ", our choice"
SURE = 0.9
"""A stated P(best) from which a configuration is called the best."""
RESAMPLES = 2000


class Search(NamedTuple):
    """One search to simulate."""

    table: str
    truth: str
    replay: int
    workers: int
    budget: int
    """Full lengths."""
    method: str


class Stated(NamedTuple):
    """What our search says of a configuration that it trained at full length, and what is true."""

    low: float
    high: float
    """The 90 % interval of its mean over seeds."""
    p_best: float
    mean: float
    """The true one."""
    handed_over: bool

    @property
    def holds(self) -> bool:
        """Whether the interval does."""
        return self.low <= self.mean <= self.high


@dataclass(frozen=True)
class Outcome:
    """What came of a search."""

    search: Search
    regret: float
    """mAP of what was handed over below the truth's best; the default's where nothing was."""
    regret_by_model: float
    """Likewise, of what our model would have handed over of the same runs."""
    regret_of_default: float
    nothing: bool
    """Nothing was handed over."""
    spent: float
    """Full lengths."""
    parts: int
    """Schedules, or parts of them, that were trained."""
    decisions_cpu_s: float
    used_up: bool
    """The table had nothing left before the budget was spent."""
    stated: list[Stated]

    def to_line(self) -> str:
        """As a file keeps it."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "Outcome":
        """What `to_line` gave."""
        record = json.loads(line)
        stated = [Stated(*one) for one in record.pop("stated")]
        return cls(**{**record, "search": Search(*record["search"]), "stated": stated})


def read_outcomes(file: Path) -> list[Outcome]:
    """The lines of a file; none where there is none. A line that a kill cut short is left out."""
    found = []
    for line in file.read_text().splitlines() if file.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(Outcome.from_line(line))
    return found


class Cell(NamedTuple):
    """What is compared: searches of one truth, number of workers and budget."""

    truth: str
    workers: int
    budget: int


Regrets = dict[str, np.ndarray]
"""By row, in the order of replays: a method, or a method with our choice."""


def by_cell(outcomes: Sequence[Outcome]) -> dict[Cell, dict[str, list[Outcome]]]:
    """The outcomes of each method, in the order of replays; those of replays that all methods of the cell have."""
    found: dict[Cell, dict[str, dict[int, Outcome]]] = defaultdict(lambda: defaultdict(dict))
    for outcome in outcomes:
        search = outcome.search
        found[Cell(search.truth, search.workers, search.budget)][search.method][search.replay] = outcome
    shared = {}
    for cell, methods in sorted(found.items()):
        replays = sorted(set.intersection(*(set(of_method) for of_method in methods.values())))
        if replays:
            shared[cell] = {name: [of_method[n] for n in replays] for name, of_method in methods.items()}
    return shared


def regrets_of(methods: dict[str, list[Outcome]]) -> Regrets:
    """In mAP."""
    own = {name: np.array([outcome.regret for outcome in found]) for name, found in methods.items()}
    by_model = {
        name + BY_MODEL: np.array([outcome.regret_by_model for outcome in found])
        for name, found in methods.items()
        if name != OURS
    }
    return own | by_model


def best_rival(regrets: Regrets, *, by_model: bool = False) -> str | None:
    """The row of the least mean regret beside ours, among those with their own choice or among all."""
    rivals = [name for name in regrets if name != OURS and (by_model or not name.endswith(BY_MODEL))]
    return min(rivals, key=lambda name: float(regrets[name].mean()), default=None)


def interval(values_R: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean, by bootstrap over replays."""
    rng = np.random.default_rng(0)
    means = rng.choice(values_R, (RESAMPLES, len(values_R))).mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def describe(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Lines for people; regrets in 0.001 mAP."""
    cells = by_cell(outcomes)
    for cell, methods in cells.items():
        regrets, count = regrets_of(methods), len(next(iter(methods.values())))
        yield f"\n{cell.truth}, {cell.workers} at once, {cell.budget} full lengths, {count} replays"
        for name, of_row in sorted(regrets.items(), key=lambda row: float(row[1].mean())):
            yield _row(name, of_row, methods[name.removesuffix(BY_MODEL)])
        yield from _differences(regrets)
    yield ""
    for name, budget in used_up(cells).items():
        yield f"{name}: the table is used up from {budget} full lengths on, where it counts for no ratio"
    for (truth, workers), group in itertools.groupby(cells, key=lambda cell: (cell.truth, cell.workers)):
        ours = [outcome for cell in group for outcome in cells[cell].get(OURS, ())]
        yield from _calibration(f"{truth}, {workers} at once", ours)


def used_up(cells: dict[Cell, dict[str, list[Outcome]]]) -> dict[str, int]:
    """The least budget with which a method had everything that a table has, by method."""
    found: dict[str, int] = {}
    for cell, methods in cells.items():
        for name, outcomes in methods.items():
            if any(outcome.used_up for outcome in outcomes):
                found[name] = min(found.get(name, cell.budget), cell.budget)
    return found


def _row(name: str, regrets_R: np.ndarray, found: Sequence[Outcome]) -> str:
    low, high = interval(regrets_R)
    default_R = np.array([outcome.regret_of_default for outcome in found])
    said = (
        f"  {name:40s} {1e3 * regrets_R.mean():5.1f} ({1e3 * low:.1f} to {1e3 * high:.1f}), "
        f"90th percentile {1e3 * np.quantile(regrets_R, 0.9):5.1f}, "
        f"worse than the default {np.mean(regrets_R > default_R + 1e-9):4.0%}"
    )
    if name.endswith(BY_MODEL):
        return said
    spent, cpu_s = (float(np.mean([getattr(o, what) for o in found])) for what in ("spent", "decisions_cpu_s"))
    cpu_s /= max(float(np.mean([outcome.parts for outcome in found])), 1.0)
    said += f", spent {spent:.1f}, {cpu_s:.3f} s of CPU a decision"
    for what in ("nothing", "used_up"):
        if count := sum(getattr(outcome, what) for outcome in found):
            said += f", {what.replace('_', ' ')} {count / len(found):.0%}"
    return said


def _differences(regrets: Regrets) -> Iterator[str]:
    """Between ours and others, paired."""
    if OURS not in regrets:
        return
    others = [RANDOM, best_rival(regrets), best_rival(regrets, by_model=True)]
    for name in dict.fromkeys(name for name in others if name in regrets):
        apart_R = regrets[OURS] - regrets[name]
        low, high = interval(apart_R)
        yield (
            f"  ours - {name}: {1e3 * apart_R.mean():+.1f} ({1e3 * low:+.1f} to {1e3 * high:+.1f}), "
            f"ratio {regrets[OURS].mean() / regrets[name].mean():.2f}"
        )


def _calibration(where: str, ours: Sequence[Outcome]) -> Iterator[str]:
    found = calibration(ours)
    if found:
        yield (
            f"{where}: 90 % intervals hold for {found['coverage_90']:.1%} of what was handed over and for "
            f"{found['coverage_90_all']:.1%} of all at full length ({found['stated']:.0f}); P(best) >= {SURE} was "
            f"stated in {found['sure']:.0f} searches"
            + (f" and right in {found['p_best_90_right']:.1%}" if found["sure"] else "")
        )


def calibration(ours: Sequence[Outcome]) -> dict[str, float]:
    """Whether what our searches say is true; empty where they said nothing."""
    stated = [one for outcome in ours for one in outcome.stated]
    if not stated:
        return {}
    several = [outcome for outcome in ours if len(outcome.stated) > 1]
    sure = [(one, outcome) for outcome in several for one in outcome.stated if one.p_best >= SURE]
    right = [one.mean >= max(other.mean for other in outcome.stated) for one, outcome in sure]
    return {
        "coverage_90": float(np.mean([one.holds for one in stated if one.handed_over])),
        "coverage_90_all": float(np.mean([one.holds for one in stated])),
        "stated": len(stated),
        "p_best_90_right": float(np.mean(right)) if right else float("nan"),
        "sure": len(sure),
    }


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of the last line; ratios are those of mean regrets, the worst over truths."""
    cells, ours = by_cell(outcomes), [outcome for outcome in outcomes if outcome.search.method == OURS]
    found: dict[str, Any] = {
        "ratio_to_random": ratios(cells, 1, RANDOM),
        "ratio_to_best_rival": ratios(cells, 1, None),
        "ratio_to_best_rival_by_model": ratios(cells, 1, None, by_model=True),
        "workers_8_ratio_to_random": ratios(cells, 8, RANDOM),
        "workers_8_ratio_to_best_rival": ratios(cells, 8, None),
    }
    if ours:
        worse = [outcome.regret > outcome.regret_of_default + 1e-9 for outcome in ours]
        found["worse_than_default"] = round(float(np.mean(worse)), 4)
    known = calibration(ours)
    for name in ("coverage_90", "coverage_90_all", "p_best_90_right"):
        if name in known:
            found[name] = None if np.isnan(known[name]) else round(known[name], 3)
    return found


def ratios(
    cells: dict[Cell, dict[str, list[Outcome]]], workers: int, other: str | None, *, by_model: bool = False
) -> dict[int, float]:
    """Ours over a row, or over each cell's best rival, by budget."""
    found: dict[int, float] = {}
    for cell, methods in cells.items():
        # A search that had the whole table is no measure of how to search.
        regrets = regrets_of({name: those for name, those in methods.items() if not any(o.used_up for o in those)})
        name = other or best_rival(regrets, by_model=by_model)
        if cell.workers == workers and OURS in regrets and name in regrets:
            ratio = float(regrets[OURS].mean() / regrets[name].mean())
            found[cell.budget] = round(max(found.get(cell.budget, 0.0), ratio), 3)
    return dict(sorted(found.items()))
