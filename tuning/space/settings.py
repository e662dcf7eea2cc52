"""StudySettings: how a space is searched, each setting with its unit, range and meaning, checked once, here.

StudySettings(time_budget="8h").time_budget  # 28800.0
"""

import math
import re
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from data.system.errors import UserError, suggestion
from data.system.settings import Settings
from tuning.space.schedules import Mode

INCREASING = "should be epochs in increasing order, e.g. [4, 8], or auto"
RETRIEVAL = ("val_mAP", "val_rank1", "val_rank5", "val_mINP")
"""What a search may maximise: figures of the validation at the end of a schedule, 0 to 1."""
COSTS = ("latency_ms", "parameters", "embedding_width")
"""What it may minimise as well; reid_train/inference/cost.py says what each is."""

SamplerName = Literal["model", "tpe", "gp", "cmaes", "random", "qmc", "nsga2"]
CLOSING_S = 12.0
"""What follows a search's last run, the test, tables and pictures, takes so many seconds, at least."""
MOST_TRIALS = 100_000
DEFAULT_TRIALS = 40
"""Configurations to try where no budget is given."""
RETIRED = {
    "reduction": "how many trials are promoted follows from the budget",
    "audit": "the model of the scores tells how well a rung ranks",
    "noise_seeds": "the noise is learned from all scores",
    "top_k": "which configurations are repeated follows from what the scores make believe",
    "seeds": "how often they are repeated follows from the budget",
}
"""Settings that were needed once, and why no more; the studies that have them are read without."""


class StudySettings(Settings):
    """How to search."""

    metrics: dict[str, str] = Field({"val_mAP": "max"})
    """What is maximised, one of val_mAP, val_rank1, val_rank5 and val_mINP, and what is minimised as well, any of
    latency_ms, parameters and embedding_width: {val_mAP: max, latency_ms: min}."""
    pick: Literal["knee"] | dict[str, float] = "knee"
    """Which trial of the Pareto front is picked: the knee, where the least is lost on either side, or the best score
    within limits of costs, e.g. {latency_ms: 5}."""
    time_budget: float | None = Field(None, gt=0)
    """Seconds for the whole command, or with a unit: 90s, 45m, 2h, 1d."""
    epochs: int | None = Field(None, ge=1)
    """Epochs to train in all, repeats included."""
    trials: int | None = Field(None, ge=1, le=MOST_TRIALS)
    """Configurations to try, at most. Without any budget: 40."""
    stop: Literal["auto"] | None = None
    """auto: the search ends before its budget does where going on is unlikely to gain more than half the noise."""
    trial_timeout: float | None = Field(None, gt=0)
    """Seconds, or with a unit, without a report after which a trial is ended; null: the search waits."""
    state_interval: float = Field(60.0, gt=0)
    """Seconds, or with a unit, between two saves of a trial's training state, at least: what a crash can cost."""
    rungs: tuple[int, ...] | Literal["auto"] | None = "auto"
    """Epochs after which trials are compared, e.g. [4, 12]; auto: num_epochs and a third of it, or less where the
    budget is small; null: num_epochs alone."""
    promotion: Mode = "restart"
    """The way to the next rung: restart trains a longer schedule from the starting weights, continue another one from
    the weights of the last; cut has one long schedule, and compares in its middle."""
    warm_start: tuple[str, ...] = ()
    """Published recipes to try first, by their names in search_spaces/recipes."""
    sampler: SamplerName = "model"
    """What proposes configurations: the model of tuning/decide/belief.py, or one of Optuna's, by its name there."""
    publish: Literal["tensorboard", "wandb", "mlflow"] | None = None
    """Where the search is published while it runs, as `tuning.publish` does."""
    sampler_seed: int = Field(0, ge=0, le=2**31 - 1)
    """Seed of the sampler that proposes configurations."""
    concurrency: int | None = Field(None, ge=1, le=10_000)
    """Trials at once; null: as many as the machine's CPUs and GPUs allow."""

    @property
    def most_trials(self) -> int | None:
        """Configurations to try, at most; None where another budget ends the search."""
        return DEFAULT_TRIALS if self.trials is self.epochs is self.time_budget is None else self.trials

    @property
    def metric(self) -> str:
        """What is maximised, by which trials are compared at the end of a schedule."""
        return next(name for name in self.metrics if name in RETRIEVAL)

    @property
    def costs(self) -> tuple[str, ...]:
        """What is minimised beside it."""
        return tuple(name for name in self.metrics if name in COSTS)

    @field_validator("time_budget", "trial_timeout", "state_interval", mode="before")
    @classmethod
    def _seconds(cls, value: Any, info: ValidationInfo) -> Any:
        return parse_duration(value, str(info.field_name).replace("_", " ")) if isinstance(value, str) else value

    @field_validator("metrics", mode="before")
    @classmethod
    def _one_score(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("should be a mapping, e.g. {val_mAP: max, latency_ms: min}")
        for name, direction in value.items():
            if name not in RETRIEVAL + COSTS:
                near = suggestion(str(name), RETRIEVAL + COSTS) or f"; there are {', '.join(RETRIEVAL + COSTS)}"
                raise ValueError(f"has the unknown metric {name}{near}")
            right = "max" if name in RETRIEVAL else "min"
            if direction != right:
                raise ValueError(f"should have {name}: {right}")
        if sum(name in RETRIEVAL for name in value) != 1:
            raise ValueError(f"should have exactly one of {', '.join(RETRIEVAL)}, by which trials are compared")
        return value

    @field_validator("pick", mode="before")
    @classmethod
    def _limits(cls, value: Any, info: ValidationInfo) -> Any:
        costs = [name for name in info.data.get("metrics", {}) if name in COSTS]
        if value == "knee":
            return value
        if not isinstance(value, dict) or not value:
            raise ValueError("should be knee, or limits of costs, e.g. {latency_ms: 5}")
        for name, limit in value.items():
            if name not in costs:
                raise ValueError(f"has a limit for {name}, which is not among the costs in metrics")
            if isinstance(limit, bool) or not isinstance(limit, (int, float)) or limit <= 0:
                raise ValueError(f"should have a number above 0 for {name}")
        return value

    @field_validator("sampler")
    @classmethod
    def _of_several(cls, value: SamplerName, info: ValidationInfo) -> SamplerName:
        if value == "cmaes" and len(info.data.get("metrics", {})) > 1:
            raise ValueError("cmaes knows one metric only; take tpe, gp, nsga2, random or qmc")
        return value

    @field_validator("rungs")
    @classmethod
    def _increasing(cls, value: Any) -> Any:
        if isinstance(value, tuple) and (not value or value[0] < 1 or list(value) != sorted(set(value))):
            raise ValueError(INCREASING)
        return value


def parse_duration(text: str, what: str = "time budget") -> float:
    """Seconds of "90", "90s", "45m", "1.5h" or "1d". Raises UserError that names `what` for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else 0
    if seconds in (0, math.inf):
        raise UserError(f"{what} {text[:40]!r} should be a number above 0 with s, m, h or d, e.g. 45m or 2h")
    return seconds


def show_duration(seconds: float) -> str:
    """Seconds as `parse_duration` takes them: 45s, 7.5m, 2h."""
    units = ((3600, "h"), (60, "m"), (1, "s"))
    of, unit = next((of, unit) for of, unit in units if (seconds >= of and 2 * seconds % of == 0) or of == 1)
    return f"{seconds / of:g}{unit}"
