"""The plan that a budget comes to when a study begins, and the shortest schedule that it may have."""

from dataclasses import replace

import pytest

from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.errors import UserError
from tests.simulated_search import Clock
from tuning.decide.budget import closing_s
from tuning.prepare import planning
from tuning.prepare.planning import default_outside, plan_study, shortest_schedule, starts_alone
from tuning.record.study import Study
from tuning.run.resources import Resources
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none, num_epochs: 27}
search:
  batch_size: [16, 32]
  pct_start: {low: 0.1, high: 0.5}
study: {rungs: auto}
"""
ONE, TWO = (Resources(cpus=1, gpus=0, concurrency=count) for count in (1, 2))


@pytest.fixture
def space(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    return read_space(file)


@pytest.fixture
def paced(monkeypatch):
    """Has an epoch take so many seconds, by a clock that stands still."""
    monkeypatch.setattr("tuning.record.study.time", Clock())
    return lambda epoch_s: monkeypatch.setattr(planning, "measure_epoch_s", lambda *_: epoch_s)


def training_data(images):
    return TrainingData([Sample(f"{n}.jpg", n // 4, n % 2) for n in range(images)], [], [])


def with_settings(space, **changes):
    return replace(space, study=space.study.model_copy(update=changes))


def planned(study, resources=ONE, timed=False):
    return plan_study(study, training_data(224), None, resources, timed=timed)


def test_the_shortest_schedule_has_enough_steps_and_a_warm_up(space):
    assert shortest_schedule(space, 224) == 3  # 7 steps of 32 images an epoch, 18 are wanted
    assert shortest_schedule(space, 32 * 50) == 1
    low = replace(space, parameters=(replace(space.parameters[1], low=0.05),))
    assert shortest_schedule(low, 224) == 6  # 40 steps, of which 2 are a warm-up of 0.05


def test_the_rungs_that_were_chosen_belong_to_the_study_from_its_first_trial_on(space, tmp_path):
    study = Study(tmp_path / "study", with_settings(space, trials=30))
    said = planned(study)
    assert said.startswith("plan: about 30 configurations for 9 epochs, ") and said.endswith("epochs in all")
    assert study.plan.rungs == (9, 27)
    again = Study(tmp_path / "study", with_settings(space, epochs=40))
    planned(again)
    assert again.plan.rungs == (3, 10), "nothing was trained yet"
    again.add({"batch_size": 16})
    larger = Study(tmp_path / "study", with_settings(space, epochs=1000))
    said = planned(larger)
    assert larger.plan.rungs == (3, 10) and "a study of another --name would take 27 epochs" in said
    smaller = Study(tmp_path / "study", with_settings(space, epochs=12))
    assert "another --name" not in planned(smaller)


def test_a_small_budget_of_epochs_has_shorter_schedules(space):
    rungs = []
    for epochs in (3, 12, 40, 60, 1000):
        study = Study("s", with_settings(space, epochs=epochs), in_memory=True)
        said = planned(study)
        rungs.append(study.plan.rungs)
        assert said.endswith(f"; {epochs} epochs in all")
    assert rungs == [(3,), (3,), (3, 10), (5, 15), (9, 27)]


def test_rungs_that_the_space_names_are_kept(space):
    study = Study("s", with_settings(space, rungs=(4, 8), epochs=100), in_memory=True)
    assert "for 4 epochs" in planned(study) and study.plan.rungs == (4, 8)


def test_the_pace_that_was_measured_decides_what_a_time_budget_buys_and_is_kept(space, paced):
    paced(2.0)
    study = Study("s", with_settings(space, time_budget=2000.0), in_memory=True)
    said = planned(study, timed=True)
    assert study.facts["plan"] == {"rungs": [9, 27], "epoch_s": 2.0}
    assert said.endswith("33:20 in all at 2 s an epoch, 1 at once")
    study.add({"batch_size": 16})
    paced(1000.0)
    assert study.facts["plan"]["epoch_s"] == 2.0
    assert planned(study, timed=True) == said, "it is not timed again"


@pytest.mark.parametrize("resources", [ONE, TWO])
@pytest.mark.parametrize("budget_s", [60.0, 200.0, 1000.0, 10_000.0])
def test_the_schedules_of_one_trial_end_within_a_time_budget(space, paced, budget_s, resources):
    paced(2.0)
    study = Study("s", with_settings(space, time_budget=budget_s), in_memory=True)
    planned(study, resources, timed=True)
    assert sum(study.plan.lengths()) * 2.0 <= budget_s - closing_s(2.0)


def test_a_budget_that_holds_no_schedule_is_told_with_what_would_do(space, paced, monkeypatch):
    paced(10.0)
    monkeypatch.setattr("os.getloadavg", lambda: (0.2, 0.2, 0.2))
    study = Study("s", with_settings(space, time_budget=45.0), in_memory=True)
    with pytest.raises(UserError, match=r"--time-budget 45s: not even one schedule of 3 epochs fits, at 10 s") as told:
        planned(study, timed=True)
    assert "\n" not in str(told.value) and "give at least 1m, " in str(told.value) and "load" not in str(told.value)
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 20.0, 5.0))
    with pytest.raises(UserError, match=r"at 10 s an epoch \(other programs are computing here, load 1000\.0; idle, "):
        planned(study, timed=True)
    enough = Study("s", with_settings(space, time_budget=closing_s(10.0) + 1.1 * 30), in_memory=True)
    assert "for 3 epochs" in planned(enough, timed=True)
    with pytest.raises(UserError, match="--epochs 2: the shortest schedule has 3; give at least that"):
        planned(Study("s", with_settings(space, epochs=2), in_memory=True))


@pytest.mark.parametrize(("trials", "told"), [(3, True), (4, False), (2, True)])
def test_it_is_told_when_first_trials_and_warm_starts_take_all_of_the_budget(space, trials, told):
    starts = tuple({"batch_size": 16, "pct_start": value} for value in (0.2, 0.3))
    study = Study("s", replace(with_settings(space, trials=trials), warm_starts=starts), in_memory=True)
    planned(study)
    lines = starts_alone(study, 1)
    assert bool(lines) == told, "the default and two warm starts are three"
    assert not told or (f"the budget holds {trials} configurations" in lines[0] and "raise --trials" in lines[0])
    study.add({"batch_size": 16, "pct_start": 0.2})
    assert starts_alone(study, 1) == [], "it was told when the study began"


@pytest.mark.parametrize("resources", [ONE, TWO])
@pytest.mark.parametrize("budget_s", [400.0, 500.0, 600.0, 1000.0])
def test_the_default_is_said_to_be_alone_where_the_plan_holds_no_other(space, paced, budget_s, resources):
    paced(10.0)
    study = Study("s", with_settings(space, time_budget=budget_s, rungs=(27,)), in_memory=True)
    said = planned(study, resources, timed=True)
    assert bool(starts_alone(study, resources.concurrency)) == said.startswith("plan: about 1 configuration "), said


def test_steps_that_fail_are_one_line_with_the_way_out(space, monkeypatch):
    def refused(*arguments, count):
        raise RuntimeError("CUDA error:\n  out of memory")

    monkeypatch.setattr(planning, "in_processes", refused)
    study = Study("s", with_settings(space, time_budget=400.0), in_memory=True)
    message = "rungs: auto timed a few steps, which failed: RuntimeError: CUDA error: out of memory; mend that, or give"
    with pytest.raises(UserError, match=message):
        planned(study, timed=True)
    assert "plan" not in study.facts


def test_where_each_trial_has_a_length_of_its_own_nothing_is_planned(tmp_path):
    (tmp_path / "lengths.yaml").write_text("search: {num_epochs: [20, 40]}\n")
    assert planned(Study("s", read_space(tmp_path / "lengths.yaml"), in_memory=True)) is None


def test_a_default_outside_of_what_is_searched_is_named(space, tmp_path):
    assert default_outside(space) == []
    (tmp_path / "other.yaml").write_text("search: {dropout: {low: 0.1, high: 0.5}, margin: [0.3, soft]}\n")
    (line,) = default_outside(read_space(tmp_path / "other.yaml"))
    assert line.startswith("note: the default lies outside of what is searched: dropout 0;")
