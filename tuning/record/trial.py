"""A row of the study: what was tried, what came of it, and how Optuna stores that."""

from dataclasses import dataclass, field
from typing import Any, Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from tuning.space.space import Parameter, setting_of

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
"""Optuna's states in the words of our tables; a waiting row is one that was interrupted and will go on, or pauses."""
REPORT = "report"
DECISION = "decision"
DRIVER = "driver"
Decision = Literal["promoted", "fair", "paused"]
"""At a rung's end: among the best; goes on whatever its score; waits for a promotion."""


@dataclass(frozen=True)
class TrialRecord:
    """One row of the study."""

    number: int
    state: str
    """complete, pruned, failed, running, waiting (it was interrupted) or paused (at a rung, below the best)."""
    cause: str
    """Why it failed or was stopped; empty for a complete trial."""
    parameters: dict[str, Any]
    """The searched settings."""
    scores: dict[int, float]
    """The metric at the end of each rung, by its epochs."""
    reports: list[dict[str, Any]]
    """Every epoch's report, in the order of training, with `rung` (the one that it leads to) first."""
    decisions: dict[int, Decision] = field(default_factory=dict)
    """What was decided at the end of each rung but the last."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What the sampler wants to find again."""
    driver: str = ""
    """Which of several drivers trains it, or did; empty where there is but one."""
    costs: dict[str, float] = field(default_factory=dict)
    """The metrics that are minimised."""

    @property
    def rung(self) -> int:
        """The last rung whose end it reached, in epochs; 0 for none."""
        return max(self.scores, default=0)

    @property
    def score(self) -> float | None:
        """The metric at the end of the last rung."""
        return self.scores[self.rung] if self.scores else None

    @property
    def final_report(self) -> dict[str, Any] | None:
        """The report of the epoch that gave `score`."""
        return next((r for r in self.reports if r["rung"] == self.rung and r["epoch"] == self.rung), None)

    @property
    def fair(self) -> bool:
        """Whether it came as far as it did whatever its scores."""
        return "promoted" not in self.decisions.values()

    @property
    def epochs(self) -> int:
        """Epochs trained, over all schedules."""
        return len(self.reports)

    @property
    def seconds(self) -> float:
        """Time spent on training and validation."""
        return float(sum(report["seconds"] for report in self.reports))


def record_of(trial: FrozenTrial) -> TrialRecord:
    """The row as this project reads it."""
    reports = [value for key, value in sorted(trial.user_attrs.items()) if key.startswith(f"{REPORT}:")]
    decisions = {int(k.split(":")[1]): v for k, v in sorted(trial.user_attrs.items()) if k.startswith(f"{DECISION}:")}
    scores = dict(trial.intermediate_values)
    paused = trial.state == TrialState.WAITING and decisions.get(max(scores, default=0)) == "paused"
    return TrialRecord(
        number=trial.number,
        state="paused" if paused else STATES[trial.state],
        cause=trial.user_attrs.get("cause", ""),
        parameters={setting_of(key): value for key, value in trial.params.items()},
        scores=scores,
        reports=reports,
        decisions=decisions,
        notes=dict(trial.system_attrs),
        driver=trial.user_attrs.get(DRIVER, ""),
        costs=trial.user_attrs.get("costs", {}),
    )


def distribution(parameter: Parameter) -> BaseDistribution:
    """The parameter as Optuna knows it."""
    if parameter.kind == "categorical":
        return CategoricalDistribution(parameter.choices)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
