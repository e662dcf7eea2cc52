"""Writes docs/settings.md and docs/commands.md from the code; tests/test_readme.py compares them with it.

python -m docs.generate
"""

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn
from unittest import mock

from data.system.options import EXIT_CODES
from data.system.settings import Settings
from reid.command import GROUPS, verb_of
from reid.settings import all_settings, shown
from reid_train.settings.config import TrainConfig
from tuning.space.settings import StudySettings

DOCS = Path(__file__).parent
VERBS = {verb_of(module): module for group in GROUPS.values() for module in group}
"""The module of each verb."""
MADE = "<!-- Made from the code by `python -m docs.generate`; change it there. -->"


def main() -> None:
    for name, text in pages().items():
        (DOCS / name).write_text(text)


def pages() -> dict[str, str]:
    """The text of each page that is made from the code, by its file's name."""
    return {"settings.md": settings_page(), "commands.md": commands_page()}


def is_command(module: str) -> bool:
    """Whether the module is there, in this folder, and has a main()."""
    spec = find_spec(module)
    file = Path(spec.origin or "") if spec is not None else Path()
    return file.is_relative_to(DOCS.parent) and "\ndef main(" in file.read_text()


# settings.md


def settings_page() -> str:
    """Every setting of TrainConfig, in the groups that it is made of, and of StudySettings."""
    groups = [group for group in reversed(TrainConfig.__mro__) if issubclass(group, Settings)]
    groups = [group for group in groups if group not in (Settings, TrainConfig)]
    parts = [
        "# Settings",
        MADE,
        "This page lists every setting with what it takes, its default and what it means; `reid settings NAME` prints"
        " one. A training setting goes under `fixed` or `search` of a [search space](search.md), into a configuration"
        " file, or after `--set`. A study setting goes under `study` of a space.",
        " · ".join(f"[{title(group)}](#{title(group).lower()})" for group in [*groups, StudySettings]),
        *(f"## {title(group)}\n\n{group.__doc__}\n\n{settings_table(group)}" for group in [*groups, StudySettings]),
    ]
    return "\n\n".join(parts) + "\n"


def title(group: type[Settings]) -> str:
    name = group.__name__.removesuffix("Settings")
    return {"Optim": "Optimizer"}.get(name, name)


def settings_table(group: type[Settings]) -> str:
    """A row for each setting that the group itself has, not those that it inherits."""
    rows = ["| setting | takes | default | meaning |", "| --- | --- | --- | --- |"]
    for setting in all_settings():
        if setting.name in group.__annotations__ and (setting.of == "study") == (group is StudySettings):
            kept = f" Not searched: {setting.not_searchable}." if setting.not_searchable else ""
            columns = [f"`{setting.name}`", setting.takes, shown(setting.default), setting.meaning + kept]
            rows.append(f"| {' | '.join(map(cell, columns))} |")
    return "\n".join(rows)


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
        " · ".join([*(f"[{verb}](#reid-{verb})" for verb in verbs), "[exit codes](#exit-codes)"]),
        *map(command_part, verbs),
        exit_codes(),
    ]
    return "\n\n".join(parts) + "\n"


def command_part(verb: str) -> str:
    parser = parser_of(verb)
    rows = ["| option | meaning |", "| --- | --- |", *options(parser)]
    paragraphs = [f"## reid {verb}", f"`python -m {VERBS[verb]}`", parser.description or "", "\n".join(rows)]
    more = (parser.epilog or "").partition("Exit codes:")[0].strip()  # these are the same for all
    return "\n\n".join([*paragraphs, *([cell(more)] if more else [])])


def exit_codes() -> str:
    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["## Exit codes", "", "| code | meaning |", "| --- | --- |", *rows])


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
        help_text = (action.help or "") % {**vars(action), "prog": parser.prog}  # as argparse does
        if action.required and action.option_strings:
            help_text = f"{help_text}; needed" if help_text else "needed"
        yield f"| `{cell(' '.join(filter(None, [names, value])))}` | {cell(help_text)} |"


def value_of(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else None
    value = metavar or (f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest.upper())
    return {"+": f"{value} ...", "*": f"[{value} ...]", "?": f"[{value}]"}.get(str(action.nargs), value)


if __name__ == "__main__":
    main()
