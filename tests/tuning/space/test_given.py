"""Spaces that the command line gives: ranges, study settings, and files of the wrong kind."""

import pytest
import yaml

from data.system.errors import UserError
from reid_train.settings.file import read_settings
from reid_train.settings.kinds import check_no_space
from tuning.space.given import GivenSettings, given_settings
from tuning.space.read import read_space, space_of

CONFIG = "learning_rate: 0.002\nbatch_size: 32\nimages_per_identity: 8\nmargin: 0.3\nnum_epochs: 12\n"


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(CONFIG)
    return str(file)


def space_from(config, *searched, study=(), sampler=None, assigned=()):
    return space_of(given_settings(None, config, searched, study, sampler), "mine", list(assigned))


def test_a_configuration_with_ranges_is_the_space_that_a_file_would_give(config, tmp_path):
    made = space_from(config, "learning_rate=1e-4..1e-2:log", "margin=0.1,0.3,soft", "fc_width=64..512:step=64")
    file = tmp_path / "mine" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(
        "fixed: {batch_size: 32, images_per_identity: 8, num_epochs: 12}\n"
        "search:\n  learning_rate: {low: 1e-4, high: 1e-2, log: true}\n  margin: [0.1, 0.3, soft]\n"
        "  fc_width: {low: 64, high: 512, step: 64}\nfirst_trials: [{learning_rate: 0.002, margin: 0.3}]\n"
    )
    assert made == read_space(file)
    assert made.default["learning_rate"] == 0.002 and made.default["margin"] == 0.3
    assert made.default_config() == made.config({"learning_rate": 0.002, "margin": 0.3, "fc_width": 512})


def test_what_is_kept_of_it_reads_as_the_same_space(config, tmp_path):
    given = given_settings(
        None, config, ["learning_rate=1e-4..1e-2:log", "margin=0.1,0.3,soft"], ["rungs=[2,6]"], "tpe"
    )
    assert isinstance(given, GivenSettings)
    values = given.values
    values["fixed"] = {name: value for name, value in values["fixed"].items() if name != "num_epochs"}
    (tmp_path / "mine").mkdir()
    kept = tmp_path / "mine" / "space.yaml"
    kept.write_text(given.as_yaml())
    again = read_space(kept)
    assert again.to_record() | {"name": ""} == space_of(given, "").to_record()
    assert again.study.rungs == (2, 6) and again.study.sampler == "tpe"


