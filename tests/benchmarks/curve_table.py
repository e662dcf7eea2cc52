"""The recorded curves as a table to look up: what a configuration scored, by seed, mode and rung."""

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tuning.space import Parameter, SearchSpace

CURVES = Path(__file__).parent / "curves"
COLUMNS = (
    "configuration",
    "seed",
    "mode",
    "rung",
    "epoch",
    "val_mAP",
    "val_rank1",
    "loss",
    "triplet_loss",
    "accuracy",
    "active_triplets",
    "learning_rate",
    "seconds",
)
"""Columns of the CSV; `epoch` counts the epochs behind the weights, `rung` is where the schedule ends."""
MODES = ("restart", "continue", "cut")


def to_unit(parameter: Parameter, value: Any) -> float:
    """A parameter's value as a place in [0, 1]: along its range, or among its choices."""
    if parameter.kind == "categorical":
        return (parameter.choices.index(value) + 0.5) / len(parameter.choices)
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low))


def from_unit(parameter: Parameter, place: float) -> Any:
    """The value at a place in [0, 1)."""
    if parameter.kind == "categorical":
        return parameter.choices[int(place * len(parameter.choices))]
    if parameter.kind == "int":
        return int(parameter.low) + int(place * (parameter.high - parameter.low + 1))
    if parameter.log:
        return float(f"{parameter.low * (parameter.high / parameter.low) ** place:.4g}")
    return float(f"{parameter.low + place * (parameter.high - parameter.low):.4g}")


def sobol_configurations(space: SearchSpace, count: int) -> list[dict[str, Any]]:
    """The space's first trials, then `count` points of a scrambled Sobol sequence (seed 0)."""
    from scipy.stats import qmc

    points = qmc.Sobol(len(space.parameters), scramble=True, seed=0).random_base2(int(np.ceil(np.log2(count))))
    drawn = [
        {parameter.name: from_unit(parameter, place) for parameter, place in zip(space.parameters, point, strict=True)}
        for point in points[:count].tolist()
    ]
    return [*space.first_trials, *drawn]


@dataclass(frozen=True)
class Table:
    """Recorded curves of one space."""

    space: SearchSpace
    configurations: list[dict[str, Any]]
    """Parameter values, by number."""
    rows: pd.DataFrame
    """One row an epoch, with COLUMNS."""

    @classmethod
    def read(cls, space: SearchSpace) -> "Table":
        """The table recorded for this space."""
        description = json.loads((CURVES / f"{space.name}.json").read_text())
        return cls(space, description["configurations"], pd.read_csv(CURVES / f"{space.name}.csv.gz"))

    @cached_property
    def places(self) -> np.ndarray:
        """The configurations in the unit cube: configurations x parameters."""
        return np.array([[to_unit(p, values[p.name]) for p in self.space.parameters] for values in self.configurations])

    @cached_property
    def curve(self) -> dict[tuple[str, int, int], dict[tuple[int, int], float]]:
        """mAP of a run, (configuration, seed), by mode, the epochs at the schedule's end, and the epoch."""
        found: dict[tuple[str, int, int], dict[tuple[int, int], float]] = defaultdict(dict)
        columns = ["configuration", "seed", "mode", "rung", "epoch", "val_mAP"]
        for number, seed, mode, rung, epoch, score in self.rows[columns].itertuples(index=False):
            modes = [mode]
            if mode == "restart":
                modes += ["cut"] * (rung == self.rungs[-1]) + ["continue"] * (rung == self.rungs[0])
            for name in modes:
                found[name, rung, epoch][number, seed] = score
        return dict(found)

    @cached_property
    def seeds(self) -> dict[int, list[int]]:
        """The seeds that every way of training was recorded with, by configuration."""
        ends = [(mode, rung) for mode in MODES for rung in self.rungs if mode != "cut"]
        runs = set.intersection(*(set(self.curve[mode, rung, rung]) for mode, rung in ends))
        return {n: sorted(seed for number, seed in runs if number == n) for n in sorted({n for n, _ in runs})}

    @property
    def complete(self) -> list[int]:
        """The configurations that can be replayed."""
        return list(self.seeds)

    def good(self, close: float) -> set[int]:
        """The configurations whose mean score at full length is within `close` of the best."""
        final = self.scores("restart", self.rungs[-1]).mean(axis=1)[self.complete]
        return {int(number) for number in final.index[final >= final.max() - close]}

    @property
    def rungs(self) -> tuple[int, ...]:
        assert isinstance(self.space.study.rungs, tuple)
        return self.space.study.rungs

    def scores(self, mode: str, epochs: int) -> pd.DataFrame:
        """mAP after `epochs` in a mode: configurations x seeds; NaN where it diverged or was not recorded."""
        rows = self.rows
        if mode == "cut":
            rows = rows[(rows["mode"] == "restart") & (rows["rung"] == self.rungs[-1])]
        else:
            named = "restart" if epochs == self.rungs[0] else mode
            rows = rows[(rows["mode"] == named) & (rows["rung"] == epochs)]
        return rows[rows["epoch"] == epochs].pivot_table(index="configuration", columns="seed", values="val_mAP")

    def best_first(self) -> list[int]:
        """Configurations by their mean score over all seeds at full length, best first."""
        final = self.scores("restart", self.rungs[-1]).mean(axis=1)
        return [int(number) for number in final.sort_values(ascending=False).index]

    def kendall(self, mode: str, epochs: int) -> tuple[float, int]:
        """Kendall's tau between a rung's scores and the mode's final ones, over runs, and the number of runs.

        The final score of a run is that of its own seed: what a search would see.
        """
        from scipy.stats import kendalltau

        pairs = pd.concat(
            [self.scores(mode, epochs).stack(), self.scores(mode, self.rungs[-1]).stack()], axis=1, join="inner"
        )
        return float(kendalltau(pairs.iloc[:, 0], pairs.iloc[:, 1]).statistic), len(pairs)

    def describe(self) -> str:
        """How well each rung ranks, by mode."""
        lines = [f"{len(self.rows)} epochs of {self.rows['configuration'].nunique()} configurations"]
        for mode in MODES:
            for rung in self.rungs[:-1]:
                tau, runs = self.kendall(mode, rung)
                lines.append(f"{mode} at {rung} epochs: Kendall's tau with the final score {tau:.2f} (n={runs})")
        return "\n".join(lines)
