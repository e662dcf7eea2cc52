"""Lists the settings of trainings and of studies: what each takes, its default and its meaning.

reid settings [NAME ...] [--json | --schema]
"""

import argparse
import json
import textwrap
from typing import Any, NamedTuple

from data.system.answers import add_json_option, answering
from data.system.errors import UserError, exit_on_user_error, suggestion
from data.system.options import CommandParser

SCHEMA = "search_spaces/schema.json"
WIDTH = 100


class Setting(NamedTuple):
    """A setting, as people read of it."""

    name: str
    of: str
    """training (under `fixed` or `search` of a space, `--set`) or study (under `study`, `--study`)."""
    group: str
    """What it is about."""
    takes: str
    """Its type and range: `whole number, 2 to 4096`."""
    default: Any
    meaning: str
    not_searchable: str | None
    """Why a space cannot search it; None where it can. Study settings are never searched."""


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m reid.settings",
        description="Lists all settings of trainings and of studies, or those named: what each takes, its default and "
        "its meaning. A part of a name lists all that have it.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a setting, or a part of its name")
    add_json_option(parser)
    parser.add_argument("--schema", action="store_true", help=f"the JSON schema of search spaces ({SCHEMA})")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    if arguments.schema:
        from reid.schema import schema_text

        print(schema_text(), end="")
        return
    found = matching(arguments.names)
    with answering(arguments.json) as answer:
        answer["settings"] = [setting._asdict() for setting in found]
        if not arguments.json:
            print("\n\n".join(map(describe, found)))


def all_settings() -> list[Setting]:
    """Every setting, groups in the order of TrainConfig's fields, then those of a study."""
    from data.system.settings import Settings
    from reid_train.settings.config import TrainConfig
    from tuning.space.read import NOT_SEARCHABLE
    from tuning.space.settings import StudySettings

    found = []
    of_training, of_study = (c.model_json_schema()["properties"] for c in (TrainConfig, StudySettings))
    for group in reversed(TrainConfig.__bases__):
        assert issubclass(group, Settings)
        about = str(group.__doc__).split("\n")[0].removesuffix(".")
        names = [name for name in of_training if name in group.model_fields]
        found += [_setting(name, "training", about, of_training[name], NOT_SEARCHABLE.get(name)) for name in names]
    about = str(StudySettings.__doc__).removesuffix(".")
    return [*found, *(_setting(name, "study", about, schema, None) for name, schema in of_study.items())]


def _setting(name: str, of: str, group: str, schema: dict[str, Any], not_searchable: str | None) -> Setting:
    meaning = " ".join(str(schema["description"]).split())
    return Setting(name, of, group, takes(schema), schema["default"], meaning, not_searchable)


def matching(names: list[str]) -> list[Setting]:
    """The settings of these names, or whose names have one as a part; all where none is given. Raises UserError."""
    known = all_settings()
    if not names:
        return known
    found = list[Setting]()
    for name in names:
        exact = [setting for setting in known if setting.name == name]
        some = exact or [setting for setting in known if name in setting.name]
        if not some:
            way_out = suggestion(name, [setting.name for setting in known]) or "; reid settings lists them"
            raise UserError(f"{name}: no such setting{way_out}")
        found += [setting for setting in some if setting not in found]
    return found


def takes(schema: dict[str, Any]) -> str:
    """What a JSON schema of one value allows, in words."""
    *others, last = _alternatives(schema)
    return f"{', '.join(others)} or {last}" if others else last


def _alternatives(schema: dict[str, Any]) -> list[str]:
    if "anyOf" in schema:
        return [words for one in schema["anyOf"] for words in _alternatives(one)]
    if "const" in schema or "enum" in schema:
        return list(map(str, schema.get("enum", [schema.get("const")])))
    kind = schema["type"]
    if kind == "array":
        return [f"a list, each {takes(schema['items'])}"]
    if kind == "object":
        return [f"names, each with {takes(schema['additionalProperties'])}"]
    words = {
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "string": "text",
        "null": "null",
    }
    return [" ".join([words[kind], *_limits(schema)])]


def _limits(schema: dict[str, Any]) -> list[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return [f"from {low} to {high:,}"]
    said = [f"at least {low}"] if low is not None else []
    said += [f"above {schema['exclusiveMinimum']}"] if "exclusiveMinimum" in schema else []
    said += [f"at most {high:,}"] if high is not None else []
    said += [f"below {schema['exclusiveMaximum']}"] if "exclusiveMaximum" in schema else []
    return [" and ".join(said)] if said else []


def shown(default: Any) -> str:
    """A default as YAML has it."""
    return json.dumps(default).replace('"', "")


def describe(setting: Setting) -> str:
    """A setting in a few lines."""
    study = " (of a study)" if setting.of == "study" else ""
    lines = [f"{setting.name}{study}: {setting.takes}; default {shown(setting.default)}"]
    lines += textwrap.wrap(setting.meaning, WIDTH, initial_indent="    ", subsequent_indent="    ")
    lines += [f"    Cannot be searched: {setting.not_searchable}."] if setting.not_searchable else []
    return "\n".join(lines)


if __name__ == "__main__":
    main()
