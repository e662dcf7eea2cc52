"""A real search, end to end: what it leaves, how it goes on, and what the commands after it make of it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from filelock import FileLock

from reid_train.checkpoint import WEIGHTS, load_checkpoint
from reid_train.config import read_config
from tuning.decide.ranking import best_first
from tuning.record.study import Study

ROOT = Path(__file__).resolve().parents[2]


def test_search_has_a_best_a_pruned_and_a_failed_trial_and_says_why(finished_search):
    folder, done = finished_search
    trials = Study(folder).trials()
    assert [trial.number for trial in trials] == list(range(5))
    assert {"complete", "pruned", "failed"} == {trial.state for trial in trials}
    assert trials[1].state == "failed" and trials[1].cause.startswith("diverged: ")
    assert all(trial.cause.startswith("not among the best") for trial in trials if trial.state == "pruned")
    assert "trial 1 failed: diverged" in done.stdout


def test_every_epoch_is_on_record_and_scores_are_those_of_a_rungs_end(finished_search):
    folder, _ = finished_search
    for trial in Study(folder).trials():
        if trial.state == "failed":
            continue
        expected = [(2, 1), (2, 2)] + ([(3, 3)] if trial.state == "complete" else [])
        assert [(report["rung"], report["epoch"]) for report in trial.reports] == expected
        ends = {r["rung"]: r["val_mAP"] for r in trial.reports if r["epoch"] == r["rung"]}
        assert trial.scores == ends


def test_tables_agree_with_the_record(finished_search):
    folder, _ = finished_search
    trials = Study(folder).trials()
    table = pd.read_csv(folder / "trials.csv")
    assert table["number"].tolist() == [trial.number for trial in trials]
    assert table["state"].tolist() == [trial.state for trial in trials]
    assert table["epochs"].tolist() == [trial.epochs for trial in trials]
    for row, trial in zip(table.itertuples(), trials, strict=True):
        if trial.score is not None:
            assert row.val_mAP == pytest.approx(trial.score, rel=1e-5)
        assert row.learning_rate == pytest.approx(trial.parameters["learning_rate"], rel=1e-5)
        assert len(pd.read_csv(folder / "history" / f"{trial.number}.csv")) == trial.epochs if trial.epochs else True


def test_best_is_the_best_of_the_longest_schedule_and_its_weights_are_kept(finished_search):
    folder, _ = finished_search
    complete = [trial for trial in Study(folder).trials() if trial.state == "complete"]
    best = max(complete, key=lambda trial: trial.score)
    kept = load_checkpoint(folder / "best")
    assert json.loads((folder / "best" / "trial.json").read_text())["of"] == f"trial {best.number}"
    assert kept.metrics["val_mAP"] == pytest.approx(best.score)
    assert kept.config.learning_rate == pytest.approx(best.parameters["learning_rate"])
    assert kept.epoch == kept.config.num_epochs == 3
    assert read_config(str(folder / "best_config.yaml")).learning_rate == kept.config.learning_rate


def test_only_the_best_three_leave_files_and_only_their_weights(finished_search):
    folder, _ = finished_search
    left = {int(trial.name): trial for trial in (folder / "trials").iterdir()}
    assert left.keys() == {trial.number for trial in best_first(Study(folder).trials())[:3]}
    for trial in left.values():
        assert sorted(file.name for file in trial.rglob("*") if file.is_file()) == sorted([WEIGHTS, "model.json"])


def test_everything_promised_is_there(finished_search):
    folder, done = finished_search
    for name in ("space.yaml", "environment.json", "study.db", "summary.md", "test_metrics.json", "best_config.yaml"):
        assert (folder / name).is_file(), name
    plots = {"optimization_history", "parameter_importance", "parallel_coordinates", "slices", "learning_curves"}
    for name in plots | {"best_training_history"}:
        assert (folder / "plots" / f"{name}.png").stat().st_size > 5_000, name
    test = json.loads((folder / "test_metrics.json").read_text())
    assert 0 < test["mAP"] <= 1 and test["queries"] > 0
    low, high = test["intervals"]["mAP"]
    assert low <= test["mAP"] <= high and test["identities"] == 4
    assert [evaluation["for"] for evaluation in test["evaluations"]] == [f"search's end, {test['best']['of']}"]
    told = f"evaluated once for this study (search's end): mAP (mean of precisions) {test['mAP']:.1%} ("
    assert told in done.stdout and told in (folder / "summary.md").read_text()
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["versions"]["torch"] and environment["data_fingerprint"]
    assert "untrained default: val_mAP" in done.stdout
    edge = "weight_decay 0.0001 is the smallest of 0.0001, 1: try "
    assert edge in done.stdout and edge in (folder / "summary.md").read_text()
    assert " images at 32 x 16: " in done.stdout and " 0 decoded now" not in done.stdout
    assert yaml.safe_load((folder / "space.yaml").read_text())["study"]["trials"] == 5
    assert not (folder / "ray").exists()


def test_same_command_on_a_finished_study_prints_the_result_and_trains_nothing(
    finished_search, tiny_data, tiny_space, run_module
):
    folder, _ = finished_search
    before, test_before = Study(folder).trials(), (folder / "test_metrics.json").stat().st_mtime_ns
    command = ["--space", tiny_space, "--data-dir", tiny_data, "--results", folder.parent]
    done = run_module("tuning.search", *command, "--cache-dir", folder.parent / "cache")
    assert done.returncode == 0
    assert re.search(r"\d+ images at 32 x 16: 0 decoded now", done.stdout)
    assert "best: trial" in done.stdout
    assert Study(folder).trials() == before
    assert (folder / "test_metrics.json").stat().st_mtime_ns == test_before, "the test set is evaluated once"


def test_another_space_on_the_same_folder_is_refused_and_nothing_is_touched(
    finished_search, tiny_data, tmp_path, run_module
):
    folder, _ = finished_search
    other = tmp_path / "tiny.yaml"
    other.write_text((folder / "space.yaml").read_text().replace("fc_width: 32", "fc_width: 64"))
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    done = run_module("tuning.search", "--space", other, "--data-dir", tiny_data, "--results", folder.parent)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "fixed.fc_width was 32, is now 64" in done.stderr
    after = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    assert {f: t for f, t in after.items() if f.stem not in ("study", "search")} == {
        f: t for f, t in before.items() if f.stem not in ("study", "search")
    }


def test_a_second_search_on_the_same_folder_is_refused(finished_search, tiny_data, tiny_space, run_module):
    folder, _ = finished_search
    (folder / "search.pid").write_text("4711")
    with FileLock(folder / "search.lock"):
        done = run_module("tuning.search", "--space", tiny_space, "--data-dir", tiny_data, "--results", folder.parent)
    assert done.returncode == 2
    assert "process 4711 is searching here" in done.stderr and done.stderr.count("\n") == 1


def test_report_rebuilds_tables_and_plots_from_the_study_alone(finished_search, run_module):
    folder, _ = finished_search
    kept = (folder / "trials.csv").read_text()
    for file in [folder / "trials.csv", *(folder / "plots").glob("*.png"), *(folder / "history").glob("*.csv")]:
        file.unlink()
    done = run_module("tuning.report", folder, "--top", 2)
    assert done.returncode == 0, done.stderr
    assert "best 2 of 5 trials" in done.stdout
    assert (folder / "trials.csv").read_text() == kept
    assert len(list((folder / "plots").glob("*.png"))) == 6


def test_retrain_uses_all_identities_and_reports_every_seed(finished_search, run_module):
    folder, _ = finished_search
    for seeds in (1, 2):  # the second time only seed 1 is trained and evaluated
        done = run_module("tuning.retrain", folder, "--epochs", 2, "--seeds", seeds)
        assert done.returncode == 0, done.stderr
    assert "evaluated 3 times for this study (search's end, retrain 2 times)" in (folder / "summary.md").read_text()
    counted = json.loads((folder / "test_metrics.json").read_text())["evaluations"]
    assert [each["for"] for each in counted[1:]] == [f"retrain, 2-epochs-seed-{seed}" for seed in (0, 1)]
    table = pd.read_csv(folder / "retrain" / "results.csv")
    assert table["seed"].tolist() == [0, 1]
    assert "mean ± sd" in (folder / "retrain" / "summary.md").read_text()
    for seed in (0, 1):
        run = folder / "retrain" / f"2-epochs-seed-{seed}"
        assert len(load_checkpoint(run).identities) == 20, "validation identities are trained on"
        history = pd.read_csv(run / "history.csv")
        assert history["val_ce_loss"].notna().all() and history["val_accuracy"].notna().all()
        assert (run / "history.png").is_file()


@pytest.mark.parametrize("polite", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.reliability)])
def test_interrupted_search_goes_on_with_the_command_it_prints(polite, tmp_path, tiny_data, tiny_space, run_module):
    arguments = ["--space", str(tiny_space), "--data-dir", str(tiny_data), "--results", str(tmp_path)]
    arguments += ["--trials", "3", "--cpus-per-trial", "1", "--set", "learning_rate=0.05", "--set", "optimizer=adamw"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tuning.search", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _wait_for_a_report(tmp_path / "tiny", process)
    process.send_signal(polite)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert f"python -m tuning.search {' '.join(arguments)}" in errors
    report = run_module("tuning.report", tmp_path / "tiny")
    assert "unfinished: 0 of 3 trials. To go on:" in report.stdout and " ".join(arguments) in report.stdout
    interrupted = Study(tmp_path / "tiny").trials()
    assert not [trial for trial in interrupted if trial.state == "running"]

    done = run_module("tuning.search", *arguments)
    assert done.returncode == 0, done.stderr
    trials = Study(tmp_path / "tiny").trials()
    assert len(trials) == 3
    assert all(trial.state in ("complete", "pruned", "failed") for trial in trials)
    for before in interrupted:
        assert trials[before.number].parameters == before.parameters


def _wait_for_a_report(folder: Path, process: "subprocess.Popen[str]") -> None:
    for _ in range(600):
        time.sleep(0.2)
        assert process.poll() is None, process.communicate()
        # Not before environment.json is there: opening a data base that is being made disturbs its making.
        if (folder / "environment.json").is_file() and any(trial.reports for trial in Study(folder).trials()):
            return
    raise AssertionError("no epoch was reported in two minutes")


def test_a_search_begins_with_the_best_of_an_earlier_one_and_scores_them_itself(
    finished_search, tiny_data, tmp_path, run_module
):
    other = tmp_path / "other.yaml"
    space = yaml.safe_load((finished_search[0] / "space.yaml").read_text())
    other.write_text(yaml.safe_dump({**space, "first_trials": [], "study": {"rungs": [1], "trials": 1}}))
    earlier = tmp_path / "earlier"
    shutil.copytree(finished_search[0], earlier, ignore=shutil.ignore_patterns("trials", "plots", "best"))
    command = ["--space", other, "--data-dir", tiny_data, "--results", tmp_path, "--warm-start", earlier]
    command += ["--cpus-per-trial", 1, "--set", "pct_start=0.5"]
    done = run_module("tuning.search", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = [trial.parameters for trial in best_first(Study(earlier).trials()) if trial.state != "failed"][:2]
    assert f"warm start {earlier}, trial " in done.stdout and "pct_start 0.5 instead of 0.4" in done.stdout
    shutil.rmtree(earlier)  # what was taken from it is on record
    done = run_module("tuning.search", *command, "--trials", 2)
    assert done.returncode == 0 and "those that the study began with" in done.stdout
    trials = Study(tmp_path / "other").trials()
    assert [trial.parameters for trial in trials] == expected
    assert all([report["epoch"] for report in trial.reports] == [1] for trial in trials), "each was trained here"
