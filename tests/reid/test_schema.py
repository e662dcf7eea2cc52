"""The JSON schema of spaces: it takes what reading a space takes, and refuses typical mistakes."""

import json
from typing import Any

import jsonschema
import pytest

from data.system.errors import UserError
from reid.schema import schema_text
from reid.settings import SCHEMA
from reid_train.settings.config import FIELD_NAMES
from reid_train.settings.file import read_settings
from tests.commands import ROOT
from tests.tiny_space import TINY_SPACE
from tuning.space.read import NOT_SEARCHABLE, read_space
from tuning.space.settings import StudySettings

SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
VALIDATOR = jsonschema.Draft7Validator(json.loads(schema_text()))


def values_of(text: str, tmp_path: Any) -> dict[str, Any]:
    (tmp_path / "a.yaml").write_text(text)
    return read_settings(tmp_path / "a.yaml").values


def test_the_file_is_current_and_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(VALIDATOR.schema)
    assert (ROOT / SCHEMA).read_text() == schema_text(), (
        "run: python -m reid.settings --schema > search_spaces/schema.json"
    )


@pytest.mark.parametrize("file", SPACES, ids=lambda file: file.name)
def test_each_shipped_space_keeps_it_and_names_it_for_editors(file):
    VALIDATOR.validate(read_settings(file).values)
    first = file.read_text().splitlines()[0]
    assert (file.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve() == ROOT / SCHEMA


def test_every_name_is_known_with_its_meaning():
    sections = VALIDATOR.schema["properties"]
    assert sections["fixed"]["properties"].keys() == set(FIELD_NAMES)
    assert sections["search"]["properties"].keys() == set(FIELD_NAMES) - NOT_SEARCHABLE.keys()
    assert sections["study"]["properties"].keys() == set(StudySettings.model_fields)
    for section in ("fixed", "search", "study"):
        assert all(rule.get("description") for rule in sections[section]["properties"].values())


RIGHT = [
    TINY_SPACE,
    "search: {margin: [0.1, soft]}",
    "fixed:\nsearch: {images_per_identity: [null, 4]}",
    "search: {learning_rate: {low: 1e-4, high: 1e-2, log: true}}\nstudy: {time_budget: 1.5h, rungs: [4, 12]}",
    "search: {randaugment_magnitude: {low: 0, high: 12, step: 3}}\nstudy: {time_budget: 90, trial_timeout: 5m}",
    "search: {fc_layers: [0, 1], fc_width: {choices: [64, 128], when: {fc_layers: 1}}}\nstudy: {rungs: null}",
    "search: {normalize_features: [true, false], margin: [{low: 0.1, high: 0.6, when: {normalize_features: true}},"
    " {choices: [1.0, soft], when: {normalize_features: [false]}}]}",
    "search: {backbone: [resnet18, resnet50]}\nstudy: {metrics: {val_mAP: max, latency_ms: min}, pick: knee}",
]
WRONG = [
    "serch: {margin: [0.1]}",
    "search: {marginn: [0.1]}",
    "search: {margin: 0.1}",
    "search: {margin: {low: 0.1}}",
    "search: {margin: {low: 0.1, hihg: 1}}",
    "search: {margin: {low: -1, high: 1}}",
    "search: {margin: [0.1, hard]}",
    "search: {pooling: {low: 1, high: 2}}",
    "search: {batch_size: {low: 8.5, high: 32}}",
    "search: {data_dir: [a, b]}",
    "search: {margin: {choices: [0.1, 0.2], when: {normalise_features: true}}}",
    "search: {margin: [0.1]}\nfixed: {trials: 40}",
    "search: {margin: [0.1]}\nfixed: {batch_size: many}",
    "search: {margin: [0.1]}\nstudy: {trails: 40}",
    "search: {margin: [0.1]}\nstudy: {sampler: tpee}",
    "search: {margin: [0.1]}\nstudy: {time_budget: soon}",
    "search: {margin: [0.1]}\nstudy: {metrics: {val_mAP: min}}",
    "search: {margin: [0.1]}\nfirst_trials: {margin: 0.1}",
    "learning_rate: 0.001\nbatch_size: 32",
]


@pytest.mark.parametrize("text", RIGHT)
def test_it_takes_what_is_read(text, tmp_path):
    VALIDATOR.validate(values_of(text, tmp_path))
    read_space(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", WRONG)
def test_it_refuses_what_is_refused(text, tmp_path):
    assert not VALIDATOR.is_valid(values_of(text, tmp_path))
    with pytest.raises(UserError):
        read_space(tmp_path / "a.yaml")
