"""Reads a search space from YAML and checks it whole, before Ray starts.

space = read_space("search_spaces/veri.yaml", ["margin=0.3"], data_dir="data/VeRi")
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import ValidationError

from data.system.errors import UserError, suggestion
from reid_train.settings.config import FIELD_NAMES, TrainConfig, make_config
from reid_train.settings.file import SettingsFile, parse_assignments, read_settings
from reid_train.settings.kinds import SECTIONS
from tuning.space.batches import batch_combinations, has_batches
from tuning.space.given import GivenSettings
from tuning.space.parameter import Parameter
from tuning.space.settings import INCREASING, RETIRED, StudySettings
from tuning.space.space import BATCH, SearchSpace

NOT_SEARCHABLE = {
    "data_dir": "trials on different data cannot be compared",
    "dataset": "trials on different data cannot be compared",
    "name_pattern": "trials on different data cannot be compared",
    "outside_images": "trials on different data cannot be compared",
    "max_left_out": "trials on different data cannot be compared",
    "on_bad_image": "trials on different data cannot be compared",
    "split_seed": "trials on different validation splits cannot be compared",
    "validation_fraction": "trials on different validation splits cannot be compared",
    "holdout_images_per_identity": "trials on different training images cannot be compared",
}
"""The settings that a search must not vary, and why."""

STUDY_NAMES = tuple(StudySettings.model_fields)
RULES = {"rungs": INCREASING, "warm_start": "should be a list of recipes, e.g. [brief, sbs]"}
"""Rules in our own words, for study settings whose rules pydantic words badly."""


def read_space(file: str | Path, assignments: list[str] | None = None, data_dir: str | None = None) -> SearchSpace:
    """Reads and checks a space file: `space_of` its settings."""
    return space_of(read_settings(file), Path(file).stem, assignments, data_dir)


def space_of(
    source: SettingsFile, name: str, assignments: list[str] | None = None, data_dir: str | None = None
) -> SearchSpace:
    """The space of these settings. `assignments` (name=value) and `data_dir` replace fixed values.

    A setting that is assigned is no longer searched. Raises UserError, a line for each thing wrong, with the
    file's line or the option.
    """
    for section in source.values:
        if section not in SECTIONS:
            raise UserError(f"{source.at(section)}: {_no_section(section)}")
    assigned = parse_assignments(assignments or [])
    for setting in assigned:
        if setting not in FIELD_NAMES:
            way_out = f"{setting} is a study setting: give --study {setting}=VALUE"
            raise UserError(f"--set {setting}: {way_out if setting in STUDY_NAMES else unknown_setting(setting)}")
    source = replace(source, assigned=frozenset(assigned))
    if data_dir is not None:
        assigned["data_dir"] = data_dir
    fixed = {**_section(source, "fixed", dict), **assigned}
    searched = {key: value for key, value in _section(source, "search", dict).items() if key not in assigned}
    study = _study_settings(source)
    found = (parameter for key, value in searched.items() for parameter in _parameters(source, key, value, assigned))
    parameters = _ordered(tuple(found), source)
    first_trials = tuple(
        _first_trial(source, number, trial, parameters, assigned)
        for number, trial in enumerate(_section(source, "first_trials", list))
    )
    sample_data = _section(source, "sample_data", dict) if data_dir is None and "sample_data" in source.values else None
    space = SearchSpace(name, fixed, parameters, first_trials, study, sample_data, source)
    return _checked(space, source)


def unknown_setting(name: str) -> str:
    """What is wrong with a name that is no training setting."""
    if name in STUDY_NAMES:
        return f"{name} is a study setting: it belongs under study"
    return f"unknown setting {name}{suggestion(name, FIELD_NAMES)}"


def _no_section(name: str) -> str:
    """What is wrong with a name that is no section."""
    if name in STUDY_NAMES:
        return f"{name} is a study setting: it belongs under study"
    if name not in FIELD_NAMES:
        return f"unknown section {name}{suggestion(name, SECTIONS)}"
    return (
        f"{name} is a training setting, and this is no space: to search around the settings of one training, give "
        "--config FILE --search NAME=RANGE"
    )


def _section(source: SettingsFile, name: str, kind: type) -> Any:
    value = source.values.get(name)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        shape = "`name: value` lines" if kind is dict else "a list"
        raise UserError(f"{source.at(name)}: {name} should be {shape}")
    return {str(key): of_key for key, of_key in value.items()} if isinstance(value, dict) else value


def _study_settings(source: SettingsFile) -> StudySettings:
    try:
        return StudySettings(**_section(source, "study", dict))
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = str(problem["loc"][0])
            rule = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
            if problem["type"] == "extra_forbidden":
                near = "; it is a training setting: it belongs under fixed or search"
                rule = f"is no study setting{near if name in FIELD_NAMES else suggestion(name, STUDY_NAMES)}"
            rule = f"is a setting no more: {RETIRED[name]}; remove it" if name in RETIRED else rule
            lines.append(f"{source.at('study', name)}: study.{name} {RULES.get(name, rule)}")
        raise UserError("\n".join(dict.fromkeys(lines))) from None


def field_kinds(name: str) -> set[type]:
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


def _parameters(source: SettingsFile, name: str, spec: Any, assigned: Mapping[str, Any]) -> list[Parameter]:
    """One entry of `search`: a range or choices, or a list of them under conditions that exclude each other.

    A range is left out where the command line rules its condition out.
    """
    place = ("search", name)
    if name not in FIELD_NAMES:
        raise UserError(f"{source.at(*place)}: {unknown_setting(name)}")
    if name in NOT_SEARCHABLE:
        reason = NOT_SEARCHABLE[name]
        raise UserError(f"{source.at(*place)}: {name} cannot be searched: {reason}; set it under fixed")
    if not (isinstance(spec, list) and spec and all(isinstance(one, dict) for one in spec)):
        return [_parameter(source, place, spec)]
    found = [_parameter(source, (*place, number), one) for number, one in enumerate(spec)]
    for (_, one), (number, other) in itertools.combinations(enumerate(found), 2):
        theirs = dict(other.when)
        if not any(
            set(map(repr, allowed)).isdisjoint(map(repr, theirs.get(key, allowed))) for key, allowed in one.when
        ):
            raise UserError(
                f"{source.at(*place, number)}: two ranges of {name} may count at once; give each a `when` that rules "
                "the other out"
            )
    ruled_out = [any(assigned.get(key, allowed[0]) not in allowed for key, allowed in one.when) for one in found]
    left = [one for one, out in zip(found, ruled_out, strict=True) if not out]
    return [replace(one, alternative=len(left) > 1) for one in left]


def _parameter(source: SettingsFile, place: tuple[str | int, ...], spec: Any) -> Parameter:
    """A list of choices, or a mapping with low and high, or with choices."""
    where, name = source.at(*place), str(place[1])
    if isinstance(spec, list):
        spec = {"choices": spec}
    if not isinstance(spec, dict):
        raise UserError(
            f"{where}: {name} should be a list of choices or {{low: A, high: B}}; to fix it, move it to fixed"
        )
    for key in spec:
        if key not in RANGE_KEYS:
            raise UserError(f"{source.at(*place, key)}: unknown key {key} of {name}{suggestion(key, RANGE_KEYS)}")
    when = _condition(source, place, spec.get("when"))
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
    kinds = field_kinds(name)
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


def _condition(
    source: SettingsFile, place: tuple[str | int, ...], when: Any
) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    if when is None:
        return ()
    where, name = source.at(*place, "when"), place[1]
    if not isinstance(when, dict) or not when:
        raise UserError(f"{where}: when of {name} should be {{other setting: value or list of values}}")
    condition = []
    for other, values in when.items():
        if other not in FIELD_NAMES:
            raise UserError(f"{where}: {name} depends on unknown setting {other}{suggestion(other, FIELD_NAMES)}")
        condition.append((str(other), tuple(values if isinstance(values, list) else [values])))
    return tuple(condition)


def _ordered(parameters: tuple[Parameter, ...], source: SettingsFile) -> tuple[Parameter, ...]:
    """The parameters, each after those that its condition names."""
    waiting, ordered = list(parameters), list[Parameter]()
    while waiting:
        unknown = {parameter.name for parameter in waiting}
        ready = [p for p in waiting if all(name not in unknown for name, _ in p.when)]
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
    kept = {}
    for name, value in trial.items():
        own = [parameter for parameter in parameters if parameter.name == name]
        conditions = [condition for parameter in own for condition in parameter.when]
        if name in assigned or any(
            key in assigned and trial.get(key, assigned[key]) != assigned[key] for key, _ in conditions
        ):
            continue  # the command line has set this, or what it depends on, to something else
        if not own:
            names = tuple(parameter.name for parameter in parameters)
            raise UserError(f"{where}: {name} of a first trial is not searched{suggestion(name, names)}")
        counting = [one for one in own if all(trial.get(key, allowed[0]) in allowed for key, allowed in one.when)]
        if not any(parameter.contains(value) for parameter in counting or own):
            given = isinstance(source, GivenSettings) and ("first_trials", number) in source.options
            way_out = f"; the winner is compared with it: search it, too (--search {name}=...)" if given else ""
            raise UserError(f"{where}: {name}={value!r} of a first trial lies outside its range{way_out}")
        kept[name] = value
    return kept


def _checked(space: SearchSpace, source: SettingsFile) -> SearchSpace:
    """The space with its batches. Raises UserError where an end of a range, or a choice, makes no valid TrainConfig."""
    for name in space.fixed:
        if name not in FIELD_NAMES:
            raise UserError(f"{source.at('fixed', name)}: {unknown_setting(name)}")
    searched = {parameter.name for parameter in space.parameters}
    for name in searched:
        if name in space.fixed:
            raise UserError(f"{source.at('search', name)}: {name} is searched and also fixed; remove one of them")
    if isinstance(space.study.rungs, tuple) and "num_epochs" in {*searched, *space.fixed}:
        section = "search" if "num_epochs" in searched else "fixed"
        where = "--set num_epochs" if "num_epochs" in source.assigned else source.at(section, "num_epochs")
        raise UserError(f"{where}: study.rungs sets the epochs; remove num_epochs or rungs")
    # Without P x K first: which values of the two go together is found below.
    alone = {**space.fixed, "images_per_identity": None}
    if "batch_size" in searched:
        alone.pop("batch_size", None)
    make_config(alone, _under(source, "fixed"))
    for parameter in space.parameters:
        _check_condition(space, parameter, source)
    for parameter in space.parameters:
        for value in parameter.extremes():
            values = {**alone, **_first_met(parameter, space), parameter.name: value}
            if parameter.name == "images_per_identity" and isinstance(value, int):
                values["batch_size"] = 2 * max(value, 1)
            make_config(values, _under(source, "search", parameter.name))
            if parameter.name in BATCH and not isinstance(value, int | None):
                raise UserError(f"{source.at('search', parameter.name)}: {parameter.name} takes whole numbers")
    space = with_batches(space)
    if not space.parameters:
        raise UserError(f"{source.where}: nothing to search; list settings under search")
    return space


def with_batches(space: SearchSpace) -> SearchSpace:
    """The space with the pairs of BATCH that make a valid TrainConfig.

    Raises UserError where there is none, or where a first trial asks for another pair.
    """
    source, batches, problems = space.source, [], list[str]()
    searched = next((name for name in BATCH if any(p.name == name for p in space.parameters)), None)
    for batch in batch_combinations(space):
        try:
            make_config({**space.fixed, **dict(zip(BATCH, batch, strict=True))}, _under(source, "fixed", searched))
            batches.append(batch)
        except UserError as error:
            problems.append(str(error))
    space = replace(space, batches=tuple(batches))
    if not has_batches(space):
        raise UserError(problems[0])
    for number, trial in enumerate(space.first_trials):
        if set(BATCH) <= trial.keys() and (trial[BATCH[0]], trial[BATCH[1]]) not in batches:
            make_config({**space.fixed, **trial}, f"{source.at('first_trials', number)}")
    return space


def _first_met(parameter: Parameter, space: SearchSpace) -> dict[str, Any]:
    """Values with which the parameter applies: the first that its condition names, and likewise for those settings."""
    met = {name: allowed[0] for name, allowed in parameter.when}
    for other in space.parameters:
        if other.name in met and other.contains(met[other.name]):
            met = {**_first_met(other, space), **met}
    return met


def _check_condition(space: SearchSpace, parameter: Parameter, source: SettingsFile) -> None:
    """Raises UserError for a condition that names a value which cannot occur."""
    for other, allowed in parameter.when:
        own = [one for one in space.parameters if one.name == other]
        for value in allowed:
            possible = any(one.contains(value) for one in own) if own else space.settings[other] == value
            if not possible:
                now = "is not among what is searched" if own else f"is {space.settings[other]!r} in every trial"
                where = source.at("search", parameter.name, "when")
                raise UserError(f"{where}: {parameter.name} waits for {other}={value!r}, but {other} {now}")


def _under(source: SettingsFile, section: str, name: str | None = None) -> SettingsFile:
    """The lines of one section's settings, for messages about a TrainConfig made from them.

    A message about no single setting gets the line where `name` is searched.
    """
    lines = {key[1:]: line for key, line in source.lines.items() if key[0] == section}
    if ("search", name) in source.lines:
        lines[()] = source.lines["search", str(name)]
    if not isinstance(source, GivenSettings):
        return SettingsFile(source.where, {}, lines, source.assigned)
    options = {key[1:]: option for key, option in source.options.items() if key[0] == section}
    if ("search", name) in source.options:
        options[()] = source.options["search", str(name)]
    return GivenSettings(source.where, {}, lines, source.assigned, options)
