"""A real search, end to end: what it leaves, how it goes on, and what the commands after it make of it."""

import json
import re
import shlex
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
import yaml
from filelock import FileLock

from reid_train.checkpoints.checkpoint import WEIGHTS, load_checkpoint
from reid_train.settings.config import read_config
from tests.commands import run_here
from tests.watched_search import seen_in, watch_search
from tuning.decide.keep import best_few
from tuning.decide.pareto import best_trials
from tuning.record.cause import Kind
from tuning.record.lock import lock_folder
from tuning.record.study import Study
from tuning.record.trial import ENDED, TrialState
from tuning.space.read import read_space

STILL = {TrialState.COMPLETE, TrialState.PAUSED, TrialState.FAILED}
"""How trials stand when a search has ended."""


def test_search_has_a_complete_a_paused_and_a_failed_trial_and_says_why(finished_search):
    folder, done = finished_search
    trials = Study(folder).trials()
    assert [trial.number for trial in trials] == list(range(5))
    assert {trial.state for trial in trials} == STILL
    assert trials[1].state is TrialState.FAILED and trials[1].cause.kind is Kind.DIVERGED
    assert "trial 1 failed: diverged: " in done.stdout
    assert "plan: about 5 configurations for 2 epochs, " in done.stdout


def test_every_epoch_is_on_record_and_scores_are_those_of_a_rungs_end(finished_search):
    folder, _ = finished_search
    for trial in Study(folder).trials():
        if trial.state is TrialState.FAILED:
            continue
        expected = [(2, 1), (2, 2)] + ([(3, 1), (3, 2), (3, 3)] if trial.state is TrialState.COMPLETE else [])
        assert [(epoch.rung, epoch.report.epoch) for epoch in trial.reports] == expected
        ends = {rung: report.val_mAP for rung, report in trial.reports if report.epoch == rung}
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


def test_best_is_what_is_expected_to_be_best_of_the_longest_schedule_and_its_weights_are_kept(finished_search):
    folder, _ = finished_search
    study = Study(folder)
    best = best_trials(study)[0]
    kept = load_checkpoint(folder / "best")
    of = "default" if {**study.space.default, **best.parameters} == study.space.default else f"trial {best.number}"
    assert best.state is TrialState.COMPLETE
    assert json.loads((folder / "best" / "trial.json").read_text())["of"] == of
    assert kept.metrics["val_mAP"] == pytest.approx(best.score)
    assert kept.config.learning_rate == pytest.approx(best.parameters["learning_rate"])
    assert kept.config.seed == study.config(best.number).seed
    assert kept.epoch == kept.config.num_epochs == 3
    assert read_config(str(folder / "best_config.yaml")).learning_rate == kept.config.learning_rate


def test_only_the_best_few_leave_files_and_only_their_weights(finished_search):
    folder, _ = finished_search
    left = {int(trial.name): trial for trial in (folder / "trials").iterdir()}
    assert left.keys() <= best_few(Study(folder))
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
    silent = ["\nstarting Ray ...\n", "\nchoosing the winner ...\n", "\nnext: "]
    assert [done.stdout.find(line) for line in silent] == sorted({done.stdout.find(line) for line in silent} - {-1})
    assert "what matters" not in done.stdout, "of five trials that is not known"
    assert re.search(r"[1-9]\d* images at 32 x 16: [1-9]\d* decoded now", done.stdout)
    assert yaml.safe_load((folder / "space.yaml").read_text())["study"]["trials"] == 5
    assert not (folder / "ray").exists()


def command_for(watched, folder):
    """The arguments of the search, for a copy of its study."""
    arguments = [*watched.arguments]
    arguments[arguments.index("--results") + 1] = str(folder.parent)
    return arguments


