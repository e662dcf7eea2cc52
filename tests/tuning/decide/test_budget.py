"""The purse: what is spent and left, and what the next epochs are for, by hand and as properties."""

from dataclasses import replace

import pytest

from tests.reports import epoch_report
from tests.simulated_search import Clock
from tuning.decide.budget import CLOSING_S, Phase, Purse, Shares, closing_s, epochs_for_trials
from tuning.record.study import Study
from tuning.record.trial import Decision, TrialState
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search: {learning_rate: {low: 1e-4, high: 1e-1, log: true}}
study: {rungs: [4, 12], epochs: 240}
"""


@pytest.fixture
def opened(tmp_path):
    def made(**changes):
        """A study in memory and the record of its repeats."""
        (tmp_path / "space.yaml").write_text(SPACE)
        space = read_space(tmp_path / "space.yaml")
        space = replace(space, study=space.study.model_copy(update=changes))
        return Study("s", space, in_memory=True), Study("s", space, name="repeats", in_memory=True)

    return made


def train(study, number, rung, epochs=None, seconds=1.0):
    for epoch in range(1, (epochs or rung) + 1):
        study.record(number, rung, epoch_report(epoch, num_epochs=rung, val_mAP=0.5, seconds=seconds))


def test_what_runs_counts_with_the_epochs_that_it_will_train(opened):
    study, record = opened()
    purse = Purse(study, record)
    assert (purse.spent(), purse.left(), purse.total()) == (0, 240, 240)
    study.add({"learning_rate": 0.01})
    assert purse.spent() == 4, "begun: its first schedule is as good as spent"
    train(study, 0, 4, 3)
    assert purse.spent() == 4
    train(study, 0, 4)
    study.decide(0, 4, Decision.PAUSED)
    assert purse.spent() == 4
    study.go_on(0)
    assert purse.spent() == 16, "promoted: by restart, 12 more"
    train(study, 0, 12, 5)
    study.interrupt(0)
    assert purse.spent() == 16, "it waits to go on"
    study.finish(0, TrialState.FAILED)
    assert purse.spent() == 9, "what it will not train is free again"
    record.add({}, {"of": "trial 0", "parameters": {"learning_rate": 0.01}, "seed": 1})
    assert purse.spent() == 9 + 12 and purse.total() == 240


def test_by_continue_the_way_to_the_top_is_shorter(opened):
    study, record = opened(promotion="continue")
    study.add({"learning_rate": 0.01})
    train(study, 0, 4)
    study.decide(0, 4, Decision.PAUSED)
    study.go_on(0)
    assert Purse(study, record).spent() == 4 + 8


def test_a_time_budget_is_turned_into_epochs_at_the_pace_that_is_measured(opened, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("tuning.record.study.time", clock)
    study, record = opened(epochs=None, time_budget=1000.0)
    one, four = Purse(study, record, 1), Purse(study, record, 4)
    assert one.pace_s() == 0 and one.left() == float("inf"), "nothing is known yet"
    study.note(plan={"rungs": [4, 12], "epoch_s": 2.0})
    assert one.left() == pytest.approx((1000 - closing_s(2.0)) / 2)
    assert four.left() == pytest.approx(4 * one.left())
    study.add({"learning_rate": 0.01})
    clock.now_s = 30.0
    train(study, 0, 4, 3, seconds=10.0)
    assert one.pace_s() == 10.0, "what was measured counts more than what was planned by"
    assert one.left() == pytest.approx((1000 - 30 - closing_s(10.0)) / 10 - 1), "one epoch is promised"
    assert one.holds(12) and not one.holds(int(one.left()) + 1)
    assert four.left() > 96 and not four.holds(96), "one schedule does not end sooner for having others beside it"
    clock.now_s = 1000 - closing_s(10.0) + 29
    assert not one.is_over() and one.left_s() == pytest.approx(-29)
    clock.now_s += 2
    assert one.is_over(), "3 % of the budget may be run over"


def test_of_several_budgets_the_one_that_is_used_up_first_counts(opened):
    study, record = opened(epochs=100, trials=50)
    assert Purse(study, record).left() == 100
    study, record = opened(epochs=1000, trials=10)
    assert Purse(study, record).left() == epochs_for_trials(10, 4, 12) < 1000


@pytest.mark.parametrize(("shortest", "longest"), [(4, 12), (12, 12), (1, 9)])
@pytest.mark.parametrize("trials", [1, 3, 10, 40, 200])
def test_so_many_trials_are_the_share_of_the_lower_rungs(trials, shortest, longest):
    total = epochs_for_trials(trials, shortest, longest)
    shares = Shares.of(total / longest, 1 + (shortest < longest))
    assert trials * shortest - 1e-6 <= shares.lower * total < trials * shortest + 1


def test_shares_follow_the_budget():
    lengths = range(1, 100)
    several, alone = ([Shares.of(n, rungs) for n in lengths] for rungs in (2, 1))
    assert all(0 < s.lower <= 1 and 0 <= s.repeats < 0.5 and s.lower + s.repeats <= 1 for s in several + alone)
    assert [s.repeats for s in several] == sorted(s.repeats for s in several) == [s.repeats for s in alone]
    assert [s.lower for s in several] == sorted((s.lower for s in several), reverse=True)
    assert several[3].repeats == 0 < several[-1].repeats, "a small budget has none to spare for repeats"
    assert all(s.lower + s.repeats == pytest.approx(1) for s in alone), "with one rung nothing is promoted"


def test_a_budget_is_for_trying_then_for_promoting_then_for_repeats(opened):
    study, record = opened(epochs=480)
    purse, phases = Purse(study, record), []
    while purse.left() >= 4:
        phases.append(purse.phase())
        train(study, number := study.add({"learning_rate": 0.01}), 4)
        study.decide(number, 4, Decision.PAUSED)
    assert phases == sorted(phases, key=list(Phase).index) and set(phases) == set(Phase)
    shares = Shares.of(40, 2)
    assert phases.count(Phase.TRY) == pytest.approx(shares.lower * 120, abs=1)
    assert phases.count(Phase.REPEAT) == pytest.approx(shares.repeats * 120, abs=1)


def test_what_follows_the_last_run_has_its_time():
    assert closing_s(0) == CLOSING_S and closing_s(100.0) > CLOSING_S + 50
