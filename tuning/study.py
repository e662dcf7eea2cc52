"""The study on disk: the one record of what a search tried and what came of it.

An Optuna study (SQLite in the study's folder), written by the driver alone. Each row is a configuration; its
intermediate values are the scores at the ends of complete schedules, under the schedule's length in epochs; every
epoch's report and the cause of every failure are attributes of the row. Tables and plots are made from it alone.
"""

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from data.errors import UserError
from reid_train.config import TrainConfig
from tuning.space import Parameter, SearchSpace

logger = logging.getLogger(__name__)

DATABASE = "study.db"
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
"""Optuna's states in the words of our tables; waiting is also a trial that was interrupted and will go on."""
REPORT = "report"


@dataclass(frozen=True)
class TrialRecord:
    """One row of the study."""

    number: int
    state: str
    """complete, pruned, failed, running or waiting."""
    cause: str
    """Why it failed or was stopped; empty for a complete trial."""
    parameters: dict[str, Any]
    """The searched settings."""
    scores: dict[int, float]
    """The metric at the end of each complete schedule, by its length in epochs."""
    reports: list[dict[str, Any]]
    """Every epoch's report, in the order of training, with `rung` (the schedule's length in epochs) first."""

    @property
    def rung(self) -> int:
        """Length of the last complete schedule, in epochs; 0 when none was completed."""
        return max(self.scores, default=0)

    @property
    def score(self) -> float | None:
        """The metric at the end of the last complete schedule."""
        return self.scores[self.rung] if self.scores else None

    @property
    def final_report(self) -> dict[str, Any] | None:
        """The report of the epoch that gave `score`."""
        return next((r for r in self.reports if r["rung"] == self.rung and r["epoch"] == self.rung), None)

    @property
    def epochs(self) -> int:
        """Epochs trained, over all schedules."""
        return len(self.reports)

    @property
    def seconds(self) -> float:
        """Time spent on training and validation."""
        return float(sum(report["seconds"] for report in self.reports))


def rank_key(trial: TrialRecord) -> tuple[bool, int, float]:
    """Orders trials by worth: complete ones count most, then longer schedules; scores count among equals."""
    complete = trial.state == "complete"
    return complete, 0 if complete else trial.rung, trial.score if trial.score is not None else -1.0


