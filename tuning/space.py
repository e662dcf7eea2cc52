"""A search space: what is fixed, what is searched, and how. `tuning.space_file` reads it from YAML."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from data.errors import UserError
from data.splits import TrainingData
from reid_train.config import TrainConfig, check_fit, make_config
from reid_train.settings_file import SettingsFile
from tuning.climb import Mode, schedules
from tuning.wording import counted, show_value

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
    trial_timeout: float | None = Field(None, gt=0)
    """Seconds, or with a unit, after which a trial that has reported no epoch is ended; null: it is waited for."""
    state_interval: float = Field(60.0, gt=0)
    """Seconds, or with a unit, between two saves of a trial's training state, at least: what a crash can cost."""
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
    noise_seeds: int = Field(3, ge=0, le=100)
    """Runs of the default configuration before the search, at full length, that show how much seeds alone change."""
    top_k: int = Field(3, ge=0, le=100)
    """Configurations that are confirmed after the search, besides the default: the best ones; 0: none are."""
    seeds: int = Field(3, ge=1, le=100)
    """New seeds with which each of them is trained again, at full length."""
    warm_start: tuple[str, ...] = ()
    """Published recipes to try first, by their names in search_spaces/recipes."""
    sampler: SamplerName = "tpe"
    """What proposes configurations, by Optuna's names."""
    sampler_seed: int = Field(0, ge=0, le=2**31 - 1)
    """Seed of the sampler that proposes configurations."""
    concurrency: int | None = Field(None, ge=1, le=10_000)
    """Trials at once; null: as many as the machine's CPUs and GPUs allow."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("should be a number or a name, not true or false")
        return value

    @field_validator("time_budget", "trial_timeout", "state_interval", mode="before")
    @classmethod
    def _seconds(cls, value: Any, info: ValidationInfo) -> Any:
        return parse_duration(value, str(info.field_name).replace("_", " ")) if isinstance(value, str) else value

    @field_validator("rungs")
    @classmethod
    def _increasing(cls, value: Any) -> Any:
        if isinstance(value, tuple) and (not value or value[0] < 1 or list(value) != sorted(set(value))):
            raise ValueError(INCREASING)
        return value


def parse_duration(text: str, what: str = "time budget") -> float:
    """Seconds of "90", "90s", "45m", "1.5h" or "1d". Raises UserError that names `what` for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if match is None or float(match[1]) == 0:
        raise UserError(f"{what} {text!r} should be a number with s, m, h or d, e.g. 45m or 2h")
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
    alternative: bool = False
    """Whether the setting has another range under another condition."""

    @property
    def key(self) -> str:
        """The name by which Optuna knows it: ranges that differ need names that do. `setting_of` gives the setting."""
        if not self.alternative:
            return self.name
        conditions = [f"{other}={'/'.join(map(show_value, allowed))}" for other, allowed in self.when]
        return f"{self.name} if {' and '.join(conditions)}"

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

    def nearest(self, value: Any) -> tuple[Any, ...]:
        """The value that is searched and comes nearest, alone: clipped into a range; none for what is no choice."""
        if self.kind == "categorical" or isinstance(value, bool) or not isinstance(value, (int, float)):
            is_bool = isinstance(value, bool)
            return tuple(choice for choice in self.choices if choice == value and isinstance(choice, bool) == is_bool)
        near, step = min(max(value, self.low), self.high), self.step or (1 if self.kind == "int" else None)
        if step is not None:
            near = self.low + round((near - self.low) / step) * step
        return (int(near) if self.kind == "int" else float(near),)

    def values(self) -> tuple[Any, ...]:
        """All values, where they can be counted; for a float range both ends."""
        if self.kind == "int":
            return tuple(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        return self.extremes()


def setting_of(key: str) -> str:
    """The setting that a parameter's key stands for."""
    return key.split(" ")[0]


Batch = tuple[int, int | None]
BATCH = ("batch_size", "images_per_identity")
"""Settings of which not every combination can be trained."""


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
    warm_starts: tuple[dict[str, Any], ...] = ()
    """Configurations to try after the first trials: the recipes', and those of earlier studies."""
    batches: tuple[Batch, ...] = ()
    """The combinations of BATCH that can be trained, those fixed or by default first."""

    def base_config(self) -> TrainConfig:
        """The configuration with the fixed values and defaults elsewhere, and a batch that can be trained."""
        return self.config(dict(zip(BATCH, self.batches[0], strict=True)) if self.batches else {})

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What holds where a setting is not searched."""
        return {**TrainConfig().model_dump(), **self.fixed}

    def by_key(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A trial's parameter values by the keys of the parameters that count with them."""
        known = {**self.settings, **values}
        return {p.key: values[p.name] for p in self.parameters if p.name in values and p.applies(known)}

    def trainable(self, parameter: Parameter, value: Any, chosen: Mapping[str, Any]) -> Any:
        """The value, or the nearest that makes a batch that can be trained, given the values chosen so far.

        That can be had whatever is chosen for the parameters that follow, which is why a space is refused otherwise.
        """
        if parameter.name not in BATCH:
            return value
        following = self.parameters[self.parameters.index(parameter) + 1 :]
        nearest = sorted(parameter.values(), key=lambda other: _distance(value, other))
        return next(other for other in nearest if self._leads_to_batch({**chosen, parameter.name: other}, following))

    def has_batches(self) -> bool:
        """Whether a batch that can be trained is to be had whatever is chosen for the other parameters."""
        return self._leads_to_batch({}, self.parameters)

    def _leads_to_batch(self, chosen: Mapping[str, Any], following: Sequence[Parameter]) -> bool:
        known = {**self.settings, **chosen}
        for place, parameter in enumerate(following):
            if parameter.name in self._decides_batch and parameter.applies(known):
                rest = following[place + 1 :]
                ways = (self._leads_to_batch({**chosen, parameter.name: v}, rest) for v in parameter.values())
                return any(ways) if parameter.name in BATCH else all(ways)
        return (known[BATCH[0]], known[BATCH[1]]) in self._batches

    @cached_property
    def _batches(self) -> frozenset[Batch]:
        return frozenset(self.batches)

    @cached_property
    def _decides_batch(self) -> set[str]:
        """BATCH, and the settings on which it depends whether those are searched."""
        names = set(BATCH)
        for parameter in reversed(self.parameters):  # each comes after those that it depends on
            if parameter.name in names:
                names |= {other for other, _ in parameter.when}
        return names

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

    def reach(self, name: str) -> list[tuple[Any, ...]]:
        """The values that trials may have of a setting: those of its parameters, and its own where none may count."""
        own = [parameter for parameter in self.parameters if parameter.name == name]
        unsearched = [(self.settings[name],)] if all(parameter.when for parameter in own) else []
        return [*(parameter.values() for parameter in own), *unsearched]

    def largest(self, name: str) -> Any:
        """The largest value of a setting that a trial may have."""
        sizes = [[batch_size for batch_size, _ in self.batches]] if name == "batch_size" else self.reach(name)
        return max(value for values in sizes for value in values)

    def smallest(self, name: str) -> Any:
        """The smallest value of a setting that a trial may have."""
        return min(value for values in self.reach(name) for value in values)

    def description(self) -> dict[str, Any]:
        """All that defines the space, as plain values: what a study compares when it is opened again.

        Where the images lie is left out: their fingerprint tells whether they are the same.
        """
        return {
            "fixed": {name: value for name, value in self.fixed.items() if name != "data_dir"},
            "search": {
                p.name: [_plain(other) for other in self.parameters if other.name == p.name]
                if p.alternative
                else _plain(p)
                for p in self.parameters
            },
            "first_trials": list(self.first_trials),
            **({"warm_start": list(self.study.warm_start)} if self.study.warm_start else {}),
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


def _distance(value: Any, other: Any) -> float:
    """How far apart two values of a BATCH setting are; null is further from a number than any other."""
    if value == other:
        return 0.0
    return math.inf if value is None or other is None else abs(math.log(value / other))


def batch_combinations(space: SearchSpace) -> list[Batch]:
    """Every batch_size with every images_per_identity that a trial may ask for, those that hold by default first."""
    sizes, images = (
        sorted(
            {v for values in space.reach(name) for v in values},
            key=lambda value: _distance(space.settings[name], value),
        )
        for name in BATCH
    )
    return list(itertools.product(sizes, images))


def fit_to_data(space: SearchSpace, data: TrainingData) -> tuple[SearchSpace, str | None]:
    """The space with the batches that can be trained on this data, and a line about the others, if there are any.

    They need enough identities for P x K, and in the shortest schedule enough steps for a warm-up. Raises UserError
    where no batch is left.
    """
    images, identities = len(data.train), len({sample.identity for sample in data.train})
    longest = space.config(
        {**dict(zip(BATCH, space.batches[0], strict=True)), "num_epochs": space.smallest("num_epochs")}
    )
    epochs = min(schedule.num_epochs for schedule in schedules(space.rungs(longest), space.study.promotion))
    shortest = longest.changed(num_epochs=epochs, pct_start=space.smallest("pct_start"))
    fitting, problems = [], list[str]()
    for batch in space.batches:
        try:
            check_fit(shortest.changed(**dict(zip(BATCH, batch, strict=True))), images, identities)
            fitting.append(batch)
        except UserError as error:
            problems.append(str(error))
    fitted = replace(space, batches=tuple(fitting))
    searched = [name for name in BATCH if ("search", name) in space.source.lines]
    setting = problems[0].split("=")[0] if problems else searched[-1] if searched else BATCH[0]
    section = "search" if ("search", setting) in space.source.lines else "fixed"
    where = f"--set {setting}" if setting in space.source.assigned else space.source.at(section, setting)
    if not fitted.has_batches():
        held_out = len({sample.identity for sample in data.gallery})
        about = (
            f"the shortest schedule has {counted(epochs, 'epoch')}, {held_out} identities are held out for validation"
        )
        raise UserError(f"{where}: {problems[0]} ({about})")
    every = len(batch_combinations(space))
    if len(fitting) == every:
        return fitted, None
    left_out = f"{every - len(fitting)} of {every} combinations of batch_size and images_per_identity cannot be trained"
    why = f" ({problems[0]})" if problems else ""
    return fitted, f"note: {where}: {left_out}{why}; for each, the nearest that can be is"
