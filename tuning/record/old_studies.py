"""Reads studies that were begun before 2026-11-26, whose spaces, causes and code digests have another form.

No other module knows those forms.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_train.settings.config import TrainConfig
from reid_train.settings.file import SettingsFile
from tuning.record.cause import WITHOUT_KIND, Cause, Kind
from tuning.space.parameter import Parameter
from tuning.space.read import field_kinds, with_batches
from tuning.space.settings import RETIRED, StudySettings
from tuning.space.space import A_FILE, SearchSpace, names_a_file

CODE_WITH_THE_SAME_NUMBERS = "fdc66205ba44f795834d9a5c12b792db48fe97394d370bcdf7057df0dcdfb283"
"""The digest that commit 5252212 recorded of its training code. Trials of that code compare with those of this one: a
test trains what it trained and finds its numbers."""


def cause_of_text(text: str) -> Cause | None:
    """The cause that was kept as one text, its kind first; None for an empty one."""
    if not text:
        return None
    for begin, kind in (("worker died at", Kind.WORKER_DIED), ("not among", Kind.NOT_PROMOTED)):
        if text.startswith(begin):
            return Cause(kind, text)
    name, separator, rest = text.partition(": ")
    return Cause(Kind(name), rest) if separator and name in set(Kind) - WITHOUT_KIND else Cause(Kind.ERROR, text)


def space_of_description(description: Mapping[str, Any], facts: Mapping[str, Any], folder: Path) -> SearchSpace:
    """The space, from the description that such a study kept: study settings that change no trial are not in it."""
    settings: dict[str, Any] = {
        "metrics": {description["metric"]: "max", **dict.fromkeys(description.get("costs", ()), "min")},
        **{name: description[name] for name in ("rungs", "promotion", "sampler", "sampler_seed")},
        **({"warm_start": description["warm_start"]} if "warm_start" in description else {}),
        **{name: facts[name] for name in ("trials", "pick") if name in facts},
    }
    parameters = [p for name, spec in description["search"].items() for p in _parameters(name, spec)]
    space = SearchSpace(
        name=folder.name,
        fixed=dict(description["fixed"]),
        parameters=tuple(parameters),
        first_trials=(facts["default"], *description["first_trials"][1:]),  # what the default was, in full
        study=StudySettings(**settings),
        sample_data=None,
        source=SettingsFile(str(folder), {}),
        warm_starts=tuple(facts.get("warm_starts", ())),
    )
    return with_batches(space)


def _parameters(name: str, spec: Any) -> list[Parameter]:
    several = isinstance(spec, list)
    return [_parameter(name, one, alternative=several) for one in (spec if several else [spec])]


def _parameter(name: str, spec: Mapping[str, Any], alternative: bool) -> Parameter:
    when = tuple((other, tuple(allowed)) for other, allowed in spec.get("when", {}).items())
    common: dict[str, Any] = {"name": name, "when": when, "alternative": alternative}
    if "choices" in spec:
        return Parameter(kind="categorical", choices=tuple(spec["choices"]), **common)
    numbers = {key: spec[key] for key in ("low", "high", "log", "step")}
    return Parameter(kind="float" if float in field_kinds(name) else "int", **numbers, **common)


def identity_of_description(description: Mapping[str, Any]) -> dict[str, Any]:
    """The description as SearchSpace.identity gives it: without fixed settings that have TrainConfig's own value."""
    defaults = {name: field.default for name, field in TrainConfig.model_fields.items()}
    fixed = {name: value for name, value in description["fixed"].items() if value != defaults.get(name, ...)}
    fixed |= {name: A_FILE for name in ("pretrained", "teacher") if names_a_file(fixed.get(name))}
    return {name: value for name, value in description.items() if name not in RETIRED} | {"fixed": fixed}


def ablation_of(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The ablation, which was an attribute of the study and belonged to its best trial; None where there is none."""
    rows = facts.get("ablation")
    return {"of": f"trial {rows[0]['trial']}", "rows": rows, "noise": facts.get("ablation_noise", "")} if rows else None
