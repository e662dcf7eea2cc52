"""Several metrics: the Pareto front, what is picked from it, and who climbs, against plain loops and by hand."""

import random
from dataclasses import replace

import pytest

from tuning.decide.pareto import climbing_order, knee, limits_of, pareto_front
from tuning.decide.ranking import best_first
from tuning.decide.rungs import hopeless, promotable
from tuning.decide.sampler import SAMPLERS, Sampler
from tuning.record.cause import Cause, Kind
from tuning.record.trial import TrialRecord, TrialState
from tuning.space.read import read_space


def trial(number, score, state=TrialState.COMPLETE, rung=3, **costs):
    return TrialRecord(number, state, {}, {rung: score}, costs=costs)


def drawn(seed, count=30, state=TrialState.COMPLETE):
    """Trials of few different costs, as architectures have them, some of them equal in everything."""
    rng = random.Random(seed)
    return [
        trial(n, score, state, latency_ms=rng.choice((1, 2, 5)), parameters=rng.choice((10, 30)))
        for n, score in enumerate(rng.choice((0.1, 0.2, 0.3, rng.random())) for _ in range(count))
    ]


def dominates(one, other):
    """By its definition."""
    goods = [(t.score, *(-cost for cost in t.costs.values())) for t in (one, other)]
    return all(a >= b for a, b in zip(*goods, strict=True)) and goods[0] != goods[1]


def equal(one, other):
    return (one.score, one.costs) == (other.score, other.costs)


@pytest.mark.parametrize("seed", range(10))
def test_the_front_is_what_a_plain_loop_finds(seed):
    trials = drawn(seed)
    front = pareto_front(trials)
    expected = [
        t
        for t in trials
        if not any(dominates(other, t) or (equal(other, t) and other.number < t.number) for other in trials)
    ]
    assert sorted(t.number for t in front) == [t.number for t in expected]
    assert [t.score for t in front] == sorted((t.score for t in front), reverse=True)


def test_failed_trials_are_on_no_front_and_others_count_with_what_is_expected_of_them():
    short = TrialRecord(3, TrialState.PAUSED, {}, {1: 0.45}, costs={"latency_ms": 1})
    grown = TrialRecord(0, TrialState.COMPLETE, {}, {1: 0.3, 3: 0.5}, costs={"latency_ms": 2})
    gone = trial(2, 0.9, TrialState.FAILED, latency_ms=1)
    assert [t.number for t in pareto_front([grown, gone, short])] == [3]
    assert pareto_front([gone]) == []


def test_a_pruned_trial_may_be_on_the_front_but_is_not_its_knee():
    trials = [trial(0, 0.5, latency_ms=4), trial(1, 0.4, latency_ms=2), trial(2, 0.45, TrialState.PRUNED, latency_ms=1)]
    assert [t.number for t in pareto_front(trials)] == [0, 2]
    assert limits_of(trials, "knee") == {"latency_ms": 4}


def test_the_knee_is_where_little_is_lost_on_either_side():
    trials = [
        trial(0, 0.60, latency_ms=16),
        trial(1, 0.58, latency_ms=2),  # an eighth of the time for a fifth of the gain
        trial(2, 0.50, latency_ms=1),
        trial(3, 0.40, latency_ms=1),
    ]
    front = pareto_front(trials)
    assert [t.number for t in front] == [0, 1, 2]
    assert front[knee(front, trials)].number == 1
    assert limits_of(trials, "knee") == {"latency_ms": 2}
    assert best_first(trials, limits_of(trials, "knee"))[0].number == 1


def test_under_a_limit_the_best_score_is_picked_and_what_exceeds_it_comes_last():
    trials = [trial(0, 0.6, latency_ms=16), trial(1, 0.3, latency_ms=4), trial(2, 0.4, latency_ms=5)]
    trials.append(trial(3, 0.9, TrialState.FAILED, latency_ms=1))
    limits = limits_of(trials, {"latency_ms": 5})
    assert limits == {"latency_ms": 5}
    assert [t.number for t in best_first(trials, limits)] == [2, 1, 0, 3]
    trials.append(trial(4, 0.2, TrialState.PRUNED, latency_ms=2))
    assert [t.number for t in best_first(trials, limits)] == [2, 1, 4, 0, 3], "a pruned one that keeps them counts more"


