"""A search space: what is fixed, what is searched, and how. Read from YAML and checked whole, before Ray starts."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from data.errors import UserError
from data.splits import TrainingData
from reid_train.config import FIELD_NAMES, TrainConfig, check_training, make_config
from reid_train.settings_file import SettingsFile, parse_assignments, read_settings, suggestion
from tuning.climb import Mode, schedules
from tuning.wording import counted

METRICS = ("val_mAP", "val_rank1", "val_rank5", "val_mINP")
"""What a study may maximise: columns of an EpochReport."""

NOT_SEARCHABLE = {
    "data_dir": "trials on different data cannot be compared",
    "dataset": "trials on different data cannot be compared",
    "split_seed": "trials on different validation splits cannot be compared",
    "validation_fraction": "trials on different validation splits cannot be compared",
    "holdout_images_per_identity": "trials on different training images cannot be compared",
}
"""The settings that a search must not vary, and why."""

SECTIONS = ("fixed", "search", "first_trials", "study", "sample_data")


INCREASING = "should be epochs in increasing order, e.g. [4, 8], or auto"
RULES = {"rungs": INCREASING, "warm_start": "should be a list of recipes, e.g. [brief, sbs]"}
"""Of study settings for which pydantic has no good words."""

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
    warm_starts: tuple[dict[str, Any], ...] = ()
    """Configurations to try after the first trials: the recipes', and those of earlier studies."""

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


def read_space(file: str | Path, assignments: list[str] | None = None, data_dir: str | None = None) -> SearchSpace:
    """Reads and checks a space file. `assignments` (name=value) and `data_dir` replace fixed values.

    A setting that is assigned is no longer searched. Raises UserError, a line for each thing wrong, with the
    file's line.
    """
    source = read_settings(file)
    for section in source.values:
        if section not in SECTIONS:
            raise UserError(f"{source.at(section)}: unknown section {section}{suggestion(section, SECTIONS)}")
    assigned = parse_assignments(assignments or [])
    for name in assigned:
        if name not in FIELD_NAMES:
            raise UserError(f"--set {name}: unknown setting {name}{suggestion(name, FIELD_NAMES)}")
    source = replace(source, assigned=frozenset(assigned))
    if data_dir is not None:
        assigned["data_dir"] = data_dir
    fixed = {**_section(source, "fixed", dict), **assigned}
    searched = {key: value for key, value in _section(source, "search", dict).items() if key not in assigned}
    study = _study_settings(source)
    parameters = _ordered(tuple(_parameter(source, key, value) for key, value in searched.items()), source)
    first_trials = tuple(
        _first_trial(source, number, trial, parameters, assigned)
        for number, trial in enumerate(_section(source, "first_trials", list))
    )
    sample_data = _section(source, "sample_data", dict) if data_dir is None and "sample_data" in source.values else None
    space = SearchSpace(Path(file).stem, fixed, parameters, first_trials, study, sample_data, source)
    _check_whole(space, source)
    return space


def _section(source: SettingsFile, name: str, kind: type) -> Any:
    value = source.values.get(name)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        shape = "`name: value` lines" if kind is dict else "a list"
        raise UserError(f"{source.at(name)}: {name} should be {shape}")
    return value


def _study_settings(source: SettingsFile) -> StudySettings:
    try:
        return StudySettings(**{str(key): value for key, value in _section(source, "study", dict).items()})
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = str(problem["loc"][0])
            rule = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
            if problem["type"] == "extra_forbidden":
                rule = f"is no study setting{suggestion(name, tuple(StudySettings.model_fields))}"
            lines.append(f"{source.at('study', name)}: study.{name} {RULES.get(name, rule)}")
        raise UserError("\n".join(dict.fromkeys(lines))) from None


def _field_kinds(name: str) -> set[type]:
    """The plain types that a TrainConfig field takes, e.g. {float, str} for margin."""

    def walk(annotation: Any) -> Iterator[type]:
        if isinstance(annotation, type):
            yield annotation
        for argument in get_args(annotation):
            if isinstance(argument, (str, int)):
                yield type(argument)
            else:
                yield from walk(argument)

    return set(walk(TrainConfig.model_fields[name].annotation)) - {NoneType}


