"""A space that the command line gives, wholly or in part: --config with --search, --study, --sampler.

given = given_settings(None, "mine.yaml", ["learning_rate=1e-4..1e-2:log", "margin=0.1,0.3,soft"], ["stop=auto"])
space = space_of(given, "mine")  # tuning/space/read.py; messages name the options
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from data.system.errors import UserError, suggestion
from reid_train.settings.file import Path_, SettingsFile, parse_assignments, read_settings
from reid_train.settings.kinds import check_no_space

RANGE = re.compile(r"(?P<low>[^:,]+)\.\.(?P<high>[^:,]+)(?P<marks>(?::[^:,]+)*)")
"""1e-4..1e-2:log, or 0..12:step=3."""
MARKS = {"log": "log: true", "step": "step: "}


@dataclass(frozen=True)
class GivenSettings(SettingsFile):
    """The values of a YAML file together with those of options."""

    options: Mapping[Path_, str] = field(default_factory=dict)
    """The option that gives a key, by which messages name it: `--search margin`."""

    def at(self, *path: str | int) -> str:
        """As a SettingsFile's; the option, where one gives the key."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.options:
                return self.options[path[:end]]
        return super().at(*path)

    def as_yaml(self) -> str:
        """The space as a file would have it."""
        return yaml.safe_dump(self.values, sort_keys=False, default_flow_style=None, width=120)


def given_settings(
    space: str | None,
    config: str | None,
    searched: Sequence[str] = (),
    study: Sequence[str] = (),
    sampler: str | None = None,
) -> SettingsFile:
    """The settings of a space's file, or of the training in `config`, with what --search (`searched`), --study and
    --sampler give. Raises UserError.

    What a training has for a searched setting becomes the first trial, with which the winner is compared.
    """
    source = read_settings(str(space)) if config is None else _of_training(config)
    ranges, of_study = _parsed("--search", [_as_yaml(one) for one in searched]), _parsed("--study", study)
    options: dict[Path_, str] = {("search", name): f"--search {name}" for name in ranges}
    options |= {("study", name): f"--study {name}" for name in of_study}
    if sampler is not None:
        of_study["sampler"], options["study", "sampler"] = sampler, "--sampler"
    if not options:
        return source
    values, fixed = dict(source.values), source.values.get("fixed") or {}
    if ranges and isinstance(fixed, dict):
        values["fixed"] = {name: value for name, value in fixed.items() if name not in ranges}
        if config is not None and (default := {name: fixed[name] for name in ranges if name in fixed}):
            values["first_trials"] = [default]
            options["first_trials", 0] = f"--config {config}"
    for section, added in (("search", ranges), ("study", of_study)):
        there = values.get(section) or {}
        if added and isinstance(there, dict):  # reading the space tells what is none
            values[section] = {**there, **added}
    lines = {**source.lines, **dict.fromkeys(options, 0)}
    return GivenSettings(source.where, values, lines, source.assigned, options)


def _of_training(config: str) -> SettingsFile:
    """The settings of a training as a space's fixed ones."""
    source = read_settings(config)
    check_no_space(source)
    lines = {("fixed", *path): line for path, line in source.lines.items()}
    return SettingsFile(source.where, {"fixed": source.values}, lines)


def _parsed(option: str, assignments: Sequence[str]) -> dict[str, Any]:
    """`name=value` of an option, with values read as YAML. Raises UserError that names the option."""
    try:
        return parse_assignments(assignments)
    except UserError as error:
        raise UserError(str(error).replace("--set ", f"{option} ", 1)) from None


def _as_yaml(assignment: str) -> str:
    """`name=1..5:log` and `name=a,b` as name=YAML; lists and mappings are YAML as they are."""
    name, separator, text = assignment.partition("=")
    text = text.strip()
    if not separator or text.startswith(("[", "{")):
        return assignment
    if found := RANGE.fullmatch(text):
        marks = [mark for mark in found["marks"].split(":") if mark]
        keys = ["low: " + found["low"], "high: " + found["high"], *(_mark(name, mark) for mark in marks)]
        return f"{name}={{{', '.join(keys)}}}"
    if "," not in text:
        raise UserError(
            f"--search {assignment}: give a range LOW..HIGH or LOW..HIGH:log, or choices A,B,...; one value is --set "
            f"{assignment}"
        )
    return f"{name}=[{text}]"


def _mark(name: str, mark: str) -> str:
    kind, _, value = mark.partition("=")
    if kind not in MARKS or (kind == "step") != bool(value):
        way_out = suggestion(kind, list(MARKS)) if kind not in MARKS else "; write :log, or :step=NUMBER"
        raise UserError(
            f"--search {name}: unknown mark :{mark} of a range{way_out or '; there are :log and :step=NUMBER'}"
        )
    return MARKS[kind] + value
