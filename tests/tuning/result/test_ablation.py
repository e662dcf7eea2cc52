"""From the default to the winner: one parameter at a time, resumably, on validation identities alone."""

import itertools
import json
import shutil

import pytest
import yaml

from data.pixels.cache import open_pixels
from reid_train.checkpoints.checkpoint import WEIGHTS
from reid_train.settings.config import TrainConfig, read_config
from reid_train.training.folder import train_into
from reid_train.training.history import read_history
from reid_train.training.images import read_training
from tuning.record.study import Study
from tuning.result.ablation import ablate, plan_steps, read_ablation
from tuning.result.summary import summary_text
from tuning.space.read import read_space

SPACE = """\
search:
  learning_rate: {low: 1e-4, high: 1e-1}
  optimizer: [adamw, sgd]
  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}
  margin: [0.3, soft]
  dropout: {low: 0.0, high: 0.5}
"""


@pytest.fixture
def make_space(tmp_path):
    def make(more=""):
        (tmp_path / "space.yaml").write_text(SPACE + more)
        return read_space(tmp_path / "space.yaml")

    return make


def test_each_step_changes_one_parameter_and_the_last_is_the_winner(make_space):
    winner = TrainConfig(learning_rate=0.02, optimizer="sgd", momentum=0.7, margin="soft", image_height=64)
    space = make_space("first_trials: [{learning_rate: 0.01, margin: 0.3}]\n")
    steps = plan_steps(winner, space, ["margin", "momentum", "learning_rate", "optimizer", "dropout"])
    # momentum is important, but counts only with sgd; dropout is the same in both.
    assert [step[:3] for step in steps] == [
        ("default", None, None),
        ("margin", 0.3, "soft"),
        ("learning_rate", 0.01, 0.02),
        ("optimizer", "adamw", "sgd"),
        ("momentum", 0.9, 0.7),
    ]
    for before, step in itertools.pairwise(steps):
        one, other = before.config.model_dump(), step.config.model_dump()
        assert [name for name in one if one[name] != other[name]] == [step.changed]
    assert steps[-1].config == winner
    assert steps[0].config == TrainConfig(learning_rate=0.01, image_height=64)


def test_what_the_default_leaves_open_is_the_settings_own(make_space):
    steps = plan_steps(TrainConfig(dropout=0.2), make_space(), ["optimizer", "dropout", "margin"])
    assert steps[0].config == TrainConfig() and [step.changed for step in steps] == ["default", "dropout"]


def test_the_steps_begin_at_what_is_fixed_and_not_at_the_settings_own(make_space):
    """Where the space has another value than TrainConfig, the default is trained with that."""
    space = make_space("fixed: {label_smoothing: 0.1}\n")
    default, _ = plan_steps(space.config({"learning_rate": 0.02}), space, ["learning_rate"])
    assert default.config == space.default_config() and default.config.label_smoothing == 0.1


@pytest.fixture
def study(finished_search, tmp_path):
    """A copy of the finished study whose winner differs in both parameters from the default, its first trial."""
    folder = tmp_path / "study"
    shutil.copytree(finished_search[0], folder, ignore=shutil.ignore_patterns("trials", "plots", "best", "ablation"))
    choose(folder, learning_rate=0.02, weight_decay=1.0)
    return folder


def choose(folder, **settings):
    values = yaml.safe_load((folder / "best_config.yaml").read_text())
    (folder / "best_config.yaml").write_text(yaml.safe_dump(values | settings))


def belongs_to(folder, winner):
    """Says whose weights best/ holds."""
    (folder / "best").mkdir(exist_ok=True)
    (folder / "best" / "trial.json").write_text(json.dumps({"of": winner, "epochs": 3, "seed": 0, "score": 0.5}))


def test_the_way_is_trained_once_without_the_test_images(study, tiny_data, tmp_path, run_module, capsys):
    data, cache = tmp_path / "market", tmp_path / "cache"
    shutil.copytree(tiny_data / "bounding_box_train", data / "bounding_box_train")
    done = run_module("tuning.retrain", study, "--ablation", "--data-dir", data, "--cache-dir", cache)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = read_history(study / "ablation.csv")
    assert [(row["step"], row["changed"], row["from"], row["to"]) for row in rows] == [
        (0, "default", None, None),
        (1, "learning_rate", 0.05, 0.02),
        (2, "weight_decay", 1e-4, 1.0),
    ]
    for before, row in itertools.pairwise(rows):
        assert row["difference"] == pytest.approx(row["val_mAP"] - before["val_mAP"], abs=1e-6)
    summary = (study / "summary.md").read_text()
    assert "## From the default to the winner" in summary and "| 2 | weight_decay | 0.0001 | 1 |" in summary
    assert "from the default to the winner: one schedule of 3 epochs, validation" in " ".join(done.stdout.split())

    winner = read_config(str(study / "best_config.yaml"), [f"data_dir={data}"])
    samples, training, _ = read_training(winner, cache)
    pixels = open_pixels(samples, height=32, width=16, cache_dir=cache, limit_bytes=None)
    train_into(winner.changed(seed=0), training, pixels, tmp_path / "alone")
    assert read_history(tmp_path / "alone" / "history.csv")[-1]["val_mAP"] == rows[-1]["val_mAP"]

    trained = {file: file.stat().st_mtime_ns for file in (study / "ablation").rglob(WEIGHTS)}
    assert len(trained) == 3
    shutil.rmtree(study / "ablation" / "1-learning_rate")
    capsys.readouterr()
    ablate(study, winner, 1, {"cache_dir": cache, "limit_bytes": None})
    assert capsys.readouterr().out.count("this run is finished") == 2
    assert read_history(study / "ablation.csv") == rows
    kept = {file: file.stat().st_mtime_ns for file in trained if "1-learning_rate" not in str(file)}
    assert kept.items() <= trained.items() and len(kept) == 2


def test_a_step_that_diverges_is_a_row_like_others(study, tiny_data, tmp_path, capsys):
    choose(study, learning_rate=10, weight_decay=1.0)  # every step multiplies the weights by -9
    winner = read_config(str(study / "best_config.yaml"), [f"data_dir={tiny_data}"])
    ablate(study, winner, 1, {"cache_dir": tmp_path / "cache", "limit_bytes": None})
    assert "training diverged" in capsys.readouterr().out
    assert "| 2 | weight_decay | 0.0001 | 1 | diverged |  |" in summary_text(Study(study))


def test_a_table_belongs_to_the_winner_of_the_confirmation_and_is_not_shown_for_another(study):
    """Which trial scored best while searching does not count."""
    row = {"step": 0, "changed": "default", "from": None, "to": None, "val_mAP": 0.5, "difference": None}
    (study / "ablation.json").write_text(json.dumps({"of": "default", "rows": [row], "noise": "1 seed a step"}))
    belongs_to(study, "default")
    assert read_ablation(Study(study))["of"] == "default"
    assert "From the default to the winner" in summary_text(Study(study))
    belongs_to(study, "trial 0")
    assert read_ablation(Study(study)) is None and "From the default" not in summary_text(Study(study))


def test_a_table_of_the_same_trials_shorter_schedule_is_not_shown(study):
    row = {"step": 0, "changed": "default", "from": None, "to": None, "val_mAP": 0.5, "difference": None}
    for epochs, shown in ((3, True), (1, False)):
        table = {"of": "trial 0", "epochs": epochs, "rows": [row], "noise": "1 seed a step"}
        (study / "ablation.json").write_text(json.dumps(table))
        belongs_to(study, "trial 0")  # after 3 epochs
        assert ("From the default to the winner" in summary_text(Study(study))) == shown