RANGE_KEYS = ("low", "high", "log", "step", "choices", "when")


def _parameter(source: SettingsFile, name: str, spec: Any) -> Parameter:
    """One entry of `search`: a list of choices, or a mapping with low and high, or with choices."""
    where = source.at("search", name)
    if name not in FIELD_NAMES:
        raise UserError(f"{where}: unknown setting {name}{suggestion(name, FIELD_NAMES)}")
    if name in NOT_SEARCHABLE:
        raise UserError(f"{where}: {name} cannot be searched: {NOT_SEARCHABLE[name]}; set it under fixed")
    if isinstance(spec, list):
        spec = {"choices": spec}
    if not isinstance(spec, dict):
        raise UserError(
            f"{where}: {name} should be a list of choices or {{low: A, high: B}}; to fix it, move it to fixed"
        )
    for key in spec:
        if key not in RANGE_KEYS:
            raise UserError(
                f"{source.at('search', name, key)}: unknown key {key} of {name}{suggestion(key, RANGE_KEYS)}"
            )
    when = _condition(source, name, spec.get("when"))
    if "choices" in spec:
        choices = spec["choices"]
        if (
            not isinstance(choices, list)
            or len(choices) < 1
            or len({repr(choice) for choice in choices}) < len(choices)
        ):
            raise UserError(f"{where}: choices of {name} should be a list of different values")
        return Parameter(name=name, kind="categorical", choices=tuple(choices), when=when)
    return _range(where, name, spec, when)


def _range(where: str, name: str, spec: dict[str, Any], when: Any) -> Parameter:
    low, high, log, step = spec.get("low"), spec.get("high"), spec.get("log", False), spec.get("step")
    kinds = _field_kinds(name)
    if bool in kinds or not kinds & {int, float}:
        raise UserError(f"{where}: {name} takes names, not numbers: give choices")
    for key, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UserError(f"{where}: {name} needs a number for {key}, or choices")
    assert isinstance(low, (int, float)) and isinstance(high, (int, float))
    if not isinstance(log, bool):
        raise UserError(f"{where}: log of {name} should be true or false")
    if low >= high:
        raise UserError(f"{where}: {name} has low={low} and high={high}: low must be below high")
    if log and low <= 0:
        raise UserError(f"{where}: {name} is searched on a log scale from low={low}: low must be above 0")
    if step is not None and (isinstance(step, bool) or not isinstance(step, (int, float)) or step <= 0 or log):
        raise UserError(f"{where}: step of {name} should be a number above 0, without log")
    integral = float not in kinds
    if integral and any(value is not None and value != int(value) for value in (low, high, step)):
        raise UserError(f"{where}: {name} takes whole numbers")
    if step is not None and step > high - low:
        raise UserError(f"{where}: step={step} of {name} is larger than its range from {low} to {high}")
    if step is not None:
        high = low + int((high - low) / step + 1e-9) * step
    return Parameter(name=name, kind="int" if integral else "float", low=low, high=high, log=log, step=step, when=when)