def test_without_costs_nothing_is_limited_and_the_order_is_that_of_the_scores():
    trials = [trial(n, score) for n, score in enumerate((0.2, 0.5, 0.5, 0.1))]
    assert limits_of(trials, "knee") == {}
    assert [t.number for t in climbing_order(trials, 3)] == [1, 2, 0, 3]


@pytest.mark.parametrize("seed", range(10))
def test_who_dominates_climbs_before_who_is_dominated_and_every_trial_has_a_place(seed):
    trials = drawn(seed)
    order = climbing_order(trials, 3)
    assert sorted(t.number for t in order) == list(range(len(trials)))
    places = {t.number: place for place, t in enumerate(order)}
    for one in trials:
        for other in trials:
            if dominates(one, other):
                assert places[one.number] < places[other.number]
    front = {t.number for t in pareto_front(trials)}
    assert {t.number for t in order[: len(front)]} == front
    assert order[0].score == max(t.score for t in trials)


def test_of_a_front_those_climb_first_that_are_spread_over_all_of_it():
    near = [trial(n, 0.60 - 0.001 * n, latency_ms=16 - n) for n in range(4)]
    assert [t.number for t in climbing_order([*near, trial(9, 0.1, latency_ms=1)], 3)[:2]] == [0, 9]


@pytest.mark.parametrize("seed", range(20))
def test_nobody_is_given_up_whom_later_trials_could_promote(seed):
    """Plain trials: whatever others come, those called hopeless stay outside of the best 1 in 3."""
    rng = random.Random(seed)
    now = drawn(seed, rng.randrange(4, 20), TrialState.PAUSED)
    to_come = rng.randrange(1, 10)
    given_up = hopeless(now, (3, 9), 3, to_come)
    for attempt in range(20):
        later = [t for t in drawn(100 * seed + attempt, len(now) + to_come, TrialState.PAUSED) if t.number >= len(now)]
        every = [*now, *later]
        best = {t.number for t in climbing_order(every, 3)[: max(1, len(every) // 3)]}
        assert not best & set(given_up)
    if not given_up:
        assert hopeless(now, (3, 9), 3, 0), "at the end everybody outside is given up"


def test_a_search_does_not_end_with_its_pick_half_trained():
    done = TrialRecord(0, TrialState.COMPLETE, {}, {3: 0.5, 9: 0.5}, costs={"latency_ms": 9})
    cheap = trial(1, 0.4, TrialState.PAUSED, latency_ms=1)
    assert promotable([done, cheap], (3, 9), 4) is None
    assert promotable([done, cheap], (3, 9), 4, pick={"latency_ms": 2}) == 1


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "cmaes"])
def test_samplers_learn_from_several_metrics_and_the_same_record_gives_the_same_proposal(name, tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(
        "search: {learning_rate: {low: 1e-4, high: 1e-1, log: true}, backbone: [resnet18, resnet50]}\n"
        f"study: {{trials: 12, sampler: {name}, metrics: {{val_mAP: max, latency_ms: min}}}}\n"
    )
    space, trials = read_space(file), []
    sampler = Sampler(space)
    for number in range(9):
        parameters, notes = sampler.propose(trials)
        costs = {"latency_ms": {"resnet18": 1.0, "resnet50": 3.0}[parameters["backbone"]]}
        row = TrialRecord(number, TrialState.COMPLETE, parameters, {50: parameters["learning_rate"]}, notes=notes)
        if number == 2:
            row = replace(row, state=TrialState.FAILED, cause=Cause(Kind.DIVERGED, "loss"), scores={})
        trials.append(replace(row, costs=costs))
    assert Sampler(space).propose(trials) == sampler.propose(trials)
