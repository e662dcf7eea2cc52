"""A search space: what is fixed, what is searched, and how. `tuning.space.read` reads it from YAML."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from data.sets.splits import TrainingData
from data.system.errors import UserError
from data.system.wording import counted, show_value
from reid_train.config import IMAGE_RULES, TrainConfig, check_fit, make_config
from reid_train.settings_file import SettingsFile
from tuning.run.climb import schedules
from tuning.space.settings import StudySettings


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


MOST_SIZES = 16
"""Sizes of images that a space may search: the decoded images are kept at each."""
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
                values = parameter.values() if parameter.name in BATCH else self._telling(parameter)
                ways = (self._leads_to_batch({**chosen, parameter.name: v}, rest) for v in values)
                return any(ways) if parameter.name in BATCH else all(ways)
        return (known[BATCH[0]], known[BATCH[1]]) in self._batches

    def _telling(self, parameter: Parameter) -> list[Any]:
        """Of a parameter's values one of each kind that conditions tell apart: there may be billions of them."""
        conditions = [allowed for p in self.parameters for name, allowed in p.when if name == parameter.name]
        named = [value for allowed in conditions for value in allowed if parameter.contains(value)]
        middle = (parameter.low + parameter.high) / 2
        all_values = {
            "categorical": parameter.choices,
            "int": range(int(parameter.low), int(parameter.high) + 1, int(parameter.step or 1)),
            "float": (parameter.low, middle, parameter.high),
        }[parameter.kind]
        other = [value for value in itertools.islice(all_values, len(named) + 1) if value not in named][:1]
        return list({tuple(value in allowed for allowed in conditions): value for value in [*named, *other]}.values())

    @cached_property
    def _batches(self) -> frozenset[Batch]:
        return frozenset(self.batches)

    @cached_property
    def _decides_batch(self) -> set[str]:
        return self.deciding(BATCH)

    def deciding(self, settings: Sequence[str]) -> set[str]:
        """These settings, and those on which it depends whether they are searched."""
        names = set(settings)
        for parameter in reversed(self.parameters):  # each comes after those that it depends on
            if parameter.name in names:
                names |= {other for other, _ in parameter.when}
        return names

    def combinations(self, settings: Sequence[str], most: int, why: str) -> list[TrainConfig]:
        """A configuration for each combination of values of these settings, those of trials and the default's.

        Raises UserError, which says `why`, where there are more than `most`.
        """
        found, deciding = [dict(zip(BATCH, self.batches[0], strict=True))], self.deciding(settings)
        for parameter in self.parameters:
            if parameter.name not in deciding:
                continue
            values = [{parameter.name: value} for value in parameter.values()]
            found = [
                {**chosen, **value}
                for chosen in found
                for value in (values if parameter.applies({**self.settings, **chosen}) else [{}])
            ]
            if len({tuple(chosen.get(name) for name in settings) for chosen in found}) > most:
                where = self.source.at("search", parameter.name)
                raise UserError(
                    f"{where}: {parameter.name} makes more than {most} {why}; give it fewer choices, or a larger step"
                )
        configs = [self.config(chosen) for chosen in [self.default(), *found]]
        return list({tuple(getattr(config, name) for name in settings): config for config in configs}.values())

    def image_sizes(self) -> list[tuple[int, int]]:
        """Height and width that the images of trials may have, those of the default first."""
        configs = self.combinations(("image_height", "image_width"), MOST_SIZES, "sizes of images, all kept decoded")
        return [(config.image_height, config.image_width) for config in configs]

    def default(self) -> dict[str, Any]:
        """The configuration to compare with: the first trial, or what TrainConfig has for the searched settings."""
        base = self.base_config().model_dump()
        chosen = dict(self.first_trials[0]) if self.first_trials else {}
        for parameter in self.parameters:
            if parameter.applies({**base, **chosen}):
                chosen.setdefault(parameter.name, base[parameter.name])
        return chosen

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

        Where the images lie, and what is done about bad ones, is left out: the fingerprint of those that are used
        tells whether they are the same.
        """
        return {
            "fixed": {n: value for n, value in self.fixed.items() if n not in ("data_dir", *IMAGE_RULES)},
            "search": {
                p.name: [_plain(other) for other in self.parameters if other.name == p.name]
                if p.alternative
                else _plain(p)
                for p in self.parameters
            },
            "first_trials": list(self.first_trials),
            **({"warm_start": list(self.study.warm_start)} if self.study.warm_start else {}),
            "metric": self.study.metric,
            **({"costs": list(self.study.costs)} if self.study.costs else {}),
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
    return fitted, f"note: {where}: {left_out}{why}; the nearest that can be is trained in its place"
