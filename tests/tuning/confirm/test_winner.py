"""Repeats and confirmation: which runs are made, who wins, and that nothing is run twice."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from reid_train.checkpoints.checkpoint import load_checkpoint
from tests.reports import epoch_report
from tuning.confirm.candidates import confirmation_runs, noise, noise_runs, reserved_epochs, smallest_difference
from tuning.confirm.repeats import Repeats, find
from tuning.confirm.winner import choose
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.space.read import read_space

ROOT = Path(__file__).resolve().parents[3]
SPACE = """\
fixed: {backbone: resnet18, pretrained: none, seed: 5}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  margin: [0.1, 0.3, soft]
FIRST
study: {trials: 8, rungs: [2, 4], top_k: 2, seeds: 3, noise_seeds: 2}
"""


@pytest.fixture
def make_space(tmp_path):
    def made(first=""):
        file = tmp_path / "space.yaml"
        file.write_text(SPACE.replace("FIRST", first))
        return read_space(file)

    return made


def complete(study, score, **parameters):
    """A trial that was trained to the top."""
    number = study.add(parameters)
    study.record(number, 4, epoch_report(4, val_mAP=score))
    study.finish(number, TrialState.COMPLETE)
    return number


def repeats(record, wanted):
    """These runs as what is to be run."""
    return Repeats(record, record.plan, wanted, "test")


def run_all(record, wanted, score=lambda run: 0.5):
    """Trains what is wanted, as Ray would; gives what was run."""
    work, done = repeats(record, wanted), []
    while (number := work.next_trial()) is not None:
        assert work.job(number).rungs == (4,)
        notes = record.trial(number).notes
        record.record(number, 4, epoch_report(4, val_mAP=score(notes), seconds=60.0))
        assert not work.at_rung_end(number, 4)
        done.append((notes["of"], notes["seed"]))
    return done


def test_the_default_is_the_first_trial_completed_by_the_defaults(make_space):
    assert make_space().default == {"learning_rate": 1e-3, "margin": 0.3}
    space = make_space("first_trials: [{learning_rate: 0.01}]")
    assert space.default == {"learning_rate": 0.01, "margin": 0.3}


def test_the_best_and_the_default_get_the_same_new_seeds_and_known_runs_are_not_run_again(make_space):
    space = make_space()
    study = Study("s", space, in_memory=True)
    record = Study("s", space, name="repeats", in_memory=True)
    assert run_all(record, noise_runs(space)) == [("default", 6), ("default", 7)]  # 5 is every trial's
    for score, rate in ((0.3, 0.01), (0.5, 0.02), (0.4, 0.03)):
        complete(study, score, learning_rate=rate, margin=0.1)
    wanted = confirmation_runs(study)
    assert [(run.of, run.seed) for run in wanted] == [
        (name, seed) for name in ("trial 1", "trial 2", "default") for seed in (6, 7, 8)
    ]
    assert repeats(record, wanted).planned == 9
    assert sorted(run_all(record, wanted)) == sorted(
        [(name, seed) for name in ("trial 1", "trial 2") for seed in (6, 7, 8)] + [("default", 8)]
    )
    assert not repeats(record, wanted).has_work() and run_all(record, wanted) == []
    configs = [repeats(record, wanted).job(run.number).config for run in record.trials()]
    assert {config.num_epochs for config in configs} == {4} and {config.seed for config in configs} == {6, 7, 8}
    assert len(study.trials()) == 3


def test_a_trial_that_is_the_default_is_confirmed_once(make_space):
    space = make_space("first_trials: [{learning_rate: 0.01, margin: 0.1}]")
    study = Study("s", space, in_memory=True)
    complete(study, 0.9, learning_rate=0.01, margin=0.1)
    complete(study, 0.5, learning_rate=0.02, margin=0.1)
    assert {run.of for run in confirmation_runs(study)} == {"trial 1", "default"}


def test_an_interrupted_run_goes_on_and_a_failed_one_is_not_tried_again(make_space):
    space = make_space()
    record, wanted = Study("s", space, name="repeats", in_memory=True), noise_runs(space)
    work = repeats(record, wanted)
    first = work.next_trial()
    record.settle()
    assert work.next_trial() == first
    record.finish(first, TrialState.FAILED, Cause(Kind.DIVERGED, "at step 3"))
    assert [seed for _, seed in run_all(record, wanted)] == [7]
    assert find(record, wanted[0]).state is TrialState.FAILED


def test_an_interrupted_run_that_is_no_longer_wanted_stays_where_it_is(make_space):
    space = make_space()
    record, wanted = Study("s", space, name="repeats", in_memory=True), noise_runs(space)
    unwanted = repeats(record, [wanted[0]._replace(seed=99)]).next_trial()
    record.settle()
    assert run_all(record, wanted) == [("default", 6), ("default", 7)]
    assert record.trial(unwanted).state is TrialState.WAITING


def test_noise_and_the_smallest_difference_by_hand(make_space):
    space = make_space()
    record = Study("s", space, name="repeats", in_memory=True)
    assert noise(record) is None
    run_all(record, noise_runs(space), score=lambda notes: {6: 0.5, 7: 0.52}[notes["seed"]])
    found = noise(record)
    assert found == pytest.approx((0.51, 0.02 / math.sqrt(2), 2))
    # t(0.975) with 1 + 2 * 2 = 5 degrees of freedom is 2.5706
    assert smallest_difference(space, found) == pytest.approx(2.5706 * found.sd * math.sqrt(2 / 3), rel=1e-4)
    assert reserved_epochs(Study("s", space, in_memory=True), 2) == math.ceil((3 * 3 - 2) / 2) * 4


def test_the_cheaper_of_two_that_are_as_good_wins_and_of_others_the_better():
    even = SimpleNamespace(
        p_best_C=np.array([0.45, 0.4, 0.15]),
        eligible_C=[True, True, True],
        p_better=lambda c, leader: {1: 0.45, 2: 0.1}[c],
    )
    assert choose(even, [[100.0, 110.0], [80.0, 90.0], [10.0]]) == 1
    assert choose(even, [[100.0, 110.0], [99.0, 99.0], [10.0]]) == 0
    assert choose(even, [[100.0, 110.0], [60.0, 106.0], [10.0]]) == 0  # may have been the machine's doing
    clear = SimpleNamespace(p_best_C=np.array([0.8, 0.2]), eligible_C=[True, True], p_better=lambda c, leader: 0.2)
    assert choose(clear, [[100.0], [10.0]]) == 0
    even.eligible_C = [True, False, True]
    assert choose(even, [[100.0], [80.0], [10.0]]) == 0


def test_a_search_confirms_its_best_is_interrupted_there_and_goes_on(tiny_space, tiny_data, tmp_path, run_module):
    space = yaml.safe_load(tiny_space.read_text())
    space["study"] |= {"trials": 2, "rungs": [3], "noise_seeds": 2, "top_k": 1, "seeds": 2, "concurrency": 1}
    space["first_trials"] = [{"learning_rate": rate, "weight_decay": 0.0001} for rate in (0.03, 0.05)]
    file = tmp_path / "confirmed.yaml"
    file.write_text(yaml.safe_dump(space))
    command = ["--space", file, "--data-dir", tiny_data, "--results", tmp_path, "--cache-dir", tmp_path / "cache"]
    search = subprocess.Popen(
        [sys.executable, "-m", "tuning.search", *map(str, command)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert search.stdout is not None
    said = ""
    deadline = time.monotonic() + 240
    for line in search.stdout:
        said += line
        if "trial 1, seed 1 complete" in line or time.monotonic() > deadline:
            os.kill(search.pid, signal.SIGINT)
            break
    assert "noise: val_mAP of the default" in said and "expected: " in said
    search.communicate(timeout=120)
    folder = tmp_path / "confirmed"
    known = {(run.notes["of"], run.notes["seed"]): run for run in Study(folder, name="repeats").trials()}
    assert known["trial 1", 1].state is TrialState.COMPLETE and not (folder / "confirmation.csv").exists()

    done = run_module("tuning.search", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = Study(folder, name="repeats").trials()
    names = [(run.notes["of"], run.notes["seed"]) for run in runs]
    assert sorted(names) == [("default", 1), ("default", 2), ("trial 1", 1), ("trial 1", 2)]
    assert all(run.state is TrialState.COMPLETE and run.epochs == 3 for run in runs)
    assert next(run for run in runs if run.number == known["trial 1", 1].number) == known["trial 1", 1]
    assert len(pd.read_csv(folder / "trials.csv")) == 2

    table = pd.read_csv(folder / "confirmation.csv")
    assert set(table["configuration"]) == {"default", "trial 1"}
    scores = {(run.notes["of"], run.notes["seed"]): run.score for run in runs}
    for row in table.to_dict("records"):
        mine = [scores[row["configuration"], seed] for seed in (1, 2)]
        assert [row["seed 1"], row["seed 2"]] == pytest.approx(mine)
        assert row["mean"] == pytest.approx(np.mean(mine), abs=1e-5)
        assert row["low"] <= row["mean"] <= row["high"]
    assert table["p_best"].sum() == pytest.approx(1, abs=1e-3)
    winner = table["configuration"][0]
    label = json.loads((folder / "best" / "trial.json").read_text())
    assert label["of"] == winner and label["score"] == min(scores[winner, 1], scores[winner, 2])
    assert load_checkpoint(folder / "best").config.seed == label["seed"] != 0
    summary = (folder / "summary.md").read_text()
    assert "## Confirmation" in summary and f"winner: {winner}, the best of 2 configurations" in summary
    if winner != "default":
        assert "the default" in next(line for line in summary.splitlines() if "winner:" in line)
