"""The plan that `rungs: auto` comes to when a study begins, and the shortest schedule that it may have."""

from dataclasses import replace

import pytest

from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.errors import UserError
from tuning.prepare import planning
from tuning.prepare.planning import plan_study, shortest_schedule
from tuning.record.study import Study
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none, num_epochs: 27}
search:
  batch_size: [16, 32]
  pct_start: {low: 0.1, high: 0.5}
study: {trials: 30, rungs: auto, audit: 0}
"""


@pytest.fixture
def space(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    return read_space(file)


def training_data(images):
    return TrainingData([Sample(f"{n}.jpg", n // 4, n % 2) for n in range(images)], [], [])


def with_settings(space, **changes):
    return replace(space, study=space.study.model_copy(update=changes))


def test_the_shortest_schedule_has_enough_steps_and_a_warm_up(space):
    assert shortest_schedule(space, 224) == 3  # 7 steps of 32 images an epoch, 18 are wanted
    assert shortest_schedule(space, 32 * 50) == 1
    low = replace(space, parameters=(replace(space.parameters[1], low=0.05),))
    assert shortest_schedule(low, 224) == 6  # 40 steps, of which 2 are a warm-up of 0.05


def test_a_chosen_plan_belongs_to_the_study(space, tmp_path):
    study = Study(tmp_path / "study", space)
    data = training_data(224)
    assert "plan: 30 trials to 3 epochs, 10 of them to 9, 3 of them to 27 (" in plan_study(
        study, data, None, probes=0, concurrency=1
    )
    assert study.plan.rungs == (3, 9, 27) and study.plan.reduction == 3
    again = Study(tmp_path / "study", with_settings(space, trials=4))
    assert "plan: 4 trials to 3 epochs, 1 of them to 9, 1 of them to 27 (" in plan_study(
        again, data, None, probes=0, concurrency=1
    )


def test_the_pace_that_was_measured_decides_what_fits_the_budget_and_is_kept(space, monkeypatch):
    """At 2 s an epoch, 90 % of 400 s hold 180 epochs one after the other."""
    monkeypatch.setattr(planning, "measure_epoch_s", lambda config, data, pixels, count: 2.0)
    study = Study("s", with_settings(space, time_budget=400.0), in_memory=True)
    said = plan_study(study, training_data(224), None, probes=1, concurrency=1)
    assert study.facts["plan"]["epoch_s"] == 2.0 and study.plan.rungs[-1] == 27
    assert "at 2 s an epoch" in said


def test_steps_that_fail_are_one_line_with_the_way_out(space, monkeypatch):
    def refused(*arguments, count):
        raise RuntimeError("CUDA error:\n  out of memory")

    monkeypatch.setattr(planning, "in_processes", refused)
    study = Study("s", with_settings(space, time_budget=400.0), in_memory=True)
    message = "rungs: auto timed a few steps, which failed: RuntimeError: CUDA error: out of memory; mend that, or give"
    with pytest.raises(UserError, match=message):
        plan_study(study, training_data(224), None, probes=1, concurrency=1)
    assert "plan" not in study.facts


def test_where_each_trial_has_a_length_of_its_own_nothing_is_planned(tmp_path):
    (tmp_path / "lengths.yaml").write_text("search: {num_epochs: [20, 40]}\n")
    study = Study("s", read_space(tmp_path / "lengths.yaml"), in_memory=True)
    assert plan_study(study, training_data(224), None, probes=0, concurrency=1) is None