def _condition(source: SettingsFile, name: str, when: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    if when is None:
        return ()
    where = source.at("search", name, "when")
    if not isinstance(when, dict) or not when:
        raise UserError(f"{where}: when of {name} should be {{other setting: value or list of values}}")
    condition = []
    for other, values in when.items():
        if other not in FIELD_NAMES:
            raise UserError(f"{where}: {name} depends on unknown setting {other}{suggestion(str(other), FIELD_NAMES)}")
        condition.append((str(other), tuple(values if isinstance(values, list) else [values])))
    return tuple(condition)


def _ordered(parameters: tuple[Parameter, ...], source: SettingsFile) -> tuple[Parameter, ...]:
    """The parameters, each after those that its condition names."""
    waiting, ordered = list(parameters), list[Parameter]()
    searched = {parameter.name for parameter in parameters}
    while waiting:
        known = {parameter.name for parameter in ordered}
        ready = [p for p in waiting if all(n in known or n not in searched for n, _ in p.when)]
        if not ready:
            names = ", ".join(parameter.name for parameter in waiting)
            raise UserError(f"{source.at('search')}: the conditions of {names} wait for each other")
        ordered += ready
        waiting = [parameter for parameter in waiting if parameter not in ready]
    return tuple(ordered)


def _first_trial(
    source: SettingsFile, number: int, trial: Any, parameters: tuple[Parameter, ...], assigned: Mapping[str, Any]
) -> dict[str, Any]:
    where = source.at("first_trials", number)
    if not isinstance(trial, dict):
        raise UserError(f"{where}: a first trial should be {{name: value, ...}}")
    known = {parameter.name: parameter for parameter in parameters}
    kept = {}
    for name, value in trial.items():
        if name in assigned:
            continue
        if name not in known:
            names = tuple(known)
            raise UserError(f"{where}: {name} of a first trial is not searched{suggestion(str(name), names)}")
        if not known[name].contains(value):
            raise UserError(f"{where}: {name}={value!r} of a first trial lies outside its range")
        kept[name] = value
    return kept


def _check_whole(space: SearchSpace, source: SettingsFile) -> None:
    """Every end of every range, and every P x K, makes a valid TrainConfig."""
    for name in space.fixed:
        if name not in FIELD_NAMES:
            raise UserError(f"{source.at('fixed', name)}: unknown setting {name}{suggestion(name, FIELD_NAMES)}")
    searched = {parameter.name: parameter for parameter in space.parameters}
    for name in searched:
        if name in space.fixed:
            raise UserError(f"{source.at('search', name)}: {name} is searched and also fixed; remove one of them")
    if space.study.rungs == "auto" and "num_epochs" in searched:
        raise UserError(f"{source.at('search', 'num_epochs')}: rungs: auto needs one num_epochs; move it to fixed")
    if isinstance(space.study.rungs, tuple) and "num_epochs" in {*searched, *space.fixed}:
        section = "search" if "num_epochs" in searched else "fixed"
        where = "--set num_epochs" if "num_epochs" in source.assigned else source.at(section, "num_epochs")
        raise UserError(f"{where}: study.rungs sets the epochs; remove num_epochs or rungs")
    batches = list(batch_combinations(space))
    for combination in batches:
        make_config({**space.fixed, **combination}, _under(source, "fixed", *list(combination)[:1]))
    for parameter in space.parameters:
        if parameter.name not in batches[0]:
            for value in parameter.extremes():
                values = {**space.fixed, **batches[0], parameter.name: value}
                make_config(values, _under(source, "search", parameter.name))
    for parameter in space.parameters:
        _check_condition(space, parameter, searched, source)
    if not space.parameters:
        raise UserError(f"{source.where}: nothing to search; list settings under search, or use reid_train.train")


def _check_condition(
    space: SearchSpace, parameter: Parameter, searched: Mapping[str, Parameter], source: SettingsFile
) -> None:
    """Every value that a condition names can occur."""
    settings = space.base_config().model_dump()
    for other, allowed in parameter.when:
        for value in allowed:
            possible = searched[other].contains(value) if other in searched else settings[other] == value
            if not possible:
                now = "is not among what is searched" if other in searched else f"is {settings[other]!r} in every trial"
                where = source.at("search", parameter.name, "when")
                raise UserError(f"{where}: {parameter.name} waits for {other}={value!r}, but {other} {now}")


def _under(source: SettingsFile, section: str, name: str | None = None) -> SettingsFile:
    """The lines of one section's settings, for messages about a TrainConfig made from them.

    A message about no single setting gets the line where `name` is searched.
    """
    lines = {key[1:]: line for key, line in source.lines.items() if key[0] == section}
    if ("search", name) in source.lines:
        lines[()] = source.lines["search", str(name)]
    return SettingsFile(source.where, {}, lines, source.assigned)


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
