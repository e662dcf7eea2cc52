"""What a budget buys."""

import itertools

import pytest

from data.system.errors import UserError
from tuning.decide.forecast import FEWEST_AT_TOP, Budget, Forecast, choose_plan, fitted, forecast
from tuning.space.plan import Plan
from tuning.space.schedules import lengths
from tuning.space.settings import StudySettings


def settings(**values):
    return StudySettings(rungs="auto", **values)


def plan(rungs, reduction=3, promotion="continue", audit=0):
    return Plan(rungs=rungs, reduction=reduction, promotion=promotion, audit=audit)


def test_the_epochs_of_a_plan_by_hand():
    def epochs(promotion):
        return Forecast(plan((1, 3, 9), promotion=promotion), (27, 9, 3)).epochs

    assert epochs("restart") == 27 * 1 + 9 * 3 + 3 * 9
    assert epochs("continue") == epochs("cut") == 27 + 18 + 18


def test_the_fair_sample_climbs_beside_those_that_are_promoted():
    assert forecast(plan((1, 3, 9)), 27).trials == (27, 9, 3)
    assert forecast(plan((1, 3, 9), audit=9), 27).trials == (27, 3 + 8, 3 + 2)


@pytest.mark.parametrize("promotion", ["restart", "continue", "cut"])
@pytest.mark.parametrize(
    ("trials", "hours", "num_epochs"), list(itertools.product((3, 10, 40, 200), (4, 8, 24), (9, 36, 120)))
)
def test_a_plan_fits_its_time_and_its_rungs_lead_to_the_full_length(trials, hours, num_epochs, promotion):
    chosen = choose_plan(settings(trials=trials, promotion=promotion), num_epochs, 3, Budget(hours * 60, 2))
    rungs = chosen.rungs
    assert sum(lengths(rungs, promotion)) <= hours * 60 and chosen.epochs / 2 <= hours * 60
    assert rungs[-1] == num_epochs and list(rungs) == sorted(set(rungs)) and rungs[0] >= 3
    assert chosen.trials[0] <= trials and list(chosen.trials) == sorted(chosen.trials, reverse=True)


def test_with_time_for_everything_nothing_is_pruned_and_with_less_more_is():
    chosen = [choose_plan(settings(trials=20), 36, 3, Budget(epochs, 1)) for epochs in (900, 450, 320, 230)]
    assert chosen[0].rungs == (36,) and chosen[0].trials == (20,)
    epochs = [one.epochs for one in chosen]
    assert epochs == sorted(epochs, reverse=True) and len(set(epochs)) == 4


def test_without_a_time_budget_enough_trials_are_promoted_to_the_top():
    for trials in (4, 8, 20, 40, 100):
        chosen = choose_plan(settings(trials=trials, audit=0), 36, 2)
        assert chosen.trials[-1] >= FEWEST_AT_TOP
    assert choose_plan(settings(trials=40), 36, 2).epochs < 40 * 36 / 2


def test_a_given_reduction_is_kept():
    assert choose_plan(settings(trials=40, reduction=2), 36, 2).plan.reduction == 2


def test_a_budget_that_holds_no_trial_is_refused_with_the_way_out():
    with pytest.raises(
        UserError, match=r"no trial of 36 epochs fits, there is time for 20\.0 epochs; raise --time-budget"
    ):
        choose_plan(settings(), 36, 3, Budget(20, 4))


def test_where_not_all_trials_fit_as_many_as_fit_are_planned():
    fewer = fitted(forecast(plan((4, 12)), 30), Budget(100, 1))
    assert fewer.rungs == (4, 12) and fewer.epochs <= 100
    assert forecast(plan((4, 12)), fewer.trials[0] + 1).epochs > 100


def test_the_description_says_what_is_saved():
    assert forecast(plan((4, 12), promotion="restart"), 30).describe(60, 2) == (
        "plan: 30 trials to 4 epochs, 10 of them to 12 (240 epochs instead of 360; restart, best 1 in 3), "
        "about 2:00:00 of training at 60 s an epoch"
    )
