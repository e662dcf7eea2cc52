"""The record: what is told to it is there again, in another process too."""

import pytest

from data.errors import UserError
from tuning.scheduler import RungScheduler, goes_on
from tuning.space import read_space
from tuning.study import Study, best_first

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  optimizer: [adamw, sgd]
  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}
first_trials:
  - {learning_rate: 0.01, optimizer: sgd, momentum: 0.6}
study: {trials: 8, rungs: [2, 4], reduction: 2}
"""


@pytest.fixture
def space(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    return read_space(file)


def train(study, number, rung, *scores):
    for epoch, score in enumerate(scores, start=1):
        study.record(number, rung, {"epoch": epoch, "val_mAP": score, "seconds": 1.5})


def test_first_trials_come_first_and_conditions_hold(tmp_path, space):
    study = Study(tmp_path / "study", space)
    number, config = study.ask()
    assert (number, config.learning_rate, config.optimizer, config.momentum) == (0, 0.01, "sgd", 0.6)
    for _ in range(8):
        number, config = study.ask()
        study_parameters = study.trials()[number].parameters
        assert ("momentum" in study_parameters) == (config.optimizer == "sgd")


def test_what_was_told_is_there_when_the_study_is_opened_again(tmp_path, space):
    study = Study(tmp_path / "study", space)
    for _ in range(3):
        study.ask()
    train(study, 0, 2, 0.1, 0.2)
    train(study, 0, 4, 0.1, 0.2, 0.3, 0.4)
    study.finish(0, "complete")
    train(study, 1, 2, 0.05, 0.15)
    study.finish(1, "pruned", "not among the best")
    study.finish(2, "failed", "diverged: at step 3")
    again = Study(tmp_path / "study").trials()
    assert [trial.state for trial in again] == ["complete", "pruned", "failed"]
    assert again[0].scores == {2: 0.2, 4: 0.4} and again[0].score == 0.4 and again[0].epochs == 6
    assert again[0].seconds == pytest.approx(9.0)
    assert again[1].cause == "not among the best" and again[1].score == 0.15
    assert again[2].cause == "diverged: at step 3" and again[2].score is None
    assert [trial.number for trial in best_first(again)] == [0, 1]


def test_a_longer_schedule_counts_more_than_a_higher_score_of_a_shorter_one(tmp_path, space):
    study = Study(tmp_path / "study", space)
    study.ask(), study.ask()
    train(study, 0, 2, 0.1, 0.9)
    study.finish(0, "pruned")
    train(study, 1, 2, 0.1, 0.2)
    train(study, 1, 4, 0.1, 0.2, 0.3, 0.4)
    study.finish(1, "complete")
    assert [trial.number for trial in best_first(study.trials())] == [1, 0]


def test_where_the_length_itself_is_searched_the_score_alone_counts(tmp_path):
    file = tmp_path / "lengths.yaml"
    file.write_text("search: {num_epochs: [1, 2]}\n")
    study = Study(tmp_path / "study", read_space(file))
    study.ask(), study.ask()
    train(study, 0, 2, 0.1, 0.2)
    study.finish(0, "complete")
    train(study, 1, 1, 0.9)
    study.finish(1, "complete")
    assert [trial.number for trial in best_first(study.trials())] == [1, 0]


def test_interrupted_trials_go_on_before_new_ones_with_the_same_parameters(tmp_path, space):
    study = Study(tmp_path / "study", space)
    study.ask(), study.ask()
    train(study, 0, 2, 0.1, 0.2)
    before = {trial.number: trial.parameters for trial in study.trials()}
    del study  # as after kill -9: two rows are RUNNING
    study = Study(tmp_path / "study", space)
    assert study.settle() == 2
    assert study.started() == 0 and len(study.trials()) == 2
    for expected in (0, 1, 2):
        number, _ = study.ask()
        assert number == expected
    assert {n: study.trials()[n].parameters for n in (0, 1)} == before
    assert study.trials()[0].scores == {2: 0.2}
    train(study, 0, 2, 0.1, 0.25)  # trained again: the row holds it once
    assert study.trials()[0].epochs == 2
    assert study.trials()[0].scores == {2: 0.25}


def test_a_study_that_goes_on_does_not_propose_its_first_points_again(tmp_path, space):
    study = Study(tmp_path / "study", space)
    first = []
    for _ in range(3):
        number, config = study.ask()
        train(study, number, 2, 0.1, 0.2)
        study.finish(number, "pruned")
        first.append(config.learning_rate)
    study = Study(tmp_path / "study", space)
    assert study.ask()[1].learning_rate not in first


def test_another_space_is_refused_with_the_difference(tmp_path, space):
    Study(tmp_path / "study", space)
    other = tmp_path / "other.yaml"
    other.write_text(SPACE.replace("high: 1e-1", "high: 1e-2"))
    with pytest.raises(UserError, match=r"another space: search\.learning_rate\.high was 0\.1, is now 0\.01"):
        Study(tmp_path / "study", read_space(other))


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
    with pytest.raises(UserError, match=r"study\.db: cannot be opened as a study"):
        Study(tmp_path / "study", space)


@pytest.mark.parametrize(
    ("score", "others", "reduction", "expected"),
    [
        (0.1, [], 3, True),  # the first of its rung is the best so far
        (0.2, [0.1], 3, True),
        (0.1, [0.2], 3, False),
        (0.2, [0.3, 0.1, 0.1, 0.1, 0.1], 3, True),  # second of six: the best 1 in 3 are two
        (0.2, [0.3, 0.1, 0.1, 0.1], 3, False),  # second of five: the best 1 in 3 is one
        (0.2, [0.2], 2, True),  # a tie does not push out
    ],
)
def test_the_best_one_in_reduction_go_on(score, others, reduction, expected):
    assert goes_on(score, others, reduction) is expected


class RayTrial:
    def __init__(self, number):
        self.config = {"number": number, "rungs": [2, 4]}


def decide(scheduler, number, rung, *scores):
    for epoch, score in enumerate(scores, start=1):
        report = {"report/epoch": epoch, "report/val_mAP": score, "report/seconds": 1.0}
        decision = scheduler.on_trial_result(None, RayTrial(number), {"rung": rung, **report})
    return decision


def test_scheduler_decides_at_the_ends_of_schedules_only_and_tells_the_record_first(tmp_path, space):
    study = Study(tmp_path / "study", space)
    scheduler = RungScheduler(study, None)
    study.ask(), study.ask(), study.ask()
    assert decide(scheduler, 0, 2, 0.0) == "CONTINUE"  # worst of all, but in mid-schedule
    assert decide(scheduler, 0, 2, 0.0, 0.5) == "CONTINUE"
    assert decide(scheduler, 1, 2, 0.9, 0.4) == "STOP"
    assert study.trials()[1].state == "pruned"
    assert decide(scheduler, 0, 4, 0.1, 0.2, 0.3, 0.6) == "STOP"
    assert study.trials()[0].state == "complete"
    assert scheduler.on_trial_result(None, RayTrial(2), {"cause": "diverged: here"}) == "STOP"
    assert (study.trials()[2].state, study.trials()[2].cause) == ("failed", "diverged: here")


def test_scheduler_of_a_study_opened_again_decides_as_before(tmp_path, space):
    study = Study(tmp_path / "study", space)
    scheduler = RungScheduler(study, None)
    for number, score in enumerate([0.5, 0.4, 0.3]):
        study.ask()
        decide(scheduler, number, 2, 0.1, score)
    again = RungScheduler(Study(tmp_path / "study", space), None)
    assert again.rung_scores == scheduler.rung_scores


def test_no_promotion_that_would_not_end_within_the_time_budget(tmp_path, space):
    study = Study(tmp_path / "study", space)
    scheduler = RungScheduler(study, time_budget_s=3.0)
    assert study.has_time_for(1000, 3.0), "nothing is known of the pace yet"
    study.ask()
    assert decide(scheduler, 0, 2, 0.1, 0.5) == "STOP"  # an epoch takes 1 s, 4 do not fit into 3 s
    assert study.trials()[0].cause == "no time left for 4 epochs"
    assert study.trials()[0].state == "pruned"


def test_a_study_at_work_tells_what_the_same_study_opened_again_tells(tmp_path, space):
    study = Study(tmp_path / "study", space)

    def same():
        again = Study(tmp_path / "study", space)
        assert study.trials() == again.trials() and study.started() == again.started()
        for budget_s in (10.0, 100.0, 1000.0):
            assert study.has_time_for(20, budget_s) == again.has_time_for(20, budget_s)

    for _ in range(3):
        study.ask()
    same()
    train(study, 0, 2, 0.1, 0.2)
    train(study, 0, 4, 0.1, 0.2)
    train(study, 0, 4, 0.15, 0.25)  # told again
    train(study, 1, 2, 0.3, 0.4)
    same()
    study.finish(1, "pruned", "not among the best")
    study.finish(2, "failed", "diverged")
    study.settle()
    same()
    assert study.ask()[0] == 0
    same()
