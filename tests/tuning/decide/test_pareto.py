"""Several metrics: the Pareto front, what is picked from it, and who climbs, against plain loops and by hand."""

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tuning.decide.pareto import best_trials, knee, limits_of, pareto_front, spread_order
from tuning.decide.sampler import OPTUNAS, Sampler
from tuning.record.cause import Cause, Kind
from tuning.record.trial import TrialRecord, TrialState
from tuning.space.plan import Plan
from tuning.space.read import read_space


@pytest.fixture(autouse=True)
def _expect_what_was_scored(monkeypatch):
    """Fronts are by expected scores; here those are the scores themselves."""

    def standing_of(study, repeats=()):
        return SimpleNamespace(
            expected={t.number: t.notes.get("expected", t.score) for t in study.trials() if t.score is not None}
        )

    for module in ("pareto", "ranking"):
        monkeypatch.setattr(f"tuning.decide.{module}.standing_of", standing_of)


def study_of(trials, pick="knee"):
    """What is asked of a study."""
    space = SimpleNamespace(searches_length=False, study=SimpleNamespace(pick=pick))
    return SimpleNamespace(trials=lambda: trials, space=space)


def front_of(trials):
    return pareto_front(study_of(trials))


def limits(trials, pick):
    return limits_of(study_of(trials, pick))


def order_of(trials):
    """The trials, those to promote first."""
    return [trials[place] for place in spread_order([(t.score, t.costs) for t in trials])]


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
    front = front_of(trials)
    expected = [
        t
        for t in trials
        if not any(dominates(other, t) or (equal(other, t) and other.number < t.number) for other in trials)
    ]
    assert sorted(t.number for t in front) == [t.number for t in expected]
    assert [t.score for t in front] == sorted((t.score for t in front), reverse=True)


def test_failed_trials_are_on_no_front_and_others_count_with_what_is_expected_of_them():
    short = replace(trial(3, 0.45, TrialState.PAUSED, rung=1, latency_ms=1), notes={"expected": 0.55})
    grown = TrialRecord(0, TrialState.COMPLETE, {}, {1: 0.3, 3: 0.5}, costs={"latency_ms": 2})
    gone = trial(2, 0.9, TrialState.FAILED, latency_ms=1)
    assert [t.number for t in front_of([grown, gone, short])] == [3]
    assert front_of([gone]) == []


def test_a_pruned_trial_may_be_on_the_front_but_is_not_its_knee():
    trials = [trial(0, 0.5, latency_ms=4), trial(1, 0.4, latency_ms=2), trial(2, 0.45, TrialState.PRUNED, latency_ms=1)]
    assert [t.number for t in front_of(trials)] == [0, 2]
    assert limits(trials, "knee") == {"latency_ms": 4}


def test_the_knee_is_where_little_is_lost_on_either_side():
    trials = [
        trial(0, 0.60, latency_ms=16),
        trial(1, 0.58, latency_ms=2),  # an eighth of the time for a fifth of the gain
        trial(2, 0.50, latency_ms=1),
        trial(3, 0.40, latency_ms=1),
    ]
    front = front_of(trials)
    assert [t.number for t in front] == [0, 1, 2]
    assert front[knee([(t.score, t.costs) for t in front])].number == 1
    assert limits(trials, "knee") == {"latency_ms": 2}
    assert best_trials(study_of(trials))[0].number == 1


def test_under_a_limit_the_best_score_is_picked_and_what_exceeds_it_comes_last():
    trials = [trial(0, 0.6, latency_ms=16), trial(1, 0.3, latency_ms=4), trial(2, 0.4, latency_ms=5)]
    trials.append(trial(3, 0.9, TrialState.FAILED, latency_ms=1))
    pick = {"latency_ms": 5}
    assert limits(trials, pick) == pick
    assert [t.number for t in best_trials(study_of(trials, pick))] == [2, 1, 0, 3]
    trials.append(trial(4, 0.2, TrialState.PRUNED, latency_ms=2))
    assert [t.number for t in best_trials(study_of(trials, pick))] == [2, 1, 4, 0, 3], (
        "a pruned one that keeps them counts more"
    )


def test_without_costs_nothing_is_limited_and_the_order_is_that_of_the_scores():
    trials = [trial(n, score) for n, score in enumerate((0.2, 0.5, 0.5, 0.1))]
    assert limits(trials, "knee") == {}
    assert [t.number for t in order_of(trials)] == [1, 2, 0, 3]


@pytest.mark.parametrize("seed", range(10))
def test_who_dominates_climbs_before_who_is_dominated_and_every_trial_has_a_place(seed):
    trials = drawn(seed)
    order = order_of(trials)
    assert sorted(t.number for t in order) == list(range(len(trials)))
    places = {t.number: place for place, t in enumerate(order)}
    for one in trials:
        for other in trials:
            if dominates(one, other):
                assert places[one.number] < places[other.number]
    front = {t.number for t in front_of(trials)}
    assert {t.number for t in order[: len(front)]} == front
    assert order[0].score == max(t.score for t in trials)


def test_of_a_front_those_climb_first_that_are_spread_over_all_of_it():
    near = [trial(n, 0.60 - 0.001 * n, latency_ms=16 - n) for n in range(4)]
    assert [t.number for t in order_of([*near, trial(9, 0.1, latency_ms=1)])[:2]] == [0, 9]


@pytest.mark.parametrize("name", ["model", *(name for name in OPTUNAS if name != "cmaes")])
def test_samplers_learn_from_several_metrics_and_the_same_record_gives_the_same_proposal(name, tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(
        "search: {learning_rate: {low: 1e-4, high: 1e-1, log: true}, backbone: [resnet18, resnet50]}\n"
        f"study: {{trials: 12, sampler: {name}, metrics: {{val_mAP: max, latency_ms: min}}}}\n"
    )
    space, trials = read_space(file), []
    sampler = Sampler(space, Plan.of(space.study))
    for number in range(9):
        parameters, notes = sampler.propose(trials)
        costs = {"latency_ms": {"resnet18": 1.0, "resnet50": 3.0}[parameters["backbone"]]}
        row = TrialRecord(number, TrialState.COMPLETE, parameters, {50: parameters["learning_rate"]}, notes=notes)
        if number == 2:
            row = replace(row, state=TrialState.FAILED, cause=Cause(Kind.DIVERGED, "loss"), scores={})
        trials.append(replace(row, costs=costs))
    assert Sampler(space, Plan.of(space.study)).propose(trials) == sampler.propose(trials)
