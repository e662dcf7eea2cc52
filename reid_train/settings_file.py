"""Reads YAML settings so that every message about them can name the file and the line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from data.errors import UserError

Path_ = tuple[str | int, ...]


YAML_ERRORS = (yaml.YAMLError, RecursionError, ValueError)
"""What PyYAML raises on text that is no YAML: the last two for deep nesting and dates that do not exist."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-3 as a number, as people mean it (YAML 1.1 wants 1.0e-3)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


@dataclass(frozen=True)
class SettingsFile:
    """The values of a YAML file, and the line of each."""

    where: str
    """The file's name, or what else stands for it in messages."""
    values: dict[str, Any]
    lines: dict[Path_, int] = field(default_factory=dict)
    """Line, from 1, of each key; a key's path is the tuple of keys that leads to it, () all of it."""

    assigned: frozenset[str] = frozenset()
    """Keys whose values came from the command line instead."""

    def at(self, *path: str | int) -> str:
        """`file:line` of a key, or of the nearest key above it that has a line; `--set key` of an assigned one."""
        if path and path[0] in self.assigned:
            return f"--set {path[0]}"
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return f"{self.where}:{self.lines[path[:end]]}"
        return self.where


def read_settings(file: str | Path) -> SettingsFile:
    """Reads a YAML mapping. Raises UserError with file and line for what is no YAML, no mapping or a key twice."""
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise UserError(f"{path}: cannot be read: {reason}") from error
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return SettingsFile(str(path), {})
            if not isinstance(node, yaml.MappingNode):
                raise UserError(f"{path}:{node.start_mark.line + 1}: expected `name: value` lines")
            lines: dict[Path_, int] = {}
            _collect_lines(node, (), lines, str(path))
            values = loader.construct_document(node)
        finally:
            loader.dispose()
    except YAML_ERRORS as error:
        if isinstance(error, UserError):
            raise
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{path}{line}: not valid YAML: {reason}") from error
    return SettingsFile(str(path), {str(key): value for key, value in values.items()}, lines)


def _collect_lines(node: yaml.Node, path: Path_, lines: dict[Path_, int], where: str) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = (*path, str(key_node.value))
            if key in lines:
                raise UserError(
                    f"{where}:{key_node.start_mark.line + 1}: {key[-1]} is set twice, first on line {lines[key]}"
                )
            lines[key] = key_node.start_mark.line + 1
            _collect_lines(value_node, key, lines, where)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[(*path, number)] = item.start_mark.line + 1
            _collect_lines(item, (*path, number), lines, where)


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """`["batch_size=64", "margin=soft"]` as a dictionary; values are read as YAML. Raises UserError."""
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not name.strip():
            raise UserError(f"--set {assignment!r}: expected name=value")
        if name.strip() in values:
            raise UserError(f"--set {assignment!r}: {name.strip()} is set twice; give one value")
        try:
            values[name.strip()] = yaml.load(text, Loader=_Loader)
        except YAML_ERRORS as error:
            raise UserError(f"--set {assignment[:80]!r}: its value is not valid YAML") from error
    return values


def suggestion(name: str, known: Sequence[str]) -> str:
    """`; did you mean X?` for the nearest known name, or what there is when nothing is near."""
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