@pytest.mark.parametrize("fewer", [[], ["--trials", 4]])
def test_same_command_on_a_finished_study_prints_the_result_without_the_images_whatever_the_code(
    finished_copy, watched_search, monkeypatch, fewer
):
    Study(finished_copy).note(training_code="0" * 64)
    monkeypatch.setattr("tuning.prepare.begin.read_training", None)
    before = {file: file.read_bytes() for file in finished_copy.rglob("*") if file.is_file()}
    done = run_here("tuning.search", *command_for(watched_search, finished_copy), *fewer)
    assert done.returncode == 0, done.stdout + done.stderr
    last = watched_search.sessions[-1].stdout
    assert "winner: " in done.stdout and f"{finished_copy}: finished; " in done.stdout
    assert {*done.stdout.splitlines()} >= {line for line in last.splitlines() if line.startswith(("winner: ", "test"))}
    assert {file: file.read_bytes() for file in finished_copy.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("gone", ["summary.md", "best/model.safetensors", "test_metrics.json"])
def test_what_is_gone_of_a_finished_study_is_made_again_without_training_whatever_the_code(
    finished_copy, watched_search, gone
):
    study = Study(finished_copy)
    study.note(training_code="0" * 64)
    before = study.trials()
    (finished_copy / gone).unlink()
    done = run_here("tuning.search", *command_for(watched_search, finished_copy))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d+ images at 32 x 16: 0 decoded now", done.stdout)
    assert (finished_copy / gone).is_file() and Study(finished_copy).trials() == before
    assert "finished; " in run_here("tuning.search", *command_for(watched_search, finished_copy)).stdout


def test_the_test_images_are_kept_decoded_as_the_options_say(finished_copy, watched_search, tmp_path):
    (finished_copy / "test_metrics.json").unlink()
    options = ["--cache-dir", tmp_path / "cache", "--cache-limit", "0.000001"]  # a kibibyte: nothing is kept
    command = command_for(watched_search, finished_copy)
    done = run_here("tuning.search", *command, *options, XDG_CACHE_HOME=str(tmp_path / "xdg"))
    assert done.returncode == 0 and (finished_copy / "test_metrics.json").is_file(), done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.pixels"))


def test_a_winner_whose_weights_are_gone_is_trained_again_with_the_command_that_is_printed(
    finished_copy, watched_search, tmp_path
):
    for name in ("best", "trials"):
        shutil.rmtree(finished_copy / name)
    (finished_copy / "best_config.yaml").unlink()
    done = run_here("tuning.search", *command_for(watched_search, finished_copy))
    assert done.returncode == 2 and "are gone; train it again: " in done.stderr, done.stdout + done.stderr
    module, *arguments = shlex.split(done.stderr.split(" -m ")[1])
    again = run_here(module, *arguments, "--cache-dir", tmp_path / "cache")
    assert again.returncode == 0 and list((finished_copy / "retrain").rglob(WEIGHTS)), again.stderr


def test_a_larger_budget_or_other_images_make_a_finished_study_unfinished(finished_copy, watched_search, tmp_path):
    Study(finished_copy).note(training_code="0" * 64)
    command = command_for(watched_search, finished_copy)
    for more in (["--trials", 6], ["--data-dir", tmp_path / "elsewhere"]):
        done = run_here("tuning.search", *command, *more)
        assert done.returncode == 2 and "finished; " not in done.stdout, done.stdout


def test_another_space_on_the_same_folder_is_refused_and_nothing_is_touched(finished_copy, tiny_data, tmp_path):
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "tiny.yaml"
    other.write_text((finished_copy / "space.yaml").read_text().replace("fc_width: 32", "fc_width: 64"))
    before = {file: file.stat().st_mtime_ns for file in finished_copy.rglob("*") if file.is_file()}
    done = run_here("tuning.search", "--space", other, "--data-dir", tiny_data, "--results", finished_copy.parent)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "fixed.fc_width was 32, is now 64" in done.stderr
    after = {file: file.stat().st_mtime_ns for file in finished_copy.rglob("*") if file.is_file()}
    assert {f: t for f, t in after.items() if f.stem not in ("study", "search")} == {
        f: t for f, t in before.items() if f.stem not in ("study", "search")
    }


def test_a_report_of_a_running_search_says_that_it_runs(tiny_space, tmp_path, finished_copy):
    begun = Study(tmp_path / "begun", read_space(tiny_space)).folder
    assert "To go on:" in run_here("tuning.report", begun).stdout
    assert "next:" in run_here("tuning.report", finished_copy).stdout
    for folder in (begun, finished_copy):  # the second goes on with a larger budget
        with lock_folder(folder):
            (folder / "search.pid").write_text("4711\n")
            shown = run_here("tuning.report", folder).stdout
        assert "process 4711 is searching here" in shown and "To go on" not in shown and "next:" not in shown


def test_a_study_from_another_machine_says_how_its_weights_are_named_here(finished_copy, tmp_path):
    config = finished_copy / "best_config.yaml"
    config.write_text(config.read_text().replace("pretrained: none", "pretrained: /home/ann/weights.pth"))
    for more in ([], ["--ablation"]):
        refused = run_here("tuning.retrain", finished_copy, *more)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1
        assert (
            "pretrained=/home/ann/weights.pth: no such file" in refused.stderr and "--pretrained FILE" in refused.stderr
        )
        assert not (finished_copy / "retrain").exists() and not (finished_copy / "ablation").exists()
    here, cache = finished_copy / "best", ["--cache-dir", tmp_path / "cache"]
    done = run_here("tuning.retrain", finished_copy, "--epochs", 2, "--pretrained", here, *cache)
    assert done.returncode == 0, done.stderr


def test_a_second_search_on_the_same_folder_is_refused(tiny_data, tiny_space, tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "search.pid").write_text("4711")
    with FileLock(folder / "search.lock"):
        done = run_here("tuning.search", "--space", tiny_space, "--data-dir", tiny_data, "--results", tmp_path)
    assert done.returncode == 2
    assert "process 4711 is searching here" in done.stderr and done.stderr.count("\n") == 1


def test_report_rebuilds_tables_and_plots_from_the_study_alone(finished_copy):
    folder = finished_copy
    kept = (folder / "trials.csv").read_text()
    for file in [folder / "trials.csv", *(folder / "plots").glob("*.png"), *(folder / "history").glob("*.csv")]:
        file.unlink()
    done = run_here("tuning.report", folder, "--top", 2)
    assert done.returncode == 0, done.stderr
    assert "best 2 of 5 trials" in done.stdout
    assert (folder / "trials.csv").read_text() == kept
    assert len(list((folder / "plots").glob("*.png"))) == 6


def test_retrain_uses_all_identities_and_reports_every_seed(finished_copy, without_ray, tmp_path):
    folder = finished_copy
    for seeds in (1, 2):  # the second time only seed 1 is trained and evaluated
        done = run_here("tuning.retrain", folder, "--epochs", 2, "--seeds", seeds, "--cache-dir", tmp_path / "cache")
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


@pytest.fixture(params=[signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.reliability)])
def interrupted(request, watched_search, tiny_data, tiny_space, tmp_path):
    """A search that was interrupted and went on to its end."""
    if request.param == signal.SIGINT:
        return watched_search
    watch_search(tmp_path, tiny_space, tiny_data, umask=0o022, polite=request.param)
    return seen_in(tmp_path)


