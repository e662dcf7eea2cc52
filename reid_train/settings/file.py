"""Reads YAML settings so that every message about them can name the file and the line.

settings = read_settings("tiny.yaml")
settings.values["batch_size"], settings.at("batch_size")  # 32, "tiny.yaml:4"
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from data.system.errors import UNPRINTABLE, UserError, printable

Path_ = tuple[str | int, ...]
"""The keys that lead to a value: ("search", "margin", 0)."""
MAXIMUM_BYTES = 2**20
MAXIMUM_VALUES = 20_000
"""Values in a file. An alias counts as all that it stands for: a few lines of aliases can stand for billions."""
MAXIMUM_LETTERS = 4096
"""Letters in a value: systems take no longer paths."""
MAXIMUM_NAME = 200
MAXIMUM_DIGITS = 400
"""Digits in a number: floats have no more, and Python takes quadratic time for them."""
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-3 as a number, as people mean it (YAML 1.1 wants 1.0e-3)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


@dataclass(frozen=True)
class SettingsFile:
    """The values of a YAML file, and the line of each."""

    where: str
    """The file's name, or what else stands for it in messages."""
    values: dict[str, Any]
    lines: dict[Path_, int] = field(default_factory=dict)
    """The line of each key, from 1; () stands for the whole file."""
    assigned: frozenset[str] = frozenset()
    """Keys whose values come from the command line instead."""

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
    path = printable(str(file))
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - Path refuses some names in other words
            content = opened.read(MAXIMUM_BYTES + 1)
        if len(content) > MAXIMUM_BYTES:
            raise UserError(f"{path}: more than {MAXIMUM_BYTES:,} bytes are no settings")
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise UserError(f"{path}: cannot be read: {reason}") from error
    values, lines = _read_yaml(text, path, mapping=True)
    return SettingsFile(path, {str(key): value for key, value in values.items()}, lines)


def _read_yaml(text: str, where: str, *, mapping: bool = False) -> tuple[Any, dict[Path_, int]]:
    """The value of a YAML text and the line of each of its keys. Raises UserError, which begins with `where`."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return ({} if mapping else None), {}
            if mapping and not isinstance(node, yaml.MappingNode):
                raise UserError(f"{where}:{node.start_mark.line + 1}: expected `name: value` lines")
            nodes = _Nodes(where)
            nodes.walk(node, ())
            return loader.construct_document(node), nodes.lines
        finally:
            loader.dispose()
    except UserError:
        raise
    except Exception as error:  # PyYAML raises many kinds, for deep nesting and dates that do not exist, say
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = " ".join(printable(str(getattr(error, "problem", None) or error)).split())[:300]
        raise UserError(f"{where}{line}: not valid YAML: {reason or type(error).__name__}") from error


class _Nodes:
    """Walks a YAML text's nodes: notes each key's line, and refuses texts that would only take time and memory."""

    def __init__(self, where: str):
        self.where, self.lines, self.count = where, dict[Path_, int](), 0

    def walk(self, node: yaml.Node, path: Path_) -> None:
        """Raises UserError for a key that is set twice, a value that is too long, and too many values."""
        self.count += 1
        if self.count > MAXIMUM_VALUES:
            raise UserError(f"{self.where}: more than {MAXIMUM_VALUES:,} values, those that aliases stand for included")
        if isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                self.walk(value_node, self._key(key_node, path))
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self.lines[(*path, number)] = item.start_mark.line + 1
                self.walk(item, (*path, number))
        else:
            self._check_length(node)

    def _key(self, node: yaml.Node, path: Path_) -> Path_:
        at = f"{self.where}:{node.start_mark.line + 1}"
        if not isinstance(node, yaml.ScalarNode) or not is_name(node.value):
            raise UserError(f"{at}: expected a name before the colon")
        key = (*path, str(node.value))
        if key in self.lines:
            raise UserError(f"{at}: {key[-1]} is set twice, first on line {self.lines[key]}")
        self.lines[key] = node.start_mark.line + 1
        return key

    def _check_length(self, node: yaml.Node) -> None:
        limit = MAXIMUM_DIGITS if node.tag in NUMBERS else MAXIMUM_LETTERS
        if len(node.value) > limit:
            kind = "a number" if node.tag in NUMBERS else "a value"
            at = f"{self.where}:{node.start_mark.line + 1}"
            raise UserError(f"{at}: {kind} of {len(node.value):,} letters, at most {limit:,} are read")


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """`["batch_size=64", "margin=soft"]` as a dictionary; values are read as YAML. Raises UserError."""
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not name.strip() or not is_name(name.strip()):
            raise UserError(f"--set {assignment[:80]!r}: expected name=value")
        if name.strip() in values:
            raise UserError(f"--set {assignment[:80]!r}: {name.strip()} is set twice; give one value")
        values[name.strip()], _ = _read_yaml(text, f"--set {printable(assignment[:80])}")
    return values


def is_name(text: str) -> bool:
    """Whether this can be a setting's name: it is short, and a message can hold its characters."""
    return len(text) <= MAXIMUM_NAME and not UNPRINTABLE.search(text)
