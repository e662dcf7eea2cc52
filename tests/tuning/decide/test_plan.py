"""What a budget buys."""

import dataclasses
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.errors import UserError
from tuning.decide.plan import FEWEST_AT_TOP, Plan, Room, choose_plan, fitted, make_plan, plan_study, shortest_schedule
from tuning.record.study import Study
from tuning.run.climb import lengths
from tuning.space.read import read_space
from tuning.space.settings import StudySettings

ROOT = Path(__file__).resolve().parents[3]


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
    plan = choose_plan(settings(trials=trials, promotion=promotion), num_epochs, 3, Room(hours * 60, 2))
    assert sum(lengths(plan.rungs, promotion)) <= hours * 60 and plan.epochs / 2 <= hours * 60
    assert plan.rungs[-1] == num_epochs and list(plan.rungs) == sorted(set(plan.rungs)) and plan.rungs[0] >= 3
    assert plan.trials[0] <= trials and list(plan.trials) == sorted(plan.trials, reverse=True)


def test_with_time_for_everything_nothing_is_pruned_and_with_less_more_is():
    plans = [choose_plan(settings(trials=20), 36, 3, Room(epochs, 1)) for epochs in (900, 450, 320, 230)]
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
    with pytest.raises(
        UserError, match=r"no trial of 36 epochs fits, there is time for 20\.0 epochs; raise --time-budget"
    ):
        choose_plan(settings(), 36, 3, Room(20, 4))


def test_where_not_all_trials_fit_as_many_as_fit_are_planned():
    plan = make_plan(settings(audit=0), (4, 12), 3, 30)
    fewer = fitted(settings(audit=0), plan, Room(100, 1))
    assert fewer.rungs == (4, 12) and fewer.epochs <= 100
    assert make_plan(settings(audit=0), (4, 12), 3, fewer.trials[0] + 1).epochs > 100


def test_the_description_says_what_is_saved():
    text = make_plan(settings(audit=0, promotion="restart"), (4, 12), 3, 30).describe(60, 2)
    assert text == (
        "plan: 30 trials to 4 epochs, 10 of them to 12 (240 epochs instead of 360; restart, best 1 in 3), "
        "about 2:00:00 of training at 60 s an epoch"
    )


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
    assert shortest_schedule(space, 224) == 3  # 7 steps of 32 images an epoch, 18 are wanted
    assert shortest_schedule(space, 32 * 50) == 1
    low = dataclasses.replace(space, parameters=(dataclasses.replace(space.parameters[1], low=0.05),))
    assert shortest_schedule(low, 224) == 6  # 40 steps, of which 2 are a warm-up of 0.05


def test_a_chosen_plan_belongs_to_the_study(space, tmp_path):
    study = Study(tmp_path / "study", space)
    data = training_data(224)
    plan = plan_study(study, space.study, data, None, probes=0, concurrency=1)
    assert "plan: 30 trials to 3 epochs, 10 of them to 9, 3 of them to 27 (" in plan
    assert study.space.rungs(study.space.base_config()) == (3, 9, 27)
    again = Study(tmp_path / "study", space)
    fewer = space.study.model_copy(update={"trials": 4})
    assert "plan: 4 trials to 3 epochs, 1 of them to 9, 1 of them to 27 (" in plan_study(
        again, fewer, data, None, probes=0, concurrency=1
    )


SCRIPT = """\
import resource, sys
from data.pixels.cache import open_pixels
from data.sets.readers import read_train
from data.sets.splits import TrainingData
from tuning.decide.plan import warn_of_largest
from tuning.space.read import read_space

if __name__ == "__main__":
    space, samples = read_space(sys.argv[1]), read_train(sys.argv[2])
    pixels = open_pixels(samples, height=256, width=256)
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    print(warn_of_largest(space, TrainingData(samples, [], []), pixels, 1))
"""


@pytest.mark.parametrize(("largest", "fits"), [(16, True), (1024, False)])
def test_a_largest_batch_without_room_in_memory_is_warned_of(largest, fits, tmp_path, tiny_data):
    space = tmp_path / "space.yaml"
    fixed = "backbone: resnet18, pretrained: none, randaugment_operations: 0, images_per_identity: null, device: cpu"
    space.write_text(f"fixed: {{{fixed}}}\nsearch:\n  batch_size: [8, {largest}]\n")
    (tmp_path / "probe.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "probe.py"), str(space), str(tiny_data)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    if fits:
        assert done.stdout == "None\n"
    else:
        start = f"warning: {space}:3: a step of batch_size=1024 at 256 x 256 fails (out of memory: "
        assert done.stdout.startswith(start), done.stdout
        assert "lower batch_size or the image size: such trials will fail" in done.stdout
        assert done.stdout.count("\n") == 1
