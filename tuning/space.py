"""A search space: what is fixed, what is searched, and how. `tuning.space_file` reads it from YAML."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from data.errors import UserError
from data.splits import TrainingData
from reid_train.config import TrainConfig, check_training, make_config
from reid_train.settings_file import SettingsFile
from tuning.climb import Mode, schedules
from tuning.wording import counted


INCREASING = "should be epochs in increasing order, e.g. [4, 8], or auto"

SamplerName = Literal["tpe", "gp", "cmaes", "random", "qmc", "nsga2"]


class StudySettings(BaseModel):
    """How to search. Frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    metric: Literal["val_mAP", "val_rank1", "val_rank5", "val_mINP"] = "val_mAP"
    """What is maximised, at the end of a complete schedule."""
    trials: int = Field(30, ge=1, le=100_000)
    """Configurations to try."""
    time_budget: float | None = Field(None, gt=0)
    """Seconds for the search, or with a unit: 90s, 45m, 2h, 1d. Nothing begins that would not end within it."""
    rungs: tuple[int, ...] | Literal["auto"] | None = None
    """Epochs after which trials are compared, e.g. [4, 12]; auto: chosen up to num_epochs so that the search fits
    its budget; null: num_epochs alone."""
    promotion: Mode = "continue"
    """The way to the next rung: a longer schedule from scratch; another one from the weights of the last; or the
    middle of a single long schedule."""
    reduction: int = Field(4, ge=2, le=100)
    """At a rung's end the best 1 in `reduction` go on to the next."""
    audit: int = Field(8, ge=0, le=10_000)
    """Every n-th trial goes to the top whatever its scores, which shows how well the rungs rank; 0: none."""
    sampler: SamplerName = "tpe"
    """What proposes configurations, by Optuna's names."""
    sampler_seed: int = Field(0, ge=0, le=2**31 - 1)
    """Seed of the sampler that proposes configurations."""
    concurrency: int | None = Field(None, ge=1, le=10_000)
    """Trials at once; null: as many as the machine's CPUs and GPUs allow."""

    @field_validator("time_budget", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return parse_duration(value) if isinstance(value, str) else value

    @field_validator("rungs")
    @classmethod
    def _increasing(cls, value: Any) -> Any:
        if isinstance(value, tuple) and (not value or value[0] < 1 or list(value) != sorted(set(value))):
            raise ValueError(INCREASING)
        return value


def parse_duration(text: str) -> float:
    """Seconds of "90", "90s", "45m", "1.5h" or "1d". Raises UserError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if match is None or float(match[1]) == 0:
        raise UserError(f"time budget {text!r} should be a number with s, m, h or d, e.g. 45m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One searched setting: a range or choices, and the condition under which it counts."""

    name: str
    kind: Literal["float", "int", "categorical"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """Other parameters and the values of theirs with which this one is searched."""

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether this parameter counts, given the settings chosen so far."""
        return all(values.get(name) in allowed for name, allowed in self.when)

    def extremes(self) -> tuple[Any, ...]:
        """The values that a check must try: both ends of the range, or every choice."""
        if self.kind == "categorical":
            return self.choices
        return (self.low, self.high) if self.kind == "float" else (int(self.low), int(self.high))

    def contains(self, value: Any) -> bool:
        """Whether this is one of the choices, or lies in the range and on its steps."""
        if self.kind == "categorical":
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        step = self.step or (1 if self.kind == "int" else None)
        return step is None or abs((value - self.low) / step - round((value - self.low) / step)) < 1e-9

    def values(self) -> tuple[Any, ...]:
        """All values, where they can be counted; for a float range both ends."""
        if self.kind == "int" and not self.log:
            return tuple(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        return self.extremes()


@dataclass(frozen=True)
class SearchSpace:
    """A checked space."""

    name: str
    """The file's name without its ending: the study's default name."""
    fixed: dict[str, Any]
    """TrainConfig values that every trial has."""
    parameters: tuple[Parameter, ...]
    """What is searched, each after the parameters that its condition names."""
    first_trials: tuple[dict[str, Any], ...]
    """Configurations to try before the sampler proposes any; only searched settings."""
    study: StudySettings
    sample_data: dict[str, Any] | None
    """How to draw the data set when data_dir is not there: arguments of data.synthetic."""
    source: SettingsFile = field(repr=False, compare=False)
    """The file, for messages that name its lines."""
    planned: tuple[tuple[int, ...], int] | None = None
    """Rungs and reduction that were chosen for `rungs: auto`."""

    def base_config(self) -> TrainConfig:
        """The configuration with the fixed values and defaults elsewhere."""
        return self.config({})

    def rungs(self, config: TrainConfig) -> tuple[int, ...]:
        """Epochs after which a trial of `config` is compared."""
        if self.planned:
            return self.planned[0]
        return self.study.rungs if isinstance(self.study.rungs, tuple) else (config.num_epochs,)

    @property
    def reduction(self) -> int:
        """At a rung's end the best 1 in so many go on."""
        return self.planned[1] if self.planned else self.study.reduction

    def config(self, parameters: Mapping[str, Any]) -> TrainConfig:
        """The configuration of a trial with these parameter values. Trials hold out no images unless that is fixed."""
        return make_config({"holdout_images_per_identity": 0, **self.fixed, **parameters}, self.name)

    def largest(self, name: str) -> Any:
        """The largest value of a setting that a trial may have."""
        searched = [parameter.extremes() for parameter in self.parameters if parameter.name == name]
        return max(searched[0]) if searched else getattr(self.base_config(), name)

    def description(self) -> dict[str, Any]:
        """All that defines the space, as plain values: what a study compares when it is opened again.

        Where the images lie is left out: their fingerprint tells whether they are the same.
        """
        return {
            "fixed": {name: value for name, value in self.fixed.items() if name != "data_dir"},
            "search": {p.name: _plain(p) for p in self.parameters},
            "first_trials": list(self.first_trials),
            "metric": self.study.metric,
            "rungs": list(self.study.rungs) if isinstance(self.study.rungs, tuple) else self.study.rungs,
            "promotion": self.study.promotion,
            "reduction": self.study.reduction,
            "audit": self.study.audit,
            "sampler": self.study.sampler,
            "sampler_seed": self.study.sampler_seed,
        }


def _plain(parameter: Parameter) -> dict[str, Any]:
    if parameter.kind == "categorical":
        plain: dict[str, Any] = {"choices": list(parameter.choices)}
    else:
        plain = {"low": parameter.low, "high": parameter.high, "log": parameter.log, "step": parameter.step}
    if parameter.when:
        plain["when"] = {name: list(allowed) for name, allowed in parameter.when}
    return plain


def batch_combinations(space: SearchSpace) -> Iterator[dict[str, Any]]:
    """Every batch_size and images_per_identity that the space searches; one empty combination where it does not."""
    pair = {p.name: p.values() for p in space.parameters if p.name in ("batch_size", "images_per_identity")}
    for combination in itertools.product(*pair.values()):
        yield dict(zip(pair, combination, strict=True))


def check_on_data(space: SearchSpace, data: TrainingData) -> None:
    """Raises UserError when a configuration of the space cannot train on this data: P x K, or too few steps."""
    pct_start = [value for p in space.parameters if p.name == "pct_start" for value in p.extremes()[:1]]
    for combination in batch_combinations(space):
        config = space.config(combination)
        epochs = min(schedule.num_epochs for schedule in schedules(space.rungs(config), space.study.promotion))
        shortest = config.changed(num_epochs=epochs, pct_start=pct_start[0] if pct_start else config.pct_start)
        try:
            check_training(shortest, data)
        except UserError as error:
            held_out = len({sample.identity for sample in data.gallery})
            setting = str(error).split("=")[0]
            section = "search" if ("search", setting) in space.source.lines else "fixed"
            where = f"--set {setting}" if setting in space.source.assigned else space.source.at(section, setting)
            shortest_has = f"the shortest schedule has {counted(epochs, 'epoch')}"
            about = f"{shortest_has}, {held_out} identities are held out for validation"
            raise UserError(f"{where}: {error} ({about})") from None
