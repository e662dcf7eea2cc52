"""The study: the one record of what a search tried and what came of it.

    study = Study(folder, space)  # opens it, or creates it
    number = study.add({"learning_rate": 1e-3})
    study.record(number, rung=12, report=report)  # on disk when the call returns

It is an Optuna study: SQLite in the study's folder, written by one driver alone, or in a PostgreSQL server that several
drivers share (tuning/record/drivers.py); then the folder holds a copy (tuning/record/place.py). A row is a trial
(tuning/record/trial.py), an attribute of the study is one of its Facts (tuning/record/facts.py). Everything else, with
tables and plots, is made from it.
"""

import json
import logging
import shlex
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, Unpack, cast

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from data.system.errors import UserError, in_one_line
from data.system.passwords import without_passwords
from reid_train.measure.epoch_report import EpochReport
from reid_train.settings.config import TrainConfig
from tuning.record.cause import Cause
from tuning.record.drivers import Team
from tuning.record.facts import Facts
from tuning.record.folders import DATABASE, check_study
from tuning.record.old_studies import identity_of_description, space_of_description
from tuning.record.place import check_place, open_storage, sqlite_url, upgrade_advice, write_copy
from tuning.record.sqlite_file import check_database, no_access
from tuning.record.storage import Storage
from tuning.record.trial import (
    CAUSE,
    COSTS,
    DRIVER,
    OPTUNA_STATES,
    OWN_SEED,
    Decision,
    TrialEpoch,
    TrialRecord,
    TrialState,
    decision_key,
    distribution,
    record_of,
    report_key,
)
from tuning.space.plan import Plan
from tuning.space.space import SearchSpace

logger = logging.getLogger(__name__)

SAVES_ELAPSED_S = 5.0
"""Seconds of searching, at most, that a kill leaves out of the study's time."""


class Doubt(NamedTuple):
    """Why a row waits whose failure may be the machine's doing."""

    cause: Cause
    beside: frozenset[int]
    """The rows that ran here then: that they train on says nothing about the machine."""


