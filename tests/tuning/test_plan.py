"""What a budget buys."""

import itertools

import pytest

from data.errors import UserError
from data.samples import Sample
from data.splits import TrainingData
from tuning.plan import FEWEST_AT_TOP, TIME_SHARE, Plan, choose_plan, make_plan, plan_study, shortest_schedule
from tuning.space import StudySettings, read_space
from tuning.study import Study


def settings(**values):
    return StudySettings(rungs="auto", **values)


def test_the_epochs_of_a_plan_by_hand():
    counts = (27, 9, 3)
    assert Plan((1, 3, 9), 3, "restart", counts).epochs == 27 * 1 + 9 * 3 + 3 * 9
    assert Plan((1, 3, 9), 3, "continue", counts).epochs == Plan((1, 3, 9), 3, "cut", counts).epochs == 27 + 18 + 18


def test_the_fair_sample_climbs_beside_those_that_are_promoted():
    assert make_plan(settings(audit=0), (1, 3, 9), 3, 27).trials == (27, 9, 3)
    assert make_plan(settings(audit=9), (1, 3, 9), 3, 27).trials == (27, 3 + 8, 3 + 2)


@pytest.mark.parametrize("promotion", ["restart", "continue", "cut"])
@pytest.mark.parametrize(
    ("trials", "hours", "num_epochs"), list(itertools.product((3, 10, 40, 200), (4, 8, 24), (9, 36, 120)))
)
def test_a_plan_fits_its_time_and_its_rungs_lead_to_the_full_length(trials, hours, num_epochs, promotion):
    budget = settings(trials=trials, time_budget=f"{hours}h", promotion=promotion)
    plan = choose_plan(budget, num_epochs, 3, epoch_s=60, concurrency=2)
    assert sum(plan.lengths) * 60 <= TIME_SHARE * hours * 3600
    assert plan.epochs * 60 / 2 <= TIME_SHARE * hours * 3600
    assert plan.rungs[-1] == num_epochs and list(plan.rungs) == sorted(set(plan.rungs)) and plan.rungs[0] >= 3
    assert plan.trials[0] <= trials and list(plan.trials) == sorted(plan.trials, reverse=True)


def test_with_time_for_everything_nothing_is_pruned_and_with_less_more_is():
    plans = [choose_plan(settings(trials=20, time_budget=s), 36, 3, epoch_s=1) for s in (1000, 500, 350, 250)]
    assert plans[0].rungs == (36,) and plans[0].trials == (20,)
    epochs = [plan.epochs for plan in plans]
    assert epochs == sorted(epochs, reverse=True) and len(set(epochs)) == 4


def test_without_a_time_budget_enough_trials_are_promoted_to_the_top():
    for trials in (4, 8, 20, 40, 100):
        plan = choose_plan(settings(trials=trials, audit=0), 36, 2)
        assert plan.trials[-1] >= FEWEST_AT_TOP
    assert choose_plan(settings(trials=40), 36, 2).epochs < 40 * 36 / 2


def test_a_given_reduction_is_kept():
    assert choose_plan(settings(trials=40, reduction=2), 36, 2).reduction == 2


def test_a_budget_that_holds_no_trial_is_refused_with_the_way_out():
    with pytest.raises(UserError, match=r"time budget 1:00: not one trial of 36 epochs fits.*raise --time-budget"):
        choose_plan(settings(time_budget=60), 36, 3, epoch_s=60)


def test_the_description_says_what_is_saved():
    text = make_plan(settings(audit=0), (4, 12), 3, 30).describe(60, 2)
    assert text.startswith("plan: of 30 trials 30 to 4, 10 to 12 epochs (restart, best 1 in 3): 240 epochs")
    assert "instead of 360" in text and "about 2:00:00 at 60 s an epoch" in text


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


def test_the_shortest_schedule_has_enough_steps_and_a_warm_up(space):
    assert shortest_schedule(space, training_data(320)) == 3  # 10 steps of 32 images an epoch, 30 are wanted
    assert shortest_schedule(space, training_data(32 * 50)) == 1


def test_a_chosen_plan_belongs_to_the_study(space, tmp_path):
    study = Study(tmp_path / "study", space)
    data = training_data(320)
    plan = plan_study(study, space.study, data, None, probes=0, concurrency=1)
    assert plan.rungs == study.space.rungs(study.space.base_config()) == (3, 9, 27)
    again = Study(tmp_path / "study", space)
    more = space.study.model_copy(update={"trials": 3})
    assert plan_study(again, more, data, None, probes=0, concurrency=1).rungs == (3, 9, 27)
