"""The winner: what it is chosen from, how sure the choice is, and a real search that repeats its best."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from reid_train.checkpoints.checkpoint import load_checkpoint
from tests.reports import epoch_report
from tuning.confirm import winner
from tuning.confirm.candidates import DEFAULT, Candidate, Comparison, candidates
from tuning.confirm.winner import choose
from tuning.record.folders import repeat_folder, trial_folder
from tuning.record.study import OWN_SEED, Study
from tuning.record.trial import Decision, TrialState
from tuning.result.best import drop_repeats
from tuning.space.read import read_space

ROOT = Path(__file__).resolve().parents[3]
SPACE = """\
fixed: {backbone: resnet18, pretrained: none, seed: 5}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  margin: [0.1, 0.3, soft]
FIRST
study: {epochs: 200, rungs: [2, 4]}
"""


@pytest.fixture
def make_space(tmp_path):
    def made(first=""):
        file = tmp_path / "space.yaml"
        file.write_text(SPACE.replace("FIRST", first))
        return read_space(file)

    return made


@pytest.fixture
def records(make_space):
    space = make_space()
    return Study("s", space, in_memory=True), Study("s", space, name="repeats", in_memory=True)


def trial(study, score, rung=4, seconds=1.0, **parameters):
    number = study.add({"margin": 0.3, **parameters}, {OWN_SEED: True})
    study.record(number, rung, epoch_report(rung, val_mAP=score, seconds=seconds))
    if rung == 4:
        study.finish(number, TrialState.COMPLETE)
    else:
        study.decide(number, rung, Decision.PAUSED)
    return number


def repeat(study, record, number, *scores):
    """Runs of a trial's configuration with new seeds."""
    for place, score in enumerate(scores):
        notes = {"of": f"trial {number}", "parameters": study.trial(number).parameters, "seed": 100 + place}
        row = record.add({}, notes)
        record.record(row, 4, epoch_report(4, val_mAP=score))
        record.finish(row, TrialState.COMPLETE)


def test_of_each_configurations_runs_the_middle_ones_weights_stay(make_space, tmp_path):
    space = make_space()
    study, record = (Study(tmp_path, space, name=name, in_memory=True) for name in ("study", "repeats"))
    trial(study, 0.4, learning_rate=0.01)
    trial(study, 0.5, learning_rate=0.001)
    repeat(study, record, 0, 0.41, 0.43, 0.42, 0.44)
    repeat(study, record, 1, 0.48, 0.52)
    waiting = record.add({}, {"of": "trial 1", "parameters": study.trial(1).parameters, "seed": 200})
    record.interrupt(waiting)
    places = [trial_folder(tmp_path, number) for number in (0, 1)] + [repeat_folder(tmp_path, n) for n in range(7)]
    for place in places:
        (place / "4-epochs").mkdir(parents=True)
        (place / "4-epochs" / "model.safetensors").touch()
    drop_repeats(study, record)
    left = sorted(int(place.name) for place in (tmp_path / "repeats").iterdir())
    assert left == [2, waiting], "0.42 is in the middle of trial 0's runs, trial 1's own run of its"
    assert all(place.is_dir() for place in places[:2])
    drop_repeats(study, record)
    assert sorted(int(place.name) for place in (tmp_path / "repeats").iterdir()) == left


def test_the_default_is_the_first_trial_completed_by_the_defaults(make_space):
    assert make_space().default == {"learning_rate": 1e-3, "margin": 0.3}
    space = make_space("first_trials: [{learning_rate: 0.01}]")
    assert space.default == {"learning_rate": 0.01, "margin": 0.3}


def test_the_winner_is_among_what_was_trained_longest_with_all_of_its_runs(records):
    study, record = records
    trial(study, 0.9, rung=2, learning_rate=0.05)
    trial(study, 0.4, learning_rate=0.01)
    trial(study, 0.5, learning_rate=0.001)
    repeat(study, record, 1, 0.41, 0.42)
    found = candidates(study, record)
    assert [one.of for one in found] == ["trial 1", DEFAULT]
    assert [run.score for run in found[0].runs] == [0.4, 0.41, 0.42]
    assert [run.seed for run in found[0].runs] == [study.config(1).seed, 100, 101]


@pytest.mark.parametrize("top", [False, True])
def test_a_default_that_was_trained_for_less_is_not_beaten_on_these_identities_for_certain(
    records, monkeypatch, tmp_path, top
):
    """What the winner scores varies with identities as much whether or not the default's weights are there."""
    study, record = records
    study.folder = tmp_path
    trial(study, 0.3, rung=4 if top else 2, learning_rate=1e-3)
    trial(study, 0.5, learning_rate=0.01)
    folder = trial_folder(tmp_path, 1) / "4-epochs"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    known = {"scores": [0.2, 0.8, 0.5, 0.5], "queries": [1, 1, 1, 1]}
    monkeypatch.setattr(winner, "_identity_scores", lambda study, run, data, pixels: known)
    found = [*candidates(study, record)]
    best = next(one for one in found if one.of == "trial 1")
    default = next((one for one in found if one.of == DEFAULT), Candidate(DEFAULT, study.space.default, [], {}, False))
    own_sd = winner._own_sd(study, best, default, None, None)
    assert own_sd == pytest.approx(np.std(known["scores"]) / 2 * 2**0.5, rel=0.05)


