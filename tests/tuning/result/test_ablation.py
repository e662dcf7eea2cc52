"""From the default to the winner: one parameter at a time, resumably, on validation identities alone."""

import itertools
import shutil

import pytest
import yaml

from reid_train.checkpoint import WEIGHTS
from reid_train.config import TrainConfig
from reid_train.history import read_history
from tuning.record.study import Study
from tuning.result.ablation import plan_steps

SEARCH = {
    "learning_rate": {"low": 1e-4, "high": 1e-1},
    "optimizer": {"choices": ["adamw", "sgd"]},
    "momentum": {"low": 0.5, "high": 0.9, "when": {"optimizer": ["sgd"]}},
    "margin": {"choices": [0.3, "soft"]},
    "dropout": {"low": 0.0, "high": 0.5},
}


def test_each_step_changes_one_parameter_and_the_last_is_the_winner():
    winner = TrainConfig(learning_rate=0.02, optimizer="sgd", momentum=0.7, margin="soft", image_height=64)
    default = {"learning_rate": 0.01, "margin": 0.3}
    steps = plan_steps(winner, default, SEARCH, ["margin", "momentum", "learning_rate", "optimizer", "dropout"])
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


def test_what_the_default_leaves_open_is_the_settings_own():
    steps = plan_steps(TrainConfig(dropout=0.2), {}, SEARCH, list(SEARCH))
    assert steps[0].config == TrainConfig() and [step.changed for step in steps] == ["default", "dropout"]


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


def test_the_way_is_trained_once_without_the_test_images(study, tiny_data, tmp_path, run_module):
    data = tmp_path / "market"
    shutil.copytree(tiny_data / "bounding_box_train", data / "bounding_box_train")
    arguments = [study, "--ablation", "--data-dir", data, "--cache-dir", tmp_path / "cache"]
    done = run_module("tuning.retrain", *arguments)
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

    alone = ["--config", study / "best_config.yaml", "--set", f"data_dir={data}", "--out", tmp_path / "alone"]
    run_module("reid_train.train", *alone, "--cache-dir", tmp_path / "cache")
    assert read_history(tmp_path / "alone" / "history.csv")[-1]["val_mAP"] == rows[-1]["val_mAP"]

    trained = {file: file.stat().st_mtime_ns for file in (study / "ablation").rglob(WEIGHTS)}
    assert len(trained) == 3
    shutil.rmtree(study / "ablation" / "1-learning_rate")
    again = run_module("tuning.retrain", *arguments)
    assert again.returncode == 0 and again.stdout.count("this run is finished") == 2
    assert read_history(study / "ablation.csv") == rows
    kept = {file: file.stat().st_mtime_ns for file in trained if "1-learning_rate" not in str(file)}
    assert kept.items() <= trained.items() and len(kept) == 2


def test_a_step_that_diverges_is_a_row_like_others_and_a_table_of_another_winner_is_not_shown(
    study, tiny_data, tmp_path, run_module
):
    choose(study, learning_rate=10, weight_decay=1.0)  # every step multiplies the weights by -9
    done = run_module("tuning.retrain", study, "--ablation", "--data-dir", tiny_data, "--cache-dir", tmp_path / "cache")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training diverged" in done.stdout
    assert "| 2 | weight_decay | 0.0001 | 1 | diverged |  |" in (study / "summary.md").read_text()
    record = Study(study)
    record.set_attribute("ablation", [{**row, "trial": 4711} for row in record.attributes["ablation"]])
    assert run_module("tuning.report", study).returncode == 0
    assert "From the default" not in (study / "summary.md").read_text()
