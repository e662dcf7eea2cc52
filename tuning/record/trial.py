"""TrialRecord: one row of the study, what was tried and what came of it, and how Optuna stores that.

trial = study.trial(7)
trial.state  # TrialState.PAUSED
trial.scores  # {12: 0.61}: the metric at the end of each rung, by its epochs
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from reid_train.measure.epoch_report import EpochReport
from tuning.record.cause import Cause, Kind
from tuning.record.old_studies import cause_of_text
from tuning.space.parameter import Parameter


class TrialState(StrEnum):
    """Where a trial stands."""

    COMPLETE = "complete"
    """It was trained to the top."""
    PRUNED = "pruned"
    """It can no longer be among those that go on."""
    FAILED = "failed"
    RUNNING = "running"
    WAITING = "waiting"
    """It was interrupted and will go on."""
    PAUSED = "paused"
    """It ended a rung and is not among the best there; it may be promoted later."""


class Decision(StrEnum):
    """What was decided about a trial at the end of a rung."""

    PROMOTED = "promoted"
    """It is among the best and goes on."""
    FAIR = "fair"
    """In studies of before 2026-11-27: it goes on regardless of its score."""
    PAUSED = "paused"


ENDED = frozenset({TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED})
OPTUNA_STATES = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.WAITING: OptunaState.WAITING,
    TrialState.PAUSED: OptunaState.WAITING,
}
"""How Optuna's storage has each state; the last decision tells a paused trial from an interrupted one."""


class TrialEpoch(NamedTuple):
    """An epoch of a trial, and the rung that its schedule leads to."""

    rung: int
    report: EpochReport

    def to_record(self) -> dict[str, Any]:
        """A row of the history table, and how the study keeps the epoch: the rung, then the report's fields."""
        return {"rung": self.rung, **self.report.to_record()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "TrialEpoch":
        """The epoch that `to_record` gave."""
        return cls(record["rung"], EpochReport.from_record({k: v for k, v in record.items() if k != "rung"}))


@dataclass(frozen=True)
class TrialRecord:
    """One row of the study."""

    number: int
    state: TrialState
    parameters: dict[str, Any]
    """The searched settings."""
    scores: dict[int, float] = field(default_factory=dict)
    """The metric at the end of each rung, by its epochs."""
    reports: list[TrialEpoch] = field(default_factory=list)
    """Every epoch, in the order of training."""
    decisions: dict[int, Decision] = field(default_factory=dict)
    """What was decided at the end of each rung but the last, by its epochs."""
    cause: Cause | None = None
    """Why it failed or was pruned."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What the sampler needs to find again; for a repeat, what it repeats."""
    driver: str = ""
    """Which of several drivers trains it, or did; empty where there is but one."""
    costs: dict[str, float] = field(default_factory=dict)
    """The metrics that are minimised."""

    @cached_property
    def rung(self) -> int:
        """The last rung whose end it reached, in epochs; 0 for none."""
        return max(self.scores, default=0)

    @cached_property
    def score(self) -> float | None:
        """The metric at the end of the last rung."""
        return self.scores[self.rung] if self.scores else None

    @property
    def final_report(self) -> EpochReport | None:
        """The report of the epoch that gave `score`."""
        return next((e.report for e in self.reports if e.rung == self.rung and e.report.epoch == self.rung), None)

    @property
    def straight(self) -> bool:
        """Whether it begins with the longest schedule, without the rungs below."""
        return bool(self.notes.get(STRAIGHT))

    @property
    def epochs(self) -> int:
        """Epochs trained, over all schedules."""
        return len(self.reports)

    @property
    def seconds(self) -> float:
        """Time spent on training and validation."""
        return float(sum(epoch.report.seconds for epoch in self.reports))


OWN_SEED, STRAIGHT = "own_seed", "straight"
"""Notes: of trials whose seed is the space's plus their number (those of before 2026-11-27 all have the space's), and
of trials that begin at the top."""
# Names of a row's attributes in Optuna's storage.
COSTS, DRIVER, CAUSE = "costs", "driver", "cause"
REPORT, DECISION = "report:", "decision:"


def report_key(epoch: TrialEpoch) -> str:
    """The attribute that holds an epoch; keys sort in the order of training."""
    return f"{REPORT}{epoch.rung:05d}:{epoch.report.epoch:05d}"


def decision_key(rung: int) -> str:
    """The attribute that holds the decision at a rung's end."""
    return f"{DECISION}{rung:05d}"


def record_of(trial: FrozenTrial, names: Mapping[str, str]) -> TrialRecord:
    """A row of Optuna's as this project reads it; `names` has the setting of each parameter's key."""
    attributes = sorted(trial.user_attrs.items())
    decisions = {int(k.removeprefix(DECISION)): Decision(v) for k, v in attributes if k.startswith(DECISION)}
    scores = dict(trial.intermediate_values)
    return TrialRecord(
        number=trial.number,
        state=_state_of(trial.state, decisions.get(max(scores, default=0))),
        parameters={names[key]: value for key, value in trial.params.items()},
        scores=scores,
        reports=[TrialEpoch.from_record(value) for key, value in attributes if key.startswith(REPORT)],
        decisions=decisions,
        cause=_cause_of(trial.user_attrs.get(CAUSE)),
        notes=dict(trial.system_attrs),
        driver=trial.user_attrs.get(DRIVER, ""),
        costs=trial.user_attrs.get(COSTS, {}),
    )


def _cause_of(record: dict[str, str] | str | None) -> Cause | None:
    if isinstance(record, str):
        return cause_of_text(record)
    return None if record is None else Cause(Kind(record["kind"]), record["text"])


def _state_of(state: OptunaState, last_decision: Decision | None) -> TrialState:
    if state == OptunaState.WAITING:
        return TrialState.PAUSED if last_decision is Decision.PAUSED else TrialState.WAITING
    return next(ours for ours, optunas in OPTUNA_STATES.items() if optunas == state)


def distribution(parameter: Parameter) -> BaseDistribution:
    """The parameter as Optuna knows it."""
    if parameter.kind == "categorical":
        return CategoricalDistribution(parameter.choices)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
