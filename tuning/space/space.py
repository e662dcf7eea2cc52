"""A search space: what is fixed, what is searched, and how.

space = read_space("search_spaces/veri.yaml")  # tuning/space/read.py
space.config({"learning_rate": 1e-3})  # the TrainConfig of a trial with these searched values
SearchSpace.from_record(space.to_record()) == space  # how a study keeps it
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from typing import Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter

from data.system.errors import UserError
from reid_train.model.settings import TIMM
from reid_train.settings.config import IMAGE_RULES, TrainConfig, make_config
from reid_train.settings.file import SettingsFile
from tuning.space.parameter import Parameter
from tuning.space.settings import RETIRED, StudySettings

A_FILE = "a file"
"""In a space's identity, the value of a setting that names weights by where they lie."""
MOST_SIZES = 16
"""Sizes of images that a space may search: the decoded images are kept at each."""
Batch = tuple[int, int | None]
BATCH = ("batch_size", "images_per_identity")
"""Two settings that must fit each other and the data; tuning/space/batches.py finds the pairs that do."""


class EarlierScore(NamedTuple):
    """A score of another study, whose configuration lies in this space."""

    parameters: dict[str, Any]
    source: str
    """The study and the rung: its scores are no scores of this study, but may go along with them."""
    score: float


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
    source: Annotated[SettingsFile, Field(exclude=True)] = field(
        default=SettingsFile("the study's space", {}), repr=False, compare=False
    )
    """The file, for messages that name its lines."""
    warm_starts: tuple[dict[str, Any], ...] = ()
    """Configurations to try after the first trials: published recipes, and the best of earlier studies."""
    earlier: tuple[EarlierScore, ...] = ()
    """Scores of earlier studies, from which the model learns."""
    batches: tuple[Batch, ...] = ()
    """The pairs of BATCH that can be trained, the one that holds by default first."""

    def to_record(self) -> dict[str, Any]:
        """Plain values that lose nothing but the lines of the file: how a study keeps its space."""
        record: dict[str, Any] = _plain().dump_python(self, mode="json")
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any], where: str) -> "SearchSpace":
        """The space of a record; `where` stands for its file in messages."""
        study = {name: value for name, value in record["study"].items() if name not in RETIRED}
        return replace(_plain().validate_python({**record, "study": study}), source=SettingsFile(where, {}))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The value of each setting where it is not searched. Trials keep out no images for the classifier's curves."""
        return {**TrainConfig().model_dump(), "holdout_images_per_identity": 0, **self.fixed}

    def config(self, parameters: Mapping[str, Any]) -> TrainConfig:
        """The configuration of a trial with these values of the searched settings."""
        given = {"holdout_images_per_identity": 0, **self.fixed, **parameters}
        return make_config(given, self.name)  # not all settings: a default that nobody has set adapts to the data

    def base_config(self) -> TrainConfig:
        """All settings at their unsearched values, with a batch that can be trained."""
        return self.config(self.searched_batch(self.batches[0]) if self.batches else {})

    def searched_batch(self, batch: Batch) -> dict[str, Any]:
        """The searched settings among a pair of BATCH."""
        return {name: value for name, value in zip(BATCH, batch, strict=True) if name in self.searched}

    @cached_property
    def default(self) -> dict[str, Any]:
        """The searched settings of the default, which results are compared with.

        That is the space's first trial; TrainConfig's value stands for what the first trial leaves open.
        """
        base = self.base_config().model_dump()
        chosen = dict(self.first_trials[0]) if self.first_trials else {}
        for parameter in self.parameters:
            if parameter.applies({**base, **chosen}):
                chosen.setdefault(parameter.name, base[parameter.name])
        return chosen

    def is_default(self, values: Mapping[str, Any]) -> bool:
        """Whether a configuration with these values of the searched settings is the default."""
        return {**self.default, **values} == self.default

    def default_config(self) -> TrainConfig:
        """All settings of the default."""
        return self.config(self.default)

    @property
    def searched(self) -> list[str]:
        """The names of the searched settings, in the space's order."""
        return list(dict.fromkeys(parameter.name for parameter in self.parameters))

    @property
    def first(self) -> tuple[dict[str, Any], ...]:
        """The configurations that are tried before the sampler proposes any: the default first, where it lies in the
        space."""
        own = () if self.first_trials or self.outside(self.default) else (self.default,)
        return (*own, *self.first_trials, *self.warm_starts)

    def outside(self, values: Mapping[str, Any]) -> list[str]:
        """The searched settings whose values lie outside of what is searched."""
        return [p.name for p in self.counting(values) if not p.contains(values[p.name])]

    @property
    def searches_length(self) -> bool:
        """Whether trials have schedules of different lengths, because num_epochs is searched."""
        return "num_epochs" in self.searched

    def counting(self, values: Mapping[str, Any]) -> list[Parameter]:
        """The parameters whose conditions hold in a configuration with these values of the searched settings."""
        known = {**self.settings, **values}
        return [parameter for parameter in self.parameters if parameter.name in values and parameter.applies(known)]

    def by_key(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values by the keys that Optuna's record has for their parameters."""
        return {parameter.key: values[parameter.name] for parameter in self.counting(values)}

    def reach(self, name: str) -> list[tuple[Any, ...]]:
        """The values that a setting may have: a tuple for each of its parameters, and one for its unsearched value
        where all of its parameters have conditions."""
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

    def deciding(self, settings: Sequence[str]) -> set[str]:
        """These settings, and all that their conditions name, directly or through other conditions."""
        names = set(settings)
        for parameter in reversed(self.parameters):  # each comes after those that it depends on
            if parameter.name in names:
                names |= {other for other, _ in parameter.when}
        return names

    def combinations(self, settings: Sequence[str], most: int, why: str) -> list[TrainConfig]:
        """A configuration for each combination of values of these settings, the default's first.

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
                    f"{where}: {parameter.name} makes more than {most} {why}; give it fewer choices, or a larger step",
                    setting=parameter.name,
                )
        configs = [self.default_config(), *map(self.config, found)]
        return list({tuple(getattr(config, name) for name in settings): config for config in configs}.values())

    def image_sizes(self) -> list[tuple[int, int]]:
        """Height and width that the images of trials may have, the default's first."""
        configs = self.combinations(("image_height", "image_width"), MOST_SIZES, "sizes of images, all kept decoded")
        return [(config.image_height, config.image_width) for config in configs]

    def identity(self) -> dict[str, Any]:
        """What a study compares, as plain values: it goes on only with a space that agrees.

        Left out are where images and weights lie and what is done about bad images (a study records what images and
        weights are: tuning/record/unchanged.py), and study settings that change no trial: numbers of trials, budgets.
        """
        fixed = {name: value for name, value in self.fixed.items() if name not in ("data_dir", *IMAGE_RULES)}
        fixed |= {name: A_FILE for name in ("pretrained", "teacher") if names_a_file(fixed.get(name))}
        return {
            "fixed": {name: value for name, value in fixed.items() if value != TrainConfig.model_fields[name].default},
            "search": {name: self._identity_of(name) for name in self.searched},
            "first_trials": list(self.first_trials),
            **({"warm_start": list(self.study.warm_start)} if self.study.warm_start else {}),
            "metric": self.study.metric,
            **({"costs": list(self.study.costs)} if self.study.costs else {}),
            "rungs": list(self.study.rungs) if isinstance(self.study.rungs, tuple) else self.study.rungs,
            "promotion": self.study.promotion,
            "sampler": self.study.sampler,
            "sampler_seed": self.study.sampler_seed,
        }

    def _identity_of(self, name: str) -> Any:
        own = [_without_unused(parameter) for parameter in self.parameters if parameter.name == name]
        return own if any(p.alternative for p in self.parameters if p.name == name) else own[0]


def names_a_file(weights: Any) -> bool:
    """Whether a value of `pretrained` or `teacher` says where weights lie."""
    return isinstance(weights, str) and weights not in ("imagenet", "none") and not weights.startswith(TIMM)


def key_of(values: Mapping[str, Any]) -> str:
    """The same for equal configurations."""
    return json.dumps(values, sort_keys=True)


@cache
def _plain() -> TypeAdapter[SearchSpace]:
    return TypeAdapter(SearchSpace)


def _without_unused(parameter: Parameter) -> dict[str, Any]:
    """What defines a parameter, without the fields that its kind does not use."""
    record = asdict(parameter)
    names = ("choices",) if parameter.kind == "categorical" else ("low", "high", "log", "step")
    condition = {"when": {name: list(allowed) for name, allowed in parameter.when}} if parameter.when else {}
    return {name: list(record[name]) if name == "choices" else record[name] for name in names} | condition
