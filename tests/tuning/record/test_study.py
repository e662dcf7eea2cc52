"""The record: what is told to it is there again, in another process too."""

import errno
import os
import shlex
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from data.system.errors import UserError
from tests.reports import epoch_report
from tuning.decide.pareto import best_trials
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import OWN_SEED, Decision, TrialState
from tuning.space.plan import Plan
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  optimizer: [adamw, sgd]
  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}
first_trials:
  - {learning_rate: 0.01, optimizer: sgd, momentum: 0.6}
study: {trials: 8, rungs: [2, 4]}
"""


NOT_AMONG_THE_BEST = Cause(Kind.NOT_PROMOTED, "not among the best")
DIVERGED = Cause(Kind.DIVERGED, "at step 3")


@pytest.fixture
def space(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    return read_space(file)


def add(study, count):
    for number in range(len(study.trials()), len(study.trials()) + count):
        study.add({"learning_rate": 1e-3 * (number + 1), "optimizer": "adamw"})


def train(study, number, rung, *scores):
    for epoch, score in enumerate(scores, start=1):
        study.record(number, rung, epoch_report(epoch, val_mAP=score, seconds=1.5))


def test_what_was_told_is_there_when_the_study_is_opened_again(tmp_path, space):
    study = Study(tmp_path / "study", space)
    add(study, 3)
    train(study, 0, 2, 0.1, 0.2)
    study.decide(0, 2, Decision.PROMOTED)
    train(study, 0, 4, 0.1, 0.2, 0.3, 0.4)
    study.finish(0, TrialState.COMPLETE)
    train(study, 1, 2, 0.05, 0.15)
    study.finish(1, TrialState.PRUNED, NOT_AMONG_THE_BEST)
    study.finish(2, TrialState.FAILED, DIVERGED)
    again = Study(tmp_path / "study").trials()
    assert [trial.state for trial in again] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED]
    assert again[0].scores == {2: 0.2, 4: 0.4} and again[0].score == 0.4 and again[0].epochs == 6
    assert again[0].seconds == pytest.approx(9.0)
    assert again[0].decisions == {2: Decision.PROMOTED}
    assert again == study.trials()
    assert again[1].cause == NOT_AMONG_THE_BEST and again[1].score == 0.15
    assert again[2].cause == DIVERGED and again[2].score is None
    assert [trial.number for trial in best_trials(Study(tmp_path / "study"))] == [0, 1]


def test_a_paused_trial_is_still_paused_when_the_study_is_opened_again_and_a_promoted_one_is_not(tmp_path, space):
    study = Study(tmp_path / "study", space)
    add(study, 3)
    for number in range(3):
        train(study, number, 2, 0.1, 0.2)
        study.decide(number, 2, Decision.PAUSED)
    study.go_on(1)
    again = Study(tmp_path / "study", space)  # as after kill -9
    again.settle()
    assert [trial.state for trial in again.trials()] == [TrialState.PAUSED, TrialState.WAITING, TrialState.PAUSED]
    assert again.trial(1).decisions == {2: Decision.PROMOTED}
    again.go_on(2)
    assert again.trial(2).state is TrialState.RUNNING


def test_a_longer_schedule_counts_more_than_a_higher_score_of_a_shorter_one(tmp_path, space):
    study = Study(tmp_path / "study", space)
    add(study, 2)
    train(study, 0, 2, 0.1, 0.9)
    study.finish(0, TrialState.PRUNED)
    train(study, 1, 2, 0.1, 0.2)
    train(study, 1, 4, 0.1, 0.2, 0.3, 0.4)
    study.finish(1, TrialState.COMPLETE)
    assert [trial.number for trial in best_trials(study)] == [1, 0]


def test_each_trial_is_trained_with_a_seed_of_its_own_and_those_of_older_studies_with_the_spaces(tmp_path, space):
    study = Study(tmp_path / "study", replace(space, fixed={**space.fixed, "seed": 5}))
    add(study, 1)
    for _ in range(2):
        study.add({"learning_rate": 0.01, "optimizer": "adamw"}, {OWN_SEED: True})
    for each in (study, Study(tmp_path / "study")):
        assert [each.config(number).seed for number in range(3)] == [5, 6, 7]


def test_where_the_length_itself_is_searched_the_score_alone_counts(tmp_path):
    file = tmp_path / "lengths.yaml"
    file.write_text("search: {num_epochs: [1, 2]}\n")
    study = Study(tmp_path / "study", read_space(file))
    for length in (2, 1):
        study.add({"num_epochs": length})
    train(study, 0, 2, 0.1, 0.2)
    study.finish(0, TrialState.COMPLETE)
    train(study, 1, 1, 0.9)
    study.finish(1, TrialState.COMPLETE)
    assert [trial.number for trial in best_trials(study)] == [1, 0]


def test_interrupted_trials_wait_with_the_same_parameters_and_are_recorded_once(tmp_path, space):
    study = Study(tmp_path / "study", space)
    add(study, 2)
    train(study, 0, 2, 0.1, 0.2)
    before = {trial.number: trial.parameters for trial in study.trials()}
    del study  # as after kill -9: two rows are RUNNING
    study = Study(tmp_path / "study", space)
    assert study.settle() == 2
    assert study.in_state(TrialState.WAITING) == [0, 1] and study.in_state(TrialState.RUNNING) == []
    study.go_on(0)
    assert {n: study.trials()[n].parameters for n in (0, 1)} == before
    assert study.trials()[0].scores == {2: 0.2}
    train(study, 0, 2, 0.1, 0.25)  # trained again: the row holds it once
    assert study.trials()[0].epochs == 2
    assert study.trials()[0].scores == {2: 0.25}


def test_another_space_is_refused_with_the_difference(tmp_path, space):
    Study(tmp_path / "study", space)
    other = tmp_path / "other.yaml"
    other.write_text(SPACE.replace("high: 1e-1", "high: 1e-2"))
    with pytest.raises(UserError, match=r"another space: search\.learning_rate\.high was 0\.1, is now 0\.01"):
        Study(tmp_path / "study", read_space(other))


def test_a_default_that_is_written_out_is_no_other_space(tmp_path, space):
    Study(tmp_path / "study", space)
    Study(tmp_path / "study", replace(space, fixed={**space.fixed, "split_seed": 0, "erasing_probability": 0}))
    with pytest.raises(UserError, match=r"another space: fixed\.split_seed was None, is now 1"):
        Study(tmp_path / "study", replace(space, fixed={**space.fixed, "split_seed": 1}))


def test_more_trials_and_time_are_no_other_space(tmp_path, space):
    Study(tmp_path / "study", space)
    other = tmp_path / "other.yaml"
    other.write_text(SPACE.replace("trials: 8", "trials: 80, time_budget: 2h"))
    Study(tmp_path / "study", read_space(other))


def test_a_folder_without_a_study_and_a_damaged_one_give_one_line(tmp_path, space):
    with pytest.raises(UserError, match="holds no study"):
        Study(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.db").write_bytes(b"not a data base at all" * 100)
    with pytest.raises(UserError, match=r"study\.db: damaged \(file is not a database\)"):
        Study(tmp_path / "study", space)


def test_a_study_at_work_tells_what_the_same_study_opened_again_tells(tmp_path, space):
    study = Study(tmp_path / "study", space)

    def same():
        again = Study(tmp_path / "study", space)
        assert study.trials() == again.trials() and study.epoch_s == again.epoch_s

    add(study, 3)
    same()
    train(study, 0, 2, 0.1, 0.2)
    train(study, 0, 4, 0.1, 0.2)
    train(study, 0, 4, 0.15, 0.25)  # told again
    study.record(0, 4, epoch_report(1, val_mAP=0.15, seconds=60.0))  # and again, by a slower machine
    train(study, 1, 2, 0.3, 0.4)
    same()
    study.decide(1, 2, Decision.PAUSED)
    same()
    study.finish(1, TrialState.PRUNED, NOT_AMONG_THE_BEST)
    study.finish(2, TrialState.FAILED, DIVERGED)
    study.settle()
    same()


AUTO = """\
fixed: {backbone: resnet18, pretrained: none, num_epochs: 27}
search:
  normalize_features: [false, true]
  margin:
    - {choices: [0.1, 1, soft], when: {normalize_features: false}}
    - {low: 0.05, high: 0.6, when: {normalize_features: true}}
  batch_size: [16, 32]
