"""What a budget buys."""

import itertools

import pytest

from tuning.decide.forecast import FULL_LENGTHS, STEP, choose_rungs, forecast
from tuning.space.schedules import lengths


@pytest.mark.parametrize("promotion", ["restart", "continue", "cut"])
@pytest.mark.parametrize("rungs", [(12,), (4, 12), (2, 6, 18)])
@pytest.mark.parametrize("budget", [40, 60, 200, 700, 5000])
def test_what_is_forecast_fits_the_budget_and_uses_most_of_it(budget, rungs, promotion):
    if budget < 3 * sum(rungs):
        return
    each = lengths(rungs, promotion)
    found = forecast(rungs, each, budget)
    spent = sum(count * length for count, length in zip(found.trials, each, strict=True)) + found.repeats * rungs[-1]
    assert budget - 1.5 * sum(rungs) <= spent <= budget
    assert min(found.trials) >= 1


def test_not_more_trials_are_forecast_than_are_asked_for():
    assert forecast((4, 12), [4, 12], 1000, most_trials=7).trials == (7, 7)
    assert forecast((12,), [12], 1000, most_trials=7).trials == (7,)


@pytest.mark.parametrize("budget", range(16, 40))
def test_a_small_budget_is_forecast_to_have_a_trial_at_the_top(budget):
    found = forecast((4, 12), [4, 12], budget)
    assert found.trials[0] >= found.trials[1] >= 1 and found.trials[0] * 4 + found.trials[1] * 12 <= budget


@pytest.mark.parametrize(
    ("num_epochs", "shortest", "budget"),
    itertools.product((1, 8, 36, 120), (1, 3, 10), (None, 0, 5, 30, 100, 400, 5000)),
)
def test_rungs_are_at_most_num_epochs_and_a_third_of_the_longest(num_epochs, shortest, budget):
    rungs = choose_rungs(num_epochs, shortest, budget)
    assert rungs[0] >= 1 and list(rungs) == sorted(set(rungs)) and rungs[-1] <= num_epochs
    assert rungs[0] >= min(shortest, num_epochs), "a shorter schedule would not rank"
    assert len(rungs) == 1 or rungs[0] == round(rungs[1] / STEP)
    if budget is None:
        assert rungs[-1] == num_epochs
    else:
        assert rungs[-1] * FULL_LENGTHS <= max(budget, FULL_LENGTHS * min(shortest, num_epochs))


def test_a_small_budget_shortens_the_schedules_and_a_large_one_does_not():
    assert [choose_rungs(36, 2, budget) for budget in (8, 40, 80, 144, 1000, None)] == [
        (2,), (3, 10), (7, 20), (12, 36), (12, 36), (12, 36),
    ]  # fmt: skip
    assert choose_rungs(8, 6, 1000) == (8,), "a third of it would be too short"


def test_the_description_says_what_is_bought():
    assert forecast((12, 36), [12, 36], epochs=400.0).describe() == ("about 23 configurations for 12 epochs, 3 for 36")
    assert forecast((12, 36), [12, 36], epochs=36 * 40).describe() == (
        "about 41 configurations for 12 epochs, 22 for 36, 4 repeats of the best"
    )
    assert forecast((1,), [1], epochs=1).describe() == "about 1 configuration for 1 epoch"
