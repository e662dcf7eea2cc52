"""The JSON schema of search spaces, by which an editor checks and completes them (search_spaces/schema.json).

It knows every name, type and range. What several settings must be together, only reading a space tells.

    reid settings --schema > search_spaces/schema.json
"""

import inspect
import json
from typing import Any

from data.drawing.datasets import draw_dataset
from data.drawing.layouts import LAYOUTS
from reid_train.settings.config import FIELD_NAMES, TrainConfig
from tuning.space.read import NOT_SEARCHABLE, field_kinds
from tuning.space.settings import COSTS, RETRIEVAL, StudySettings

Schema = dict[str, Any]
DURATION = {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[smhd]?\s*$"}
"""What tuning/space/settings.py `parse_duration` takes."""


def schema_text() -> str:
    """The schema as it stands in its file."""
    return json.dumps(space_schema(), indent=1) + "\n"


def space_schema() -> Schema:
    """The schema of a space's file."""
    values = {name: _bare(schema) for name, schema in TrainConfig.model_json_schema()["properties"].items()}
    searched = {name: _searched(name, values[name]) for name in FIELD_NAMES if name not in NOT_SEARCHABLE}
    mappings = {name: _ways(name, values[name]) for name in searched}
    first = {"type": "array", "items": _names({name: values[name] for name in searched})}
    sections = {
        "fixed": _names(values) | {"description": "Settings that every trial has."},
        "search": _names(searched) | {"description": "What is searched: a list of choices, or a range."},
        "first_trials": first | {"description": "Configurations to try first; the first of all is the default."},
        "study": _study() | {"description": "How the space is searched."},
        "sample_data": _sample() | {"description": "How to draw the data set where data_dir is not there."},
    }
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "A search space"}
    anything = {"anyOf": [{"type": "array"}, {"not": {"type": "object"}}]}
    condition = _names(dict.fromkeys(FIELD_NAMES, anything)) | {"description": "The condition: other settings' values."}
    return {**head, **_names(sections), "definitions": {"when": condition, **mappings}}


def _names(properties: Schema) -> Schema:
    """Lines `name: value` of these names; a section may be empty."""
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def _bare(schema: Schema) -> Schema:
    """What a setting takes and means, without pydantic's title."""
    return {key: value for key, value in schema.items() if key != "title"}


def _searched(name: str, value: Schema) -> Schema:
    """A list of choices, a mapping with choices or a range, or a list of such mappings under conditions."""
    mapping = {"$ref": f"#/definitions/{name}"}
    alternatives = {"type": "array", "items": mapping, "minItems": 1}
    return {"description": value["description"], "anyOf": [_choices(value), mapping, alternatives]}


def _choices(value: Schema) -> Schema:
    items = {key: rule for key, rule in value.items() if key not in ("default", "description")}
    return {"type": "array", "items": items, "minItems": 1, "uniqueItems": True}


def _ways(name: str, value: Schema) -> Schema:
    """A mapping with choices or, for a setting of numbers, with low and high."""
    condition = {"$ref": "#/definitions/when"}
    ways = [_mapping({"choices": _choices(value), "when": condition}, ["choices"])]
    kinds = field_kinds(name)
    if bool not in kinds and kinds & {int, float}:
        number = _number(value)
        steps = {"type": number["type"], "exclusiveMinimum": 0}
        keys = {"low": number, "high": number, "log": {"type": "boolean"}, "step": steps, "when": condition}
        ways.append(_mapping(keys, ["low", "high"]))
    return {"anyOf": ways}


def _mapping(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required}


def _number(value: Schema) -> Schema:
    """Of what a setting takes, its numbers."""
    kinds = [value, *value.get("anyOf", [])]
    found = next(kind for kind in kinds if kind.get("type") in ("integer", "number"))
    return {key: rule for key, rule in found.items() if key not in ("enum", "default", "description")}


def _study() -> Schema:
    """StudySettings, with the rules that its validators have."""
    properties = {name: _bare(schema) for name, schema in StudySettings.model_json_schema()["properties"].items()}
    for name in ("time_budget", "trial_timeout", "state_interval"):
        rules = {key: rule for key, rule in properties[name].items() if key in ("type", "exclusiveMinimum")}
        ways = properties[name].pop("anyOf", [rules])
        for key in rules:
            del properties[name][key]
        properties[name]["anyOf"] = [*ways, DURATION]
    directions = {**dict.fromkeys(RETRIEVAL, "max"), **dict.fromkeys(COSTS, "min")}
    figures = {name: {"const": direction} for name, direction in directions.items()}
    properties["metrics"] |= {"properties": figures, "additionalProperties": False}
    limits = {name: {"type": "number", "exclusiveMinimum": 0} for name in COSTS}
    properties["pick"]["anyOf"] = [{"const": "knee"}, _mapping(limits, [])]
    properties["rungs"]["anyOf"][0] |= {"items": {"type": "integer", "minimum": 1}, "minItems": 1, "uniqueItems": True}
    return _names(properties)


def _sample() -> Schema:
    """Arguments of data.synthetic."""
    names = [name for name in inspect.signature(draw_dataset).parameters if name != "out_dir"]
    properties: Schema = {name: {"type": "integer", "minimum": 0} for name in names}
    return _names(properties | {"layout": {"enum": list(LAYOUTS)}})
