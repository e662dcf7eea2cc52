"""`reid settings`: what it says of a setting is what reading one accepts."""

import json

import pytest

from data.system.errors import UserError
from reid.settings import all_settings, matching, shown, takes
from reid_train.settings.config import FIELD_NAMES, TrainConfig, make_config
from tests.commands import run_here
from tuning.space.read import NOT_SEARCHABLE
from tuning.space.settings import StudySettings

KNOWN = {setting.name: setting for setting in all_settings()}


def test_every_setting_of_trainings_and_studies_is_listed_once_with_its_meaning():
    names = [setting.name for setting in all_settings()]
    assert sorted(names) == sorted([*FIELD_NAMES, *StudySettings.model_fields])
    assert all(setting.meaning.endswith(".") and "\n" not in setting.meaning for setting in all_settings())
    assert {name for name, setting in KNOWN.items() if setting.not_searchable} == NOT_SEARCHABLE.keys()
    assert KNOWN["crop_scale"].group == "How training pictures are changed at random"


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_defaults_are_those_that_hold(name):
    assert KNOWN[name].default == json.loads(TrainConfig().model_dump_json())[name]


@pytest.mark.parametrize(
    ("name", "told", "right", "wrong"),
    [
        ("batch_size", "whole number from 2 to 4,096", [2, 4096], [1, 4097, 2.5]),
        ("margin", "number above 0 and at most 100 or soft", [0.1, 100, "soft"], [0, 101, "hard"]),
        ("momentum", "number at least 0 and below 1", [0, 0.99], [1, -0.1]),
        ("pooling", "avg or gem", ["avg", "gem"], ["max"]),
        (
            "dataset",
            "market1501, veri, dukemtmc, cuhk03_np, msmt17, msmt17_train, vehicleid, veri_wild, manifest, folders "
            "or null",
            ["veri", "vehicleid", None],
            ["duke"],
        ),
        ("moe_noise", "true or false", [True], [3]),
        ("max_grad_norm", "number above 0 or null", [1e9, None], [0]),
        ("teacher", "text or null", ["a/b", None], [3]),
    ],
)
def test_what_a_setting_takes_is_what_a_configuration_takes(name, told, right, wrong):
    assert KNOWN[name].takes == told
    others = {"images_per_identity": None, "ce_weight": 1.0}
    for value in right:
        make_config({**others, name: value}, "a")
    for value in wrong:
        with pytest.raises(UserError):
            make_config({**others, name: value}, "a")


def test_words_for_lists_and_mappings():
    assert KNOWN["rungs"].takes == "a list, each whole number, auto or null"
    assert takes({"type": "object", "additionalProperties": {"type": "number"}}) == "names, each with number"
    assert [shown(value) for value in (None, True, {"a": "b"}, [1, "x"], 0.1)] == [
        "null",
        "true",
        "{a: b}",
        "[1, x]",
        "0.1",
    ]


def test_names_and_parts_of_names_are_found_and_a_wrong_one_has_a_suggestion():
    assert [setting.name for setting in matching(["margin"])] == ["margin"], "an exact name is that setting alone"
    assert {setting.name for setting in matching(["moe_", "margin"])} == {
        *(name for name in FIELD_NAMES if name.startswith("moe_")),
        "margin",
    }
    with pytest.raises(UserError, match=r"^lerning_rate: no such setting; did you mean learning_rate\?$"):
        matching(["lerning_rate"])
    done = run_here("reid.command", "settings", "trails")
    assert (done.returncode, done.stderr) == (2, "error: trails: no such setting; did you mean trials?\n")


def test_the_command_prints_text_json_or_a_page():
    text = run_here("reid.settings", "margin", "trials").stdout
    assert text.startswith("margin: number above 0 and at most 100 or soft; default 0.3\n    Gap between")
    assert "trials (of a study): whole number from 1 to 100,000 or null; default null\n" in text
    answer = json.loads(run_here("reid.settings", "--json").stdout)
    assert [one["name"] for one in answer["settings"]] == list(KNOWN) and len(answer) == 1
    (one,) = json.loads(run_here("reid.settings", "data_dir", "--json").stdout)["settings"]
    assert one == KNOWN["data_dir"]._asdict() and one["not_searchable"].startswith("trials on different data")