class Study:
    """One record in a study's folder or server; everything that is told to it is on disk when the call returns."""

    space: SearchSpace
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
        if space is None:
            check_study(self.folder)
        if not in_memory and server is None:
            check_database(self.folder / DATABASE)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.simplefilter("ignore", ExperimentalWarning)
        self._server = None if server is None else server[0]
        self._name = name if server is None else f"{self.folder.name}/{name}"
        self._team = None if server is None else Team(server[0], self._name, server[1])
        try:
            self._open(space, in_memory)
            self.space = self._checked_space(space)
        except BaseException:
            self.leave()
            raise
        self._names = {parameter.key: parameter.name for parameter in self.space.parameters}
        self._read_all()
        self.doubted: dict[int, Doubt] = {}
        """Rows that wait because what they failed by may be the machine's doing (tuning/run/doubts.py)."""
        self._started, self._elapsed_before = time.monotonic(), self._facts.get("elapsed_s", 0.0)
        self._saved_at = self._started

    def _open(self, space: SearchSpace | None, in_memory: bool) -> None:
        """Opens or creates the record; raises UserError that says where it cannot be."""
        try:
            self._storage: BaseStorage = (
                InMemoryStorage() if in_memory else open_storage(self.folder, create=space is not None, team=self._team)
            )
            names = {study.study_name for study in self._storage.get_all_studies()}
            if space is not None and self._name not in names:
                optuna.create_study(
                    storage=self._storage, study_name=self._name, direction="maximize", load_if_exists=True
                )
            self._id = self._storage.get_study_id_from_name(self._name)
            self._facts = cast(Facts, self._storage.get_study_user_attrs(self._id))
            self._rows()
        except UserError:
            raise
        except Exception as error:  # SQLAlchemy and Optuna raise many kinds for a damaged file
            where = self.folder / DATABASE
            shown = where if self._server is None else f"--study-storage {without_passwords(self._server)}"
            if advice := upgrade_advice(error, sqlite_url(where) if self._server is None else self._server):
                raise UserError(f"{shown}: {advice}") from error
            if self._server is None and (advice := no_access(where)):
                raise UserError(f"{shown}: {advice}") from error
            reason = getattr(error, "orig", None) or in_one_line(error)
            raise UserError(
                f"{shown}: cannot be opened as a study ({reason}); restore it or choose another --name"
            ) from error

    def _checked_space(self, space: SearchSpace | None) -> SearchSpace:
        """The study's space: `space` if given, which must agree with the record but may ask for more trials.

        A new study records its space at once. One that has begun does so in `keep_space`, when it is certain that it
        goes on. It keeps the warm starts that it began with, whatever has become of the studies they came from.
        """
        known, facts = self._recorded_space(), self._facts
        if space is None:
            if known is None:
                raise UserError(f"{self.folder / DATABASE}: holds a study that was never begun; remove the folder")
            return known
        if known is not None:
            was = known.identity() if "search_space" in facts else identity_of_description(facts["space"])
            if difference := _difference(was, space.identity()):
                raise UserError(
                    f"{self.folder}: holds a study of another space: {difference}; restore that, choose another --name "
                    f"(--warm-start {shlex.quote(str(self.folder))} takes its best along), or remove the folder"
                )
            space = replace(space, warm_starts=known.warm_starts, earlier=known.earlier)
        else:
            self.note(search_space=space.to_record())
        check_place(self.folder, self._facts.get("server"), self._server)
        if self._server is not None:
            self.note(server=without_passwords(self._server))
        return space

    def _recorded_space(self) -> SearchSpace | None:
        facts = self._facts
        if "search_space" in facts:
            return SearchSpace.from_record(facts["search_space"], str(self.folder))
        return space_of_description(facts["space"], facts, self.folder) if "space" in facts else None

    def _rows(self) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._id, deepcopy=False)

    def _read_all(self) -> None:
        """Reads all rows. While a search runs, only other drivers change them, and they tell of it."""
        if self._team is not None:
            self._team.changes()
        rows = self._rows()
        self._records = {row.number: record_of(row, self._names) for row in rows}
        self._row_ids = {row.number: self._row_id(row.number) for row in rows if not row.state.is_finished()}
        self._count_epochs()

    def _row_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def _count_epochs(self) -> None:
        epochs = [epoch for record in self._records.values() for epoch in record.reports]
        self._epochs, self._epochs_s = len(epochs), float(sum(epoch.report.seconds for epoch in epochs))

    # Several drivers

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps the study's other drivers waiting while the block runs; first reads what they changed."""
        if self._team is None:
            yield
            return
        with self._team.exclusive() as first:
            if first:
                self._refresh(self._team)
            yield

    def _refresh(self, team: Team) -> None:
        """Reads again what others changed. What a silent driver left running waits to go on."""
        changed = team.changes()
        for number in changed:
            row_id = self._row_id(number)
            row = self._storage.get_trial(row_id)
            self._keep(record_of(row, self._names))
            self._row_ids[number] = row_id
            if row.state.is_finished():
                del self._row_ids[number]
        owners = {record.driver for record in self._records.values() if record.state is TrialState.RUNNING}
        if owners - {team.driver} and (silent := owners & team.silent()):
            self._read_all()  # it may have died between a change and its note
            for number in self.in_state(TrialState.RUNNING):
                if self._records[number].driver in silent:
                    logger.warning("trial %d: its driver fell silent; it waits to go on here", number)
                    self.interrupt(number)
        elif changed:
            self._count_epochs()

    def _changing(self, number: int) -> None:
        """Tells other drivers of a change of a row; to be called before it."""
        if self._team is not None:
            self._team.note(number)

    @property
    def shared(self) -> bool:
        """Whether other drivers may take part: the study is in a server."""
        return self._team is not None

    @property
    def _driver(self) -> str:
        return "" if self._team is None else self._team.driver

    def write_copy(self) -> None:
        """Writes the server's study into the folder, for the commands that read it; nothing without a server."""
        if self._server is not None:
            write_copy(self.folder, self._storage)

    def leave(self) -> None:
        """Gives the other drivers no more signs of life."""
        if self._team is not None:
            self._team.leave()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles the callbacks that hold the study, and the record is on disk."""
        return {}

    # The study as a whole

    @property
    def facts(self) -> Facts:
        """What is recorded of the study as a whole; `note` changes it."""
        if self._team is not None:
            self._facts = cast(Facts, self._storage.get_study_user_attrs(self._id))
        return self._facts

    def note(self, **facts: Unpack[Facts]) -> None:
        """Records facts of the study as a whole, in place of earlier ones of these names."""
        kept = json.loads(json.dumps(facts))  # as it is read again
        for name, value in kept.items():
            self._storage.set_study_user_attr(self._id, name, value)
        self._facts = cast(Facts, {**self._facts, **kept})

    def keep_space(self) -> None:
        """Records the space that the study was opened with, in place of the one of an earlier command."""
        self.note(search_space=self.space.to_record())

    @property
    def plan(self) -> Plan:
        """The rungs that its trials climb: those of its space, or those that `rungs: auto` came to."""
        chosen = self._facts.get("plan")
        return Plan.of(self.space.study, None if chosen is None else tuple(chosen["rungs"]))

    @property
    def elapsed_s(self) -> float:
        """Seconds spent searching, over all sessions."""
        return self._elapsed_before + time.monotonic() - self._started

    def save_elapsed(self) -> None:
        """Records the time spent so far."""
        self._saved_at = time.monotonic()
        self.note(elapsed_s=round(self.elapsed_s, 3))

    def count_from(self, began: float) -> None:
        """Counts the time of this session from `began`, a time of time.monotonic: that of the whole command."""
        self._started = began

    def share_clock(self, other: "Study") -> None:
        """Counts the time as the other record of the same study does."""
        self._started, self._elapsed_before = other._started, other._elapsed_before

    @property
    def epoch_s(self) -> float:
        """Mean seconds of an epoch so far; 0 before the first."""
        return self._epochs_s / max(self._epochs, 1)

    # Its trials

    def trials(self) -> list[TrialRecord]:
        """All rows, by number."""
        return list(self._records.values())

    def trial(self, number: int) -> TrialRecord:
        """One row."""
        return self._records[number]

    def in_state(self, state: TrialState) -> list[int]:
        """The numbers of the rows in a state, in their order."""
        return [number for number, record in self._records.items() if record.state is state]

    def config(self, number: int) -> TrainConfig:
        """The configuration of a row, with a seed of its own."""
        record = self._records[number]
        config = self.space.config(record.parameters)
        return config.changed(seed=config.seed + number) if record.notes.get(OWN_SEED) else config

    def rungs(self, number: int) -> tuple[int, ...]:
        """The rungs that a row climbs."""
        rungs = self.plan.rungs_of(self.config(number))
        return rungs[-1:] if self._records[number].straight else rungs

    def waiting(self) -> list[int]:
        """The numbers of the rows that were interrupted and may go on now, in their order."""
        return [number for number in self.in_state(TrialState.WAITING) if number not in self.doubted]

    def is_running(self, number: int) -> bool:
        """Whether the trial runs here: another driver may have taken it over."""
        record = self._records[number]
        return record.state is TrialState.RUNNING and record.driver == self._driver

    def running_here(self) -> list[int]:
        """The numbers of the rows that this driver runs, or left running when it was killed."""
        return [number for number in self._records if self.is_running(number)]

    def add(
        self, parameters: dict[str, Any], notes: dict[str, Any] | None = None, costs: dict[str, float] | None = None
    ) -> int:
        """A new row with this configuration, running; `notes` are kept with it. Gives its number."""
        known, params = {p.key: distribution(p) for p in self.space.parameters}, self.space.by_key(parameters)
        row = create_trial(
            state=OptunaState.RUNNING,
            params=params,
            distributions={key: known[key] for key in params},
            system_attrs=notes,
            user_attrs=({COSTS: costs} if costs else {}) | ({DRIVER: self._driver} if self._driver else {}),
        )
        row_id = self._storage.create_new_trial(self._id, template_trial=row)
        number = self._storage.get_trial_number_from_id(row_id)
        self._row_ids[number] = row_id
        self._changing(number)
        state, driver = TrialState.RUNNING, self._driver
        self._keep(TrialRecord(number, state, parameters, notes=notes or {}, costs=costs or {}, driver=driver))
        return number

    def record(self, number: int, rung: int, report: EpochReport) -> None:
        """Records an epoch that leads to `rung`; at the end of the rung its score as well.

        After a crash an epoch may be told again: it replaces the earlier one.
        """
        row_id, known, epoch = self._row_ids[number], self._records[number], TrialEpoch(rung, report)
        self._storage.set_trial_user_attr(row_id, report_key(epoch), epoch.to_record())
        scores = known.scores
        if report.epoch == rung:
            self._changing(number)
            score = getattr(report, self.space.study.metric)
            self._storage.set_trial_intermediate_value(row_id, rung, score)
            scores = {**scores, rung: score}
        others = [other for other in known.reports if report_key(other) != report_key(epoch)]
        reports = sorted([*others, epoch], key=report_key)
        if len(reports) > len(known.reports):
            self._epochs, self._epochs_s = self._epochs + 1, self._epochs_s + report.seconds
        self._keep(replace(known, scores=scores, reports=reports))
        if len(reports) == len(known.reports):
            self._count_epochs()

    def decide(self, number: int, rung: int, decision: Decision) -> None:
        """Records what was decided at the end of a rung; PAUSED makes the row wait."""
        known = self._records[number]
        self._changing(number)
        self._storage.set_trial_user_attr(self._row_ids[number], decision_key(rung), decision)
        self._keep(replace(known, decisions={**known.decisions, rung: decision}))
        if decision is Decision.PAUSED:
            self._set_state(number, TrialState.PAUSED)

    def go_on(self, number: int) -> None:
        """Makes a row that waits or pauses run again. A paused one is promoted by that."""
        record = self._records[number]
        if record.state is TrialState.PAUSED:
            self.decide(number, record.rung, Decision.PROMOTED)
        self._changing(number)
        if self._driver:
            self._storage.set_trial_user_attr(self._row_ids[number], DRIVER, self._driver)
        self._keep(replace(self._records[number], driver=self._driver))
        self._set_state(number, TrialState.RUNNING)

    def interrupt(self, number: int) -> None:
        """Makes a row that was running wait to go on from its last state."""
        self._changing(number)
        self._set_state(number, TrialState.WAITING)

    def doubt(self, number: int, cause: Cause) -> None:
        """Makes a row that failed wait, in this session for the verdict on its cause."""
        self.interrupt(number)
        self.doubted[number] = Doubt(cause, frozenset(self.running_here()))

    def finish(self, number: int, state: TrialState, cause: Cause | None = None) -> None:
        """Ends a trial: COMPLETE with its last score, or PRUNED or FAILED with the cause."""
        self._changing(number)
        known = self._records[number]
        if cause is not None:
            self._storage.set_trial_user_attr(self._row_ids[number], CAUSE, asdict(cause))
        assert state is not TrialState.COMPLETE or known.score is not None, f"trial {number} ended no rung"
        self._keep(replace(known, cause=cause))
        self._set_state(number, state)
        del self._row_ids[number]

    def settle(self) -> int:
        """Makes every row that was running here wait to go on from its last state; gives how many there were."""
        with self.exclusive():
            running = self.running_here()
            for number in running:
                self.interrupt(number)
        self.save_elapsed()
        return len(running)

    def _set_state(self, number: int, state: TrialState) -> None:
        record = self._records[number]
        values = [record.score] if state is TrialState.COMPLETE and record.score is not None else None
        self._storage.set_trial_state_values(self._row_ids[number], OPTUNA_STATES[state], values)
        self._keep(replace(record, state=state))
        if time.monotonic() - self._saved_at > SAVES_ELAPSED_S:
            self.save_elapsed()

    def _keep(self, record: TrialRecord) -> None:
        """Keeps a row in memory, in the order of numbers: another driver's row may come late."""
        in_order = record.number in self._records or record.number > max(self._records, default=-1)
        self._records[record.number] = record
        if not in_order:
            self._records = dict(sorted(self._records.items()))


def _difference(there: Any, here: Any, name: str = "") -> str:
    """The first thing in which two identities of spaces differ, in words; empty when they do not."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            if found := _difference(there.get(key), here.get(key), f"{name}.{key}" if name else str(key)):
                return found
        return ""
    return "" if there == here else f"{name} was {there!r}, is now {here!r}"
