"""Writes docs/settings.md and docs/commands.md from the code; tests/test_readme.py compares them with it.

python -m docs.generate
"""

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import data.system.options
from data.system.settings import Settings
from docs.verbs import VERBS, is_command
from reid_train.settings.config import TrainConfig
from tuning.space.settings import StudySettings

DOCS = Path(__file__).parent
MADE = "<!-- Made from the code by `python -m docs.generate`; change it there. -->"


def main() -> None:
    for name, text in pages().items():
        (DOCS / name).write_text(text)


def pages() -> dict[str, str]:
    """The text of each page that is made from the code, by its file's name."""
    return {"settings.md": settings_page(), "commands.md": commands_page()}


# settings.md


def settings_page() -> str:
    """Every setting of TrainConfig, in the groups that it is made of, and of StudySettings."""
    groups = [group for group in reversed(TrainConfig.__mro__) if issubclass(group, Settings)]
    groups = [group for group in groups if group not in (Settings, TrainConfig)]
    parts = [
        "# Settings",
        MADE,
        "This page lists every setting with its range, its default and what it means. A training setting goes under"
        " `fixed` or `search` of a [search space](search.md), into a configuration file, or after `--set`. A study"
        " setting goes under `study` of a space.",
        " · ".join(f"[{title(group)}](#{title(group).lower()})" for group in [*groups, StudySettings]),
        *(f"## {title(group)}\n\n{group.__doc__}\n\n{settings_table(group)}" for group in [*groups, StudySettings]),
    ]
    return "\n\n".join(parts) + "\n"


def title(group: type[Settings]) -> str:
    name = group.__name__.removesuffix("Settings")
    return {"Optim": "Optimizer"}.get(name, name)


def settings_table(group: type[Settings]) -> str:
    """A row for each setting that the group itself has, not those that it inherits."""
    properties = group.model_json_schema()["properties"]
    rows = ["| setting | range | default | meaning |", "| --- | --- | --- | --- |"]
    for name in group.__annotations__:
        if name in properties:
            field = properties[name]
            meaning = " ".join(group.model_fields[name].description.split())
            rows.append(f"| `{name}` | {cell(range_of(field))} | {cell(plain(field['default']))} | {cell(meaning)} |")
    return "\n".join(rows)


def range_of(field: dict[str, Any]) -> str:
    """What a JSON schema allows, for people: "above 0, at most 100; or soft"."""
    if kinds := field.get("anyOf"):
        return "; or ".join(range_of(kind) for kind in kinds)
    if "enum" in field or "const" in field:
        return ", ".join(plain(value) for value in field.get("enum", [field.get("const")]))
    if "pattern" in field:
        return "text of the form `" + field["pattern"].strip("^$") + "`"
    limits = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}"}
    told = " ".join(words.format(f"{field[name]:.10g}") for name, words in limits.items() if name in field)
    if field["type"] == "array":
        return f"a list of {range_of(field['items'])}".replace("number", "numbers")
    kinds = {
        "integer": "whole number", "number": "number", "string": "text", "boolean": "true, false", "null": "null",
        "object": "a mapping",
    }  # fmt: skip
    return f"{kinds[field['type']]} {told}".strip()


def plain(value: object) -> str:
    """A value as YAML writes it."""
    known = {None: "null", True: "true", False: "false"}
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {plain(other)}" for name, other in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(plain, value)) + "]"
    return known[value] if value is None or isinstance(value, bool) else str(value)


def cell(text: str) -> str:
    """A text as it may stand in a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


# commands.md


def commands_page() -> str:
    """Every verb that is there: what it does and its options, as --help has them."""
    verbs = [verb for verb, module in VERBS.items() if is_command(module)]
    parts = [
        "# Commands",
        MADE,
        "This page lists every command with its options. `reid VERB` and `python -m MODULE` are the same command;"
        " `--help` prints the same.",
        " · ".join(f"[{verb}](#reid-{verb})" for verb in verbs),
        *map(command_part, verbs),
        *exit_codes(),
    ]
    return "\n\n".join(parts) + "\n"


def command_part(verb: str) -> str:
    parser = parser_of(verb)
    rows = ["| option | meaning |", "| --- | --- |", *options(parser)]
    paragraphs = [f"## reid {verb}", f"`python -m {VERBS[verb]}`", parser.description or "", "\n".join(rows)]
    more = (parser.epilog or "").partition("Exit codes:")[0].strip()  # these are the same for all
    return "\n\n".join([*paragraphs, *([cell(more)] if more else [])])


def exit_codes() -> list[str]:
    codes = getattr(data.system.options, "EXIT_CODES", {})
    rows = [f"| {code} | {meaning} |" for code, meaning in codes.items()]
    return ["## Exit codes", "\n".join(["| code | meaning |", "| --- | --- |", *rows])] if rows else []


class _Found(Exception):
    """Carries a command's parser out of it."""


def parser_of(verb: str) -> argparse.ArgumentParser:
    """The parser of a verb's command, as `reid VERB` makes it."""
    found: list[argparse.ArgumentParser] = []

    def stop(parser: argparse.ArgumentParser, *others: object) -> NoReturn:
        found.append(parser)
        raise _Found

    with (
        mock.patch.object(sys, "argv", [f"reid {verb}", "--help"]),
        mock.patch("argparse.ArgumentParser.print_help", stop),
    ):
        module = import_module(VERBS[verb])
        try:
            getattr(module, "parse_arguments", module.main)()
        except _Found:
            return found[0]
    raise AssertionError(f"{verb} --help prints no help")


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A row for each argument, those without dashes first, as --help has them."""
    actions = sorted(parser._actions, key=lambda action: bool(action.option_strings))  # argparse publishes no list
    for action in actions:
        if action.help is argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        names = ", ".join(action.option_strings)
        value = "" if action.nargs == 0 else value_of(action)
        help_text = (action.help or "").replace("%%", "%")
        if action.required and action.option_strings:
            help_text = f"{help_text}; needed" if help_text else "needed"
        yield f"| `{cell(' '.join(filter(None, [names, value])))}` | {cell(help_text)} |"


def value_of(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else None
    value = metavar or (f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest.upper())
    return {"+": f"{value} ...", "*": f"[{value} ...]", "?": f"[{value}]"}.get(str(action.nargs), value)


if __name__ == "__main__":
    main()