def best_first(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials that completed a schedule, best first by `rank_key`."""
    return sorted((trial for trial in trials if trial.score is not None), key=rank_key, reverse=True)


class Study:
    """Opens or creates the record in `folder`; everything that is told to it is on disk when the call returns."""

    def __init__(self, folder: str | Path, space: SearchSpace | None = None):
        """Opens the study in `folder`; with `space`, creates it when there is none.

        Raises UserError when there is no study, when the file is damaged, or when it belongs to another space.
        """
        self.folder = Path(folder)
        database = self.folder / DATABASE
        if space is None and not database.is_file():
            raise UserError(f"{self.folder}: holds no study ({DATABASE} is missing)")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.simplefilter("ignore", ExperimentalWarning)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            storage = optuna.storages.RDBStorage(f"sqlite:///{database.absolute()}")
            if space is None:
                self._optuna = optuna.load_study(storage=storage, study_name="study")
            else:
                self._optuna = optuna.create_study(
                    storage=storage, study_name="study", direction="maximize", load_if_exists=True
                )
            self._running: dict[int, optuna.Trial] = {}
            description = self._optuna.user_attrs.get("space")
            # The rows are read once, here, and kept up to date: nobody else writes them while a search runs.
            rows = self._optuna.get_trials(deepcopy=False)
            self._records = {row.number: _record(row) for row in rows if row.state != TrialState.WAITING or row.params}
            reports = [report for record in self._records.values() for report in record.reports]
            self._epochs, self._epochs_s = len(reports), float(sum(report["seconds"] for report in reports))
        except Exception as error:  # SQLAlchemy and Optuna raise many kinds for a damaged file
            raise UserError(
                f"{database}: cannot be opened as a study ({_reason(error)}); restore it or choose another --name"
            ) from error
        if space is None:
            if description is None:
                raise UserError(f"{database}: holds a study that was never begun; remove the folder")
            return
        if description is None:
            self._optuna.set_user_attr("space", space.description())
            for parameters in space.first_trials:
                self._optuna.enqueue_trial(parameters)
        elif difference := _difference(description, space.description()):
            raise UserError(
                f"{self.folder}: holds a study of another space: {difference}; choose another --name, "
                "or restore the space to go on with it"
            )
        self.space = space
        self._started = time.monotonic()
        self._elapsed_before = float(self._optuna.user_attrs.get("elapsed_s", 0.0))
        rows_there = len(self._optuna.get_trials(deepcopy=False))
        self._optuna.sampler = optuna.samplers.TPESampler(
            # A search that goes on must not propose its first points again.
            seed=space.study.sampler_seed + rows_there,
            n_startup_trials=max(4, min(10, space.study.trials // 3)),
            multivariate=True,
            group=True,
            constant_liar=True,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles what it is given, and the study's record is on disk, not in Ray's."""
        return {}

    @property
    def elapsed_s(self) -> float:
        """Seconds spent searching, over all sessions."""
        return self._elapsed_before + time.monotonic() - self._started

    @property
    def optuna_study(self) -> optuna.Study:
        """The Optuna study, for Optuna's plots; not to be written to."""
        return self._optuna

    @property
    def attributes(self) -> dict[str, Any]:
        """What is recorded of the study as a whole: its space, elapsed_s, and what `set_attribute` wrote."""
        return self._optuna.user_attrs

    def set_attribute(self, name: str, value: Any) -> None:
        """Records something of the study as a whole."""
        self._optuna.set_user_attr(name, value)

    def trials(self) -> list[TrialRecord]:
        """All rows, by number; configurations that wait to be tried for the first time are left out."""
        return [self._records[number] for number in sorted(self._records)]

    def trial(self, number: int) -> TrialRecord:
        """One row."""
        return self._records[number]

    def settle(self) -> int:
        """Makes every row that was RUNNING wait to go on from its last state; gives how many there were."""
        running = [trial for trial in self._optuna.get_trials(deepcopy=False) if trial.state == TrialState.RUNNING]
        for trial in running:
            self._optuna._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
            self._records.pop(trial.number, None)
            if trial.params:  # else it ended while it was being asked for
                self._records[trial.number] = replace(_record(trial), state="waiting")
        self._running.clear()
        self._save_elapsed()
        return len(running)

    def ask(self) -> tuple[int, TrainConfig]:
        """The number and configuration of the next trial: one that was interrupted, else a new one."""
        trial = self._optuna.ask()
        chosen: dict[str, Any] = {}
        settings = self.space.base_config().model_dump()
        for parameter in self.space.parameters:
            if parameter.applies({**settings, **chosen}):
                chosen[parameter.name] = trial._suggest(parameter.name, distribution(parameter))
        self._running[trial.number] = trial
        known = self._records.get(trial.number, TrialRecord(trial.number, "running", "", chosen, {}, []))
        self._records[trial.number] = replace(known, state="running", parameters=chosen)
        return trial.number, self.space.config(chosen)

    def started(self) -> int:
        """How many configurations were tried or are being tried; those that were interrupted count once."""
        return sum(record.state != "waiting" for record in self._records.values())

    def has_time_for(self, epochs: int, time_budget_s: float | None) -> bool:
        """Whether a schedule of this length would end within the budget, at the pace of the study so far."""
        if time_budget_s is None:
            return True
        pace_s = self._epochs_s / max(self._epochs, 1)
        return self.elapsed_s + epochs * pace_s <= time_budget_s

    def record(self, number: int, rung: int, report: Mapping[str, Any]) -> None:
        """Records an epoch's report; at the end of a schedule its score as well."""
        trial, known = self._running[number], self._records[number]
        report = {"rung": rung, **report}
        place = (rung, report["epoch"])
        trial.set_user_attr(f"{REPORT}:{rung:05d}:{report['epoch']:05d}", report)
        scores = known.scores
        if report["epoch"] == rung:
            # Not trial.report, which keeps the first value of a step: after a crash an epoch may be told again.
            scores = {**scores, rung: float(report[self.space.study.metric])}
            self._optuna._storage.set_trial_intermediate_value(trial._trial_id, rung, scores[rung])
        others = [other for other in known.reports if (other["rung"], other["epoch"]) != place]
        self._epochs += 1 + len(others) - len(known.reports)
        self._epochs_s += report["seconds"] + sum(other["seconds"] for other in others) - known.seconds
        reports = sorted([*others, report], key=lambda other: (other["rung"], other["epoch"]))
        self._records[number] = replace(known, scores=scores, reports=reports)

    def finish(self, number: int, state: str, cause: str = "") -> None:
        """Ends a trial: "complete" with its last score, "pruned", or "failed" with its cause."""
        trial = self._running.pop(number)
        if cause:
            trial.set_user_attr("cause", cause)
        if state == "complete":
            score = self._records[number].score
            assert score is not None, f"trial {number} has completed no schedule"
            self._optuna.tell(trial, score)
        else:
            self._optuna.tell(trial, state=TrialState.PRUNED if state == "pruned" else TrialState.FAIL)
        self._records[number] = replace(self._records[number], state=state, cause=cause)
        self._save_elapsed()

    def is_running(self, number: int) -> bool:
        """Whether this process runs the trial."""
        return number in self._running

    def _save_elapsed(self) -> None:
        self._optuna.set_user_attr("elapsed_s", round(self.elapsed_s, 3))


def _reason(error: Exception) -> str:
    """What SQLite said, where it did: `database or disk is full`, say."""
    return str(getattr(error, "orig", None) or type(error).__name__)


def _record(trial: FrozenTrial) -> TrialRecord:
    reports = [value for key, value in sorted(trial.user_attrs.items()) if key.startswith(f"{REPORT}:")]
    return TrialRecord(
        number=trial.number,
        state=STATES[trial.state],
        cause=trial.user_attrs.get("cause", ""),
        parameters=dict(trial.params),
        scores=dict(trial.intermediate_values),
        reports=reports,
    )


def distribution(parameter: Parameter) -> BaseDistribution:
    """The parameter as Optuna knows it."""
    if parameter.kind == "categorical":
        return CategoricalDistribution(parameter.choices)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def _difference(there: Any, here: Any, name: str = "") -> str:
    """The first thing in which two descriptions differ, in words; empty when they do not."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            if found := _difference(there.get(key), here.get(key), f"{name}.{key}" if name else str(key)):
                return found
        return ""
    return "" if there == here else f"{name} was {there!r}, is now {here!r}"