def test_an_interrupted_search_goes_on_with_the_command_it_prints(interrupted, tmp_path):
    first, last = interrupted.sessions
    assert first.returncode == 130, first.stderr
    command = f"python -m tuning.search {' '.join(interrupted.arguments)}"
    assert command in first.stderr and "Traceback" not in first.stderr
    folder = Path(shutil.copytree(interrupted.interrupted, tmp_path / "copy"))
    report = run_here("tuning.report", folder)
    assert re.search(r"unfinished: \d trials? ended. To go on:", report.stdout) and command in report.stdout
    before = Study(folder).trials()
    assert before and not [trial for trial in before if trial.state is TrialState.RUNNING], "settled"
    assert not {trial.state for trial in before} <= ENDED, "it was interrupted in the middle"

    assert last.returncode == 0, last.stderr
    trials = Study(interrupted.folder).trials()
    assert len(trials) == 5 and {trial.state for trial in trials} <= STILL
    for trial in before:
        assert trials[trial.number].parameters == trial.parameters
        assert trial.scores.items() <= trials[trial.number].scores.items(), "no rung was climbed twice"


def test_a_search_begins_with_the_best_of_an_earlier_one_and_scores_them_itself(
    finished_search, tiny_data, tmp_path, without_ray
):
    other = tmp_path / "other.yaml"
    space = yaml.safe_load((finished_search[0] / "space.yaml").read_text())
    other.write_text(yaml.safe_dump({**space, "first_trials": [], "study": {"rungs": [1], "trials": 2}}))
    earlier = tmp_path / "earlier"
    shutil.copytree(finished_search[0], earlier, ignore=shutil.ignore_patterns("trials", "plots", "best"))
    command = ["--space", other, "--data-dir", tiny_data, "--results", tmp_path, "--warm-start", earlier]
    command += ["--cpus-per-trial", 1, "--set", "pct_start=0.5", "--cache-dir", tmp_path / "cache"]
    done = run_here("tuning.search", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    scored = [trial for trial in best_trials(Study(earlier)) if trial.state is not TrialState.FAILED]
    assert f"warm start {earlier}, trial " in done.stdout and "pct_start 0.5 instead of 0.4" in done.stdout
    shutil.rmtree(earlier)  # what was taken from it is on record
    done = run_here("tuning.search", *command, "--trials", 3)
    assert done.returncode == 0 and "those that the study began with" in done.stdout
    trials = Study(tmp_path / "other").trials()
    tried = [trial.parameters for trial in trials]
    assert tried[0] == Study(tmp_path / "other").space.default
    assert all(parameters in [trial.parameters for trial in scored] for parameters in tried[1:])
    assert all([epoch.report.epoch for epoch in trial.reports] == [1] for trial in trials), "each was trained here"