study: {trials: 8, rungs: auto, promotion: continue}
"""


def test_a_study_that_is_opened_without_its_space_is_the_whole_of_it(tmp_path):
    (tmp_path / "auto.yaml").write_text(AUTO)
    space = replace(read_space(tmp_path / "auto.yaml"), warm_starts=({"margin": 0.1, "batch_size": 16},))
    study = Study(tmp_path / "study", space)
    study.note(plan={"rungs": [9, 27], "epoch_s": 1.5})
    study.add({"normalize_features": True, "margin": 0.3, "batch_size": 16})
    train(study, 0, 9, 0.1, 0.2, 0.3)
    study.save_elapsed()
    again = Study(tmp_path / "study")
    assert again.space == space and again.facts == study.facts
    assert again.plan == study.plan == Plan(rungs=(9, 27), promotion="continue")
    assert again.elapsed_s >= study.facts["elapsed_s"] > 0 and again.epoch_s == study.epoch_s == 1.5
    assert again.trials() == study.trials() and again.config(0) == study.config(0)
    again.settle()
    assert again.in_state(TrialState.WAITING) == [0]


def test_what_a_command_asks_for_is_kept_when_it_may_go_on_and_not_before(tmp_path, space):
    Study(tmp_path / "study", space)
    more = replace(space, study=space.study.model_copy(update={"trials": 80}))
    asked = Study(tmp_path / "study", more)
    assert asked.space.study.trials == 80 and Study(tmp_path / "study").space.study.trials == 8
    asked.keep_space()
    assert Study(tmp_path / "study").space == more


@pytest.mark.parametrize("name", ["a?b", "a%20b", "%3F", "{x}", "{SCHEMA_VERSION}", "a#b", "[b]", "a;b&c=d", "ä 'q'"])
def test_a_study_lies_where_its_folders_name_says(tmp_path, space, name):
    for folder in (tmp_path / name, tmp_path / f"{name}!"):
        study = Study(folder, space)
        study.add({"learning_rate": 1e-3})
        assert (folder / "study.db").stat().st_size > 0 and len(Study(folder).trials()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f"{name}!", "space.yaml"])


@pytest.mark.parametrize(
    ("schema", "advice"),
    [
        ("v3.0.0.d", r"an older version of Optuna has written it; keep a copy, then give \S*optuna storage upgrade"),
        ("v99.0.0.a", "a newer version of Optuna has written it than this one, .*; install that"),
    ],
)
def test_a_study_of_another_optuna_names_the_way_out_which_works(tmp_path, space, schema, advice):
    folder = Study(tmp_path / "a%20b", space).folder
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        connection.execute("update alembic_version set version_num = ?", [schema])
        connection.commit()
    with pytest.raises(UserError, match=advice) as refused:
        Study(folder)
    if "then give " in str(refused.value):
        subprocess.run(shlex.split(str(refused.value).split("then give ")[1]), check=True, capture_output=True)
        assert Study(folder).trials() == []


@pytest.mark.parametrize(("may", "whose"), [(0, "its permissions forbid it"), (os.R_OK, "it is user 4711's")])
def test_another_users_study_is_told_as_that_with_what_helps(tmp_path, space, monkeypatch, may, whose):
    file = tmp_path / "a b" / "study.db"
    Study(file.parent, space)
    if may:
        os.chown(file, 4711, -1) if os.getuid() == 0 else pytest.skip("only root can give files away")
    # To root nothing is forbidden: the answers of the system to somebody else.
    monkeypatch.setattr(os, "access", lambda path, mode: mode & ~may == 0)
    monkeypatch.setattr(Path, "open", refusing(file, Path.open))
    with pytest.raises(UserError, match=f"^{file}: this user may not read and write it and its folder") as raised:
        Study(file.parent, space)
    assert whose in str(raised.value) and "damaged" not in str(raised.value)
    assert f"chmod -R g+rwX '{file.parent}'" in str(raised.value)


def refusing(file, opened):
    """Path.open, which refuses this file."""

    def to_open(path, *arguments, **options):
        if path == file:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    return to_open