def test_one_lucky_score_does_not_win_against_many_good_ones(records):
    study, record = records
    trial(study, 0.52, learning_rate=0.01)
    trial(study, 0.50, learning_rate=0.0003)
    repeat(study, record, 0, 0.30, 0.31, 0.29, 0.30)
    repeat(study, record, 1, 0.50, 0.51, 0.49, 0.50)
    found = candidates(study, record)
    compared = Comparison(study, record, found)
    assert found[choose(found, compared)].of == "trial 1"
    assert compared.p_best_C.sum() == pytest.approx(1) and compared.p_best_C[1] > 0.9
    assert compared.p_better(1, 0) == pytest.approx(1 - compared.p_better(0, 1))
    low, high = compared.interval(1)
    assert low < 0.5 < high


def test_how_long_runs_took_decides_nothing(make_space):
    def found(*seconds):
        study, record = (Study("s", make_space(), name=name, in_memory=True) for name in ("study", "repeats"))
        for place, took in enumerate(seconds):
            trial(study, (0.50, 0.51, 0.49)[place], learning_rate=(0.01, 0.003, 0.03)[place], seconds=took)
            repeat(study, record, place, (0.51, 0.52, 0.50)[place])
        compared = Comparison(study, record, candidates(study, record))
        return choose(candidates(study, record), compared), compared.p_best_C.tolist()

    place, p_best = found(1.0, 1.0, 1.0)
    assert found(0.1, 90.0, 5.0) == found(50.0, 0.2, 0.1) == (place, p_best) and p_best[place] == max(p_best)


def test_more_runs_make_the_interval_narrower(records):
    study, record = records
    for score, rate in ((0.5, 0.01), (0.4, 0.001), (0.3, 0.05), (0.35, 0.0003)):
        trial(study, score, learning_rate=rate)
    widths = []
    rng = np.random.default_rng(0)
    for _ in range(3):
        found = candidates(study, record)
        low, high = Comparison(study, record, found).interval(0)
        widths.append(high - low)
        repeat(study, record, 0, *(0.5 + 0.02 * rng.standard_normal(6)))
    assert widths[-1] < widths[0]


def test_what_exceeds_the_limits_cannot_win(records):
    study, record = records
    trial(study, 0.6, learning_rate=0.01)
    trial(study, 0.5, learning_rate=0.001)
    found = candidates(study, record)
    found[0] = found[0]._replace(eligible=False)
    compared = Comparison(study, record, found)
    assert choose(found, compared) == 1 and compared.p_best_C.tolist() == [0, 1]


def test_a_search_repeats_its_best_is_interrupted_there_and_goes_on(tiny_space, tiny_data, tmp_path, run_module):
    """Its space has two configurations: what is left of the budget repeats them."""
    space = yaml.safe_load(tiny_space.read_text())
    space["study"] = {"epochs": 90, "rungs": [3], "concurrency": 1}
    space["search"] = {"learning_rate": [0.03, 0.05]}
    space["first_trials"] = [{"learning_rate": rate} for rate in (0.03, 0.05)]
    file = tmp_path / "repeated.yaml"
    file.write_text(yaml.safe_dump(space))
    command = ["--space", file, "--data-dir", tiny_data, "--results", tmp_path, "--cache-dir", tmp_path / "cache"]
    search = subprocess.Popen(
        [sys.executable, "-m", "tuning.search", *map(str, command)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert search.stdout is not None
    said, deadline = "", time.monotonic() + 240
    for line in search.stdout:
        said += line
        if (", seed " in line and " complete" in line) or time.monotonic() > deadline:
            os.kill(search.pid, signal.SIGINT)
            break
    assert "plan: " in said
    search.communicate(timeout=120)
    folder = tmp_path / "repeated"
    before = [run for run in Study(folder, name="repeats").trials() if run.state is TrialState.COMPLETE]
    assert 1 <= len(before) < 28 and not (folder / "confirmation.csv").exists()

    done = run_module("tuning.search", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = Study(folder, name="repeats").trials()
    assert len(runs) == 28 and all(run.state is TrialState.COMPLETE and run.epochs == 3 for run in runs)
    assert [runs[run.number] for run in before] == before, "they were not trained again"
    trials = Study(folder).trials()
    table = pd.read_csv(folder / "confirmation.csv")
    assert set(table["configuration"]) == {"default", "trial 1"} and len(trials) == 2
    for row in table.to_dict("records"):
        own = trials[0 if row["configuration"] == "default" else 1]
        mine = [own.score, *(run.score for run in runs if run.notes["of"] == row["configuration"])]
        assert [float(score) for score in row["scores"].split()] == pytest.approx(mine, abs=1e-4)
        assert row["runs"] == len(mine) and row["low"] <= row["mean"] <= row["high"]
    assert table["p_best"].sum() == pytest.approx(1, abs=1e-3)
    label = json.loads((folder / "best" / "trial.json").read_text())
    assert label["of"] == table["configuration"][0]
    assert load_checkpoint(folder / "best").config.seed == label["seed"]
    summary = (folder / "summary.md").read_text()
    assert "## Confirmation" in summary and f"winner: {label['of']}" in summary