def test_options_change_a_spaces_file_and_leave_the_rest(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("fixed: {margin: 0.3}\nsearch: {weight_decay: [0.0, 0.1]}\nstudy: {trials: 7}\n")
    made = space_of(given_settings(str(file), None, ["margin=0.1,0.2"], ["stop=auto"]), "a")
    assert made.searched == ["weight_decay", "margin"] and made.fixed == {}
    assert made.study.trials == 7 and made.study.stop == "auto"
    assert (
        space_of(given_settings(str(file), None, ["weight_decay={low: 0.0, high: 0.5}"]), "a").parameters[0].high == 0.5
    )
    assert given_settings(str(file), None) == read_settings(file), "without options it is the file"


@pytest.mark.parametrize(
    ("searched", "told"),
    [
        ("marginn=0.1,0.2", "--search marginn: unknown setting marginn; did you mean margin?"),
        ("margin", "--search 'margin': expected name=value"),
        (
            "margin=0.3",
            "--search margin=0.3: give a range LOW..HIGH or LOW..HIGH:log, or choices A,B,...; one value is",
        ),
        ("margin=0.1,hard,0.3", "--search margin: margin='hard' should be a number above 0 and at most 100, or soft"),
        ("margin=2..1", "--search margin: margin has low=2 and high=1: low must be below high"),
        ("margin=0.1..1:lgo", "--search margin: unknown mark :lgo of a range; did you mean log?"),
        ("margin=0.1..1:step", "--search margin: unknown mark :step of a range; write :log, or :step=NUMBER"),
        ("margin=0.1..1:linear", "--search margin: unknown mark :linear of a range; there are :log and :step=NUMBER"),
        ("margin=a..b", "--search margin: margin needs a number for low, or choices"),
        ("pooling=1..2", "--search pooling: pooling takes names, not numbers: give choices"),
        ("trials=10,20", "--search trials: trials is a study setting: it belongs under study"),
        (
            "margin=0.1,0.2",
            "margin=0.3 of a first trial lies outside its range; the winner is compared with it: search",
        ),
        ("data_dir=a,b", "--search data_dir: data_dir cannot be searched"),
    ],
)
def test_a_wrong_range_is_one_line_that_names_the_option(config, searched, told):
    with pytest.raises(UserError) as error:
        space_from(config, searched)
    assert told in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith(told) or str(error.value).startswith(f"--config {config}: ")


def test_a_range_that_is_given_twice_is_refused(config):
    with pytest.raises(UserError, match=r"^--search 'margin=.*margin is set twice"):
        space_from(config, "margin=0.1,0.3", "margin=0.3,0.5")


@pytest.mark.parametrize(
    ("study", "told"),
    [
        ("trails=4", "--study trails: study.trails is no study setting; did you mean trials?"),
        ("margin=0.3", "--study margin: study.margin is no study setting; it is a training setting: it belongs under"),
        ("rungs=[6,2]", "--study rungs: study.rungs should be epochs in increasing order"),
        ("rungs", "--study 'rungs': expected name=value"),
        ("top_k=3", "--study top_k: study.top_k is a setting no more"),
    ],
)
def test_a_wrong_study_setting_is_one_line_that_names_the_option(config, study, told):
    with pytest.raises(UserError) as error:
        space_from(config, "margin=0.1,0.3", study=[study])
    assert str(error.value).startswith(told) and "\n" not in str(error.value)


def test_a_wrong_sampler_names_the_option_and_those_there_are(config):
    with pytest.raises(UserError, match=r"^--sampler: study.sampler should be 'model', 'tpe', 'gp'"):
        space_from(config, "margin=0.1,0.3", sampler="tpee")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            CONFIG,
            "a.yaml:1: learning_rate is a training setting, and this is no space: to search around the settings of",
        ),
        (
            "fixed:\n  trials: 4\nsearch: {margin: [0.1, 0.3]}",
            "a.yaml:2: trials is a study setting: it belongs under study",
        ),
        ("search:\n  trials: [4, 5]", "a.yaml:2: trials is a study setting: it belongs under study"),
        ("trials: 4\nsearch: {margin: [0.1, 0.3]}", "a.yaml:1: trials is a study setting: it belongs under study"),
        (
            "search: {margin: [0.1, 0.3]}\nstudy:\n  batch_size: 32",
            "a.yaml:3: study.batch_size is no study setting; it is a training setting: it belongs under fixed or",
        ),
    ],
)
def test_settings_in_the_wrong_place_are_told_apart(tmp_path, text, told):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        read_space(tmp_path / "a.yaml")
    assert str(error.value).startswith(f"{tmp_path}/{told}") and "\n" not in str(error.value)


def test_a_study_setting_given_as_a_training_setting_names_the_right_option(config):
    with pytest.raises(UserError, match=r"^--set trials: trials is a study setting: give --study trials=VALUE$"):
        space_from(config, "margin=0.1,0.3", assigned=["trials=4"])


@pytest.mark.parametrize("text", ["search: {margin: [0.1]}", "fixed: {margin: 0.1}\nsearch: {pooling: [avg, gem]}"])
def test_a_space_in_the_place_of_a_trainings_settings_is_told(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=r"a.yaml:1: (fixed|search) is a section of a search space.*--space .*a.yaml$"):
        check_no_space(read_settings(tmp_path / "a.yaml"))
    with pytest.raises(UserError, match="is a section of a search space"):
        given_settings(None, str(tmp_path / "a.yaml"), ["margin=0.1,0.3"])


def test_assigned_settings_of_a_configuration_are_searched_no_more(config):
    made = space_from(config, "margin=0.1,0.3", "learning_rate=1e-4..1e-2:log", assigned=["margin=0.2"])
    assert made.searched == ["learning_rate"] and made.fixed["margin"] == 0.2
    assert yaml.safe_load(CONFIG)["learning_rate"] == made.default["learning_rate"]
