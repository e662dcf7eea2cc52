"""The study on disk: the one record of what a search tried and what came of it.

An Optuna study: SQLite in the study's folder, written by one driver alone, or in a PostgreSQL server that several
drivers share (tuning/record/drivers.py), of which the folder then holds a copy (tuning/record/place.py). Each row is a
configuration (tuning/record/trial.py); its intermediate values are the scores at the ends of complete schedules, under
the schedule's length in epochs; every epoch's report and the cause of every failure are attributes of the row. Tables
and plots are made from it alone.
"""

import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState, create_trial

from data.system.errors import UserError
from data.system.passwords import without_passwords
from reid_train.config import TrainConfig
from reid_train.evaluation_count import DATABASE
from tuning.record.place import check_place, open_storage, write_copy
from tuning.record.sqlite_file import check_database
from tuning.record.storage import Storage
from tuning.record.trial import DECISION, DRIVER, REPORT, Decision, TrialRecord, distribution, record_of
from tuning.space.space import SearchSpace

if TYPE_CHECKING:
    from tuning.record.drivers import Team

logger = logging.getLogger(__name__)


class Study:
    """Opens or creates the record in `folder`; everything that is told to it is on disk when the call returns."""

    storage: Storage | None = None
    """Where its trials keep their states; None for its folder."""

    def __init__(
        self,
        folder: str | Path,
        space: SearchSpace | None = None,
        *,
        name: str = "study",
        in_memory: bool = False,
        server: tuple[str, str] | None = None,
    ):
        """Opens the study in `folder`; with `space`, creates it when there is none.

        `name` tells the records in the file apart: the search's, "study", and its "repeats". `in_memory` leaves
        nothing on disk: for searches that are only simulated. `server` is a PostgreSQL server's URL, and the name of
        this driver among those that share the study there. Raises UserError when there is no study, when the file is
        damaged, or when it belongs to another space.
        """
        self.folder = Path(folder)
        database = self.folder / DATABASE
        if space is None and not database.is_file():
            raise UserError(f"{self.folder}: holds no study ({DATABASE} is missing)")
        if not in_memory and server is None:
            check_database(database)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.simplefilter("ignore", ExperimentalWarning)
        self._server = None if server is None else server[0]
        self._team: Team | None = None
        if server is not None:
            from tuning.record import (
                drivers as team,  # loads SQLAlchemy, which is loaded beside Ray's start without a server
            )

            name = f"{self.folder.name}/{name}"
            self._team = team.Team(server[0], name, server[1])
        try:
            self._open(name, space, in_memory)
        except BaseException:
            self.leave()
            raise

    def _open(self, name: str, space: SearchSpace | None, in_memory: bool) -> None:
        """The part of __init__ that may find something wrong."""
        try:
            self._storage: optuna.storages.BaseStorage = (
                optuna.storages.InMemoryStorage()
                if in_memory
                else open_storage(self.folder, create=space is not None, team=self._team)
            )
            if space is None:
                self._optuna = optuna.load_study(storage=self._storage, study_name=name)
            else:
                self._optuna = optuna.create_study(
                    storage=self._storage, study_name=name, direction="maximize", load_if_exists=True
                )
            # The rows are read once, here, and kept up to date: nobody else writes them while a search runs, or
            # tells so (tuning/record/drivers.py).
            if self._team is not None:
                self._team.changes()
            self._read_all()
            description = self._optuna.user_attrs.get("space")
        except Exception as error:  # SQLAlchemy and Optuna raise many kinds for a damaged file
            database = self.folder / DATABASE
            where = database if self._server is None else f"--study-storage {without_passwords(self._server)}"
            raise UserError(
                f"{where}: cannot be opened as a study ({_reason(error)}); restore it or choose another --name"
            ) from error
        if space is None:
            if description is None:
                raise UserError(f"{self.folder / DATABASE}: holds a study that was never begun; remove the folder")
            return
        if description is None:
            self._optuna.set_user_attr("warm_starts", list(space.warm_starts))
            self._optuna.set_user_attr("default", space.default())
            self._optuna.set_user_attr("space", space.description())
        elif difference := _difference(_without_defaults(description), _without_defaults(space.description())):
            raise UserError(
                f"{self.folder}: holds a study of another space: {difference}; restore that, "
                "choose another --name, or remove the folder"
            )
        # Those that it began with, whatever has become of the studies that they came from.
        self.space = replace(space, warm_starts=tuple(self._optuna.user_attrs.get("warm_starts", ())))
        check_place(self.folder, self._optuna, self._server)
        self._started = time.monotonic()
        self._elapsed_before = float(self._optuna.user_attrs.get("elapsed_s", 0.0))

    def _read_all(self) -> None:
        rows = self._optuna.get_trials(deepcopy=False)
        self._records = {row.number: record_of(row) for row in rows}
        self._row_ids = {row.number: row._trial_id for row in rows if not row.state.is_finished()}
        self._count_epochs()

    def _count_epochs(self) -> None:
        reports = [report for record in self._records.values() for report in record.reports]
        self._epochs, self._epochs_s = len(reports), float(sum(report["seconds"] for report in reports))

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """What is done meanwhile is done by no other driver of the study, with what they did before in view."""
        if self._team is None:
            yield
            return
        with self._team.exclusive() as first:
            if first:
                self._refresh()
            yield

    def _refresh(self) -> None:
        """Reads again what others changed, and makes what a silent driver left running wait."""
        assert self._team is not None
        changed = self._team.changes()
        for number in changed:
            self._read_again(number)
        owners = {record.driver for record in self._records.values() if record.state == "running"}
        if owners - {self._team.driver} and (silent := owners & self._team.silent()):
            self._read_all()  # it may have died between a change and its note
            for number in self.in_state("running"):
                if self._records[number].driver in silent:
                    logger.warning("trial %d: its driver fell silent; it waits to go on here", number)
                    self.interrupt(number)
        elif changed:
            self._count_epochs()

    def _read_again(self, number: int) -> None:
        assert isinstance(self._storage, optuna.storages.RDBStorage)
        row_id = self._storage.get_trial_id_from_study_id_trial_number(self._optuna._study_id, number)
        row = self._storage.get_trial(row_id)
        self._records[number] = record_of(row)
        self._row_ids[number] = row_id
        if row.state.is_finished():
            del self._row_ids[number]

    def _changing(self, number: int) -> None:
        """To be called before a change of a row that other drivers decide by."""
        if self._team is not None:
            self._team.note(number)

    def write_copy(self) -> None:
        """Writes the server's study into the folder, for the commands that read it; nothing without a server."""
        if self._server is not None:
            write_copy(self.folder, self._storage)

    def leave(self) -> None:
        """Gives the other drivers no more signs of life."""
        if self._team is not None:
            self._team.leave()

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
        """All rows, by number."""
        return [self._records[number] for number in sorted(self._records)]

    def trial(self, number: int) -> TrialRecord:
        """One row."""
        return self._records[number]

    def settle(self) -> int:
        """Makes every row that was running here wait to go on from its last state; gives how many there were."""
        with self.exclusive():
            running = self.running_here()
            for number in running:
                self.interrupt(number)
        self.save_elapsed()
        return len(running)

    def interrupt(self, number: int) -> None:
        """Makes a row that was running wait to go on from its last state."""
        self._changing(number)
        self._storage.set_trial_state_values(self._row_ids[number], TrialState.WAITING)
        self._records[number] = replace(self._records[number], state="waiting")

    def add(
        self, parameters: dict[str, Any], notes: dict[str, Any] | None = None, costs: dict[str, float] | None = None
    ) -> int:
        """A new row with this configuration, running; `notes` are for the sampler. Gives its number."""
        known, params = {p.key: distribution(p) for p in self.space.parameters}, self.space.by_key(parameters)
        row = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={key: known[key] for key in params},
            system_attrs=notes,
            user_attrs=({"costs": costs} if costs else {}) | ({DRIVER: self._driver} if self._driver else {}),
        )
        row_id = self._storage.create_new_trial(self._optuna._study_id, template_trial=row)
        number = self._storage.get_trial_number_from_id(row_id)
        self._row_ids[number] = row_id
        self._changing(number)
        self._records[number] = TrialRecord(
            number, "running", "", parameters, {}, [], notes=notes or {}, costs=costs or {}, driver=self._driver
        )
        return number

    def go_on(self, number: int) -> None:
        """A row that waits or pauses runs again; a paused one is promoted by that."""
        record = self._records[number]
        if record.state == "paused":
            self.decide(number, record.rung, "promoted")
        self._changing(number)
        if self._driver:
            self._storage.set_trial_user_attr(self._row_ids[number], DRIVER, self._driver)
        self._storage.set_trial_state_values(self._row_ids[number], TrialState.RUNNING)
        self._records[number] = replace(self._records[number], state="running", driver=self._driver)

    def config(self, number: int) -> TrainConfig:
        """The configuration of a row."""
        return self.space.config(self._records[number].parameters)

    def in_state(self, state: str) -> list[int]:
        """The numbers of the rows in one of TrialRecord's states, in their order."""
        return [number for number, record in sorted(self._records.items()) if record.state == state]

    @property
    def epoch_s(self) -> float:
        """Mean seconds of an epoch so far; 0 before the first."""
        return self._epochs_s / max(self._epochs, 1)

    def record(self, number: int, rung: int, report: Mapping[str, Any]) -> None:
        """Records an epoch's report; at the end of a rung its score as well."""
        row_id, known = self._row_ids[number], self._records[number]
        report = {"rung": rung, **report}
        place = (rung, report["epoch"])
        self._storage.set_trial_user_attr(row_id, f"{REPORT}:{rung:05d}:{report['epoch']:05d}", report)
        scores = known.scores
        if report["epoch"] == rung:
            self._changing(number)
            # After a crash an epoch may be told again: the storage replaces its value.
            scores = {**scores, rung: float(report[self.space.study.metric])}
            self._storage.set_trial_intermediate_value(row_id, rung, scores[rung])
        others = [other for other in known.reports if (other["rung"], other["epoch"]) != place]
        self._epochs += 1 + len(others) - len(known.reports)
        self._epochs_s += report["seconds"] + sum(other["seconds"] for other in others) - known.seconds
        reports = sorted([*others, report], key=lambda other: (other["rung"], other["epoch"]))
        self._records[number] = replace(known, scores=scores, reports=reports)

    def decide(self, number: int, rung: int, decision: Decision) -> None:
        """Records what was decided at the end of a rung; "paused" makes the row wait."""
        row_id, known = self._row_ids[number], self._records[number]
        self._changing(number)
        self._storage.set_trial_user_attr(row_id, f"{DECISION}:{rung:05d}", decision)
        self._records[number] = replace(known, decisions={**known.decisions, rung: decision})
        if decision == "paused":
            self._storage.set_trial_state_values(row_id, TrialState.WAITING)
            self._records[number] = replace(self._records[number], state="paused")
            self.save_elapsed()

    def finish(self, number: int, state: str, cause: str = "") -> None:
        """Ends a trial: "complete" with its last score, "pruned", or "failed" with its cause."""
        self._changing(number)
        row_id = self._row_ids.pop(number)
        if cause:
            self._storage.set_trial_user_attr(row_id, "cause", cause)
        values = None
        if state == "complete":
            score = self._records[number].score
            assert score is not None, f"trial {number} has reached the end of no rung"
            values = [score]
        ended = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[state]
        self._storage.set_trial_state_values(row_id, ended, values)
        self._records[number] = replace(self._records[number], state=state, cause=cause)
        self.save_elapsed()

    def is_running(self, number: int) -> bool:
        """Whether the trial runs, and here: it may have been taken over by another driver."""
        record = self._records[number]
        return record.state == "running" and record.driver == self._driver

    def running_here(self) -> list[int]:
        """The numbers of the rows that this driver runs, or left running when it was killed."""
        return [number for number in sorted(self._records) if self.is_running(number)]

    @property
    def shared(self) -> bool:
        """Whether other drivers may take part: the study is in a server."""
        return self._team is not None

    @property
    def _driver(self) -> str:
        return "" if self._team is None else self._team.driver

    def share_clock(self, other: "Study") -> None:
        """Counts the time as the other record of the same study does."""
        self._started, self._elapsed_before = other._started, other._elapsed_before

    def save_elapsed(self) -> None:
        """Records the time spent so far."""
        self._optuna.set_user_attr("elapsed_s", round(self.elapsed_s, 3))


def _reason(error: Exception) -> str:
    """What SQLite said, where it did: `database or disk is full`, say."""
    return str(getattr(error, "orig", None) or type(error).__name__)


def _without_defaults(description: dict[str, Any]) -> dict[str, Any]:
    """A space's description without settings that it fixes at what they are anyway."""
    defaults = {name: field.default for name, field in TrainConfig.model_fields.items()}
    fixed = {name: value for name, value in description["fixed"].items() if value != defaults.get(name, ...)}
    return {**description, "fixed": fixed}


def _difference(there: Any, here: Any, name: str = "") -> str:
    """The first thing in which two descriptions differ, in words; empty when they do not."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            if found := _difference(there.get(key), here.get(key), f"{name}.{key}" if name else str(key)):
                return found
        return ""
    return "" if there == here else f"{name} was {there!r}, is now {here!r}"
