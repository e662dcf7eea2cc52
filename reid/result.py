"""Result: a study as a program reads it. All of it is made from the record when it is asked for.

result = open_study("results/sample")
result.frame().nlargest(5, "val_mAP")
result.best.parameters, result.best.score, result.best.interval
"""

import html
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from data.system.errors import UserError
from reid_train.inference.evaluation_count import read_test_metrics
from reid_train.settings.config import TrainConfig
from tuning.decide.pareto import best_trials
from tuning.decide.ranking import repeated_scores
from tuning.record.folders import BEST, BEST_LABEL
from tuning.record.lock import process_in
from tuning.record.study import Study
from tuning.result.summary import headline, repeats_of
from tuning.result.tables import trials_table

REPORT = "report.html"
SHOWN = 10
"""Trials in a notebook's table."""


@dataclass(frozen=True)
class Best:
    """The winner of a study; while its search runs, the trial of which most is expected."""

    of: str
    """trial 7, or default."""
    parameters: dict[str, Any]
    """The searched settings."""
    score: float
    """The study's metric on validation identities: the mean over seeds that is expected of the winner, or the score of
    a trial that was not confirmed yet."""
    interval: tuple[float, float] | None
    """Where that mean lies with probability 90 %; None before the confirmation."""
    p_best: float | None
    """The probability that it is the best of those compared; None where that cannot be told."""
    model: Path | None
    """The folder of its weights, for `load_model`; None before the search's end."""


class Result:
    """A study: what was tried, and what came of it. Reading it changes nothing."""

    def __init__(self, folder: str | Path):
        """Raises UserError where the folder holds no study."""
        self.folder = Path(folder)
        self._study = Study(self.folder)

    def frame(self) -> pd.DataFrame:
        """A row a trial, with the columns of trials.csv; see `history` for a trial's epochs."""
        frame = trials_table(self._study.trials())
        if frame.empty:
            return frame
        frame["state"], frame["cause"] = frame["state"].map(str), frame["cause"].map(str)
        return frame.convert_dtypes()

    def history(self, trial: int) -> pd.DataFrame:
        """A row an epoch of a trial, with the columns of history/<trial>.csv. Raises UserError for an unknown trial."""
        return pd.DataFrame([epoch.to_record() for epoch in self._row(trial).reports])

    def config(self, trial: int) -> TrainConfig:
        """All settings of a trial. Raises UserError for an unknown trial."""
        self._row(trial)
        return self._study.config(trial)

    def _row(self, trial: int) -> Any:
        rows = {row.number: row for row in self._study.trials()}
        if trial not in rows:
            raise UserError(f"{self.folder}: has no trial {trial}; there are {len(rows)}, from 0")
        return rows[trial]

    @property
    def configurations(self) -> pd.DataFrame:
        """All settings of every trial, a row each, by the trials' numbers."""
        numbers = [trial.number for trial in self._study.trials()]
        rows = [self._study.config(number).model_dump() for number in numbers]
        return pd.DataFrame(rows, index=pd.Index(numbers, name="number"))

    @property
    def confirmation(self) -> pd.DataFrame:
        """The configurations that were trained to the end, the winner first: confirmation.csv; empty before."""
        return pd.DataFrame(self._study.facts.get("confirmation", {}).get("rows", []))

    @property
    def best(self) -> Best | None:
        """The winner, or the best trial so far; None where no trial has a score yet."""
        folder = self.folder / BEST
        rows = self._study.facts.get("confirmation", {}).get("rows", [])
        if rows:
            row = rows[0]
            parameters = {name: row[name] for name in self._study.space.searched if row[name] is not None}
            model = folder if (folder / BEST_LABEL).is_file() else None
            return Best(row["configuration"], parameters, row["mean"], (row["low"], row["high"]), row["p_best"], model)
        repeats = repeated_scores(self._study, repeats_of(self._study))
        for trial in best_trials(self._study, most=1, repeats=repeats):
            return Best(f"trial {trial.number}", dict(trial.parameters), trial.score or 0.0, None, None, None)
        return None

    @property
    def summary(self) -> str:
        """The result in a few lines, as the command prints it."""
        return "\n".join(headline(self._study))

    @property
    def test(self) -> dict[str, Any]:
        """The winner's figures on query and gallery with their 95 % intervals, and every look that was taken at these
        images; empty before."""
        return read_test_metrics(self.folder)

    @property
    def report(self) -> Path | None:
        """The page to share; None where there is none."""
        file = self.folder / REPORT
        return file if file.is_file() else None

    @property
    def running(self) -> bool:
        """Whether a process searches here now."""
        return process_in(self.folder) not in (None, str(os.getpid()))

    @cached_property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def __repr__(self) -> str:
        best = self.best
        what = "no score yet" if best is None else f"best {best.of}, {self._study.space.study.metric} {best.score:.3f}"
        return f"<study {self.folder}: {len(self._study.trials())} trials, {what}>"

    def _repr_html_(self) -> str:
        """What a notebook shows. Every text is escaped: names of files may hold anything."""
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in headline(self._study))
        shown = [trial.number for trial in best_trials(self._study, most=SHOWN)]
        table = ""
        with suppress(KeyError):
            frame = self.frame().set_index("number").loc[shown].dropna(axis="columns", how="all")
            table = frame.to_html(escape=True, max_cols=20, border=0, na_rep="")
        return f"<div><b>{html.escape(str(self.folder))}</b><ul>{lines}</ul>{table}</div>"
