"""Options of a search: a training's settings in place of a space, study settings, and --no-test."""

import json
import re
import shlex

import pytest
import yaml

from data.system.files import write_json
from reid_train.inference.evaluation_count import read_test_metrics
from tests.commands import run_here
from tests.tiny_space import TINY_FIXED
from tests.tuning.test_answers import unpacked
from tuning.record.study import Study
from tuning.result import conclude
from tuning.result.summary import headline


@pytest.fixture
def config(tmp_path):
    values = yaml.safe_load(TINY_FIXED)["fixed"] | {"learning_rate": 0.05, "num_epochs": 6}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "mine.yaml"


def test_a_search_from_a_configuration_is_planned(config, tiny_data, tmp_path, without_ray):
    ranges = ["--search", "learning_rate=1e-3..1:log", "--search", "weight_decay=0.0001,0.01"]
    where = ["--data-dir", tiny_data, "--results", tmp_path / "results"]
    study = ["--sampler", "tpe", "--study", "rungs=null", "--epochs", 60]
    done = run_here("tuning.search", "--config", config, *ranges, *where, *study, "--plan", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["searched"] == ["learning_rate", "weight_decay"] and answer["sampler"] == "tpe"
    assert answer["study"] == str(tmp_path / "results" / "mine") and answer["rungs"] == [6]
    assert answer["learns_from_trial"] == 5
    assert "order: first the default; then 4 configurations drawn at random; then from trial 5 on " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config", "{config}"], "--config: says what is fixed; say what is searched, too: --search"),
        (["--config", "{config}", "--space", "{config}", "--search", "margin=1,2"], "--config: takes the place of"),
        (["--space", "{config}"], "is a training setting, and this is no space"),
        (["--config", "/nowhere.yaml", "--search", "margin=1,2"], "/nowhere.yaml: cannot be read"),
        (["--config", "search_spaces/sample.yaml", "--search", "margin=1,2"], "is a section of a search space"),
    ],
)
def test_a_mistake_in_them_is_one_line(config, tmp_path, without_ray, arguments, told):
    typed = [argument.format(config=config) for argument in arguments]
    done = run_here("tuning.search", *typed, "--results", tmp_path / "results")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert told in done.stderr and not (tmp_path / "results").exists()


def test_training_refuses_a_space_in_one_line(tmp_path):
    done = run_here("reid_train.train", "--config", "search_spaces/sample.yaml", "--out", tmp_path / "out")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "is a section of a search space" in done.stderr and "tuning.search --space" in done.stderr


SMALL = f"""\
{TINY_FIXED}search:
  learning_rate: [0.05, 0.01]
study:
  trials: 2
  rungs: [2]
"""


def test_without_the_test_images_the_winner_is_handed_over_untested_and_going_on_keeps_that(
    tiny_data, tmp_path, monkeypatch, without_ray
):
    (tmp_path / "small.yaml").write_text(SMALL)
    command = ["--space", tmp_path / "small.yaml", "--data-dir", tiny_data, "--results", tmp_path / "results"]
    folder = tmp_path / "results" / "small"
    monkeypatch.setattr("tuning.result.conclude.usable_test_sets", None)  # no image is looked at
    monkeypatch.setattr("tuning.prepare.begin.read_test", None)  # the names are not even listed
    for more in (["--no-test"], ["--no-test"], []):  # the second and the third time it is finished
        done = run_here("tuning.search", *command, *more)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "winner: " in done.stdout and read_test_metrics(folder) == {}
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("test: ")]
        assert line.startswith("test: left alone (--no-test); to evaluate the winner: ")
    assert "finished; " in done.stdout and Study(folder).facts["test_left_alone"]
    assert "left alone" in (folder / "summary.md").read_text()
    module, *arguments = shlex.split(re.split(r" -m ", line)[1])
    assert module == "reid_train.evaluate" and arguments[-1] == str(tiny_data)
    assert run_here(module, *arguments, "--cache-dir", tmp_path / "cache").returncode == 0
    assert [look["for"].split(",")[0] for look in read_test_metrics(folder)["evaluations"]] == ["evaluate"]


def test_figures_of_an_earlier_winner_do_not_stay_where_the_test_images_are_left_alone(tmp_path, monkeypatch):
    folder = unpacked("finished", tmp_path)
    label = {"of": "trial 99", "epochs": 4, "seed": 3, "score": 0.5}
    write_json(folder / "best" / "trial.json", label)
    looks = len(read_test_metrics(folder)["evaluations"])
    study = Study(folder)
    study.note(test_left_alone=True)
    monkeypatch.setattr("tuning.result.conclude.usable_test_sets", None)
    conclude.test_once(study, cache_dir=None)
    left = read_test_metrics(folder)
    assert "mAP" not in left and len(left["evaluations"]) == looks, "the look is counted, its figures are gone"
    lines = headline(study)
    assert any("test: left alone (--no-test)" in line for line in lines)
    assert not any("mAP (mean of precisions)" in line for line in lines)
