"""Which trial is best so far, when they have trained for different times."""

import math
import random

import pytest
from scipy.stats import spearmanr

from tuning.decide.places import Places
from tuning.decide.ranking import FEWEST_TO_TELL, Run, Standing, best_first, runs_of, standing
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState
from tuning.space.plan import Plan
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search: {learning_rate: {low: 1e-4, high: 1e-1, log: true}, dropout: {low: 0.0, high: 0.5}}
study: {trials: 8, rungs: [3, 9]}
"""


@pytest.fixture
def space(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    return read_space(tmp_path / "space.yaml")


def record(number, scores, state=TrialState.PAUSED, cause=None):
    rng = random.Random(number)
    parameters = {"learning_rate": 10 ** rng.uniform(-4, -1), "dropout": rng.uniform(0, 0.5)}
    return TrialRecord(number, state, parameters, scores, cause=cause)


def quality(trial):
    return 0.6 - 0.1 * (math.log10(trial.parameters["learning_rate"]) + 2) ** 2 - 0.3 * trial.parameters["dropout"]


def many(count, at_top=6):
    """Trials whose short scores rank, the first few trained to the top."""
    blank = [record(number, {}) for number in range(count)]
    return [record(t.number, {3: quality(t) - 0.2} | ({9: quality(t)} if t.number < at_top else {})) for t in blank]


def test_what_is_expected_of_short_trials_is_near_what_they_would_score_at_the_top(space):
    trials = many(20)
    expected = Standing(space, Plan.of(space.study), trials).expected
    assert set(expected) == set(range(20))
    truth = [quality(trial) for trial in trials]
    assert max(abs(expected[n] - truth[n]) for n in range(20)) < 0.1
    assert spearmanr([expected[n] for n in range(20)], truth).statistic > 0.95


def test_before_any_trial_is_at_the_top_the_scores_of_the_first_rung_are_expected(space):
    found = Standing(space, Plan.of(space.study), many(10, at_top=0))
    assert found.reached == 0
    for trial in found.trials:
        assert found.expected[trial.number] == pytest.approx(trial.score, abs=0.05)


def test_nothing_is_expected_of_trials_without_a_score(space):
    plan = Plan.of(space.study)
    assert Standing(space, plan, [record(0, {}, TrialState.RUNNING)]).expected == {}
    trials = [record(0, {3: 0.3}), record(1, {}, TrialState.RUNNING)]
    assert Standing(space, plan, trials).expected == pytest.approx({0: 0.3}, abs=0.01)


@pytest.mark.parametrize("kind", list(Kind))
def test_what_failed_for_its_settings_counts_as_bad_as_the_worst_of_its_rung(kind):
    trials = [
        record(0, {3: 0.2, 9: 0.5}),
        record(1, {3: 0.4}),
        record(2, {}, TrialState.FAILED, Cause(kind, "so")),
        record(3, {3: 0.9}, TrialState.FAILED, Cause(kind, "so")),
    ]
    added = runs_of(trials, (3, 9))[4:]
    if Cause(kind, "so").shows_bad_region:
        assert added == [Run(trials[2].parameters, 0, 0.2), Run(trials[3].parameters, 1, 0.5)]
    else:
        assert added == []


def test_a_standing_follows_from_the_trials_alone_whoever_asked_before(space):
    plan = Plan.of(space.study)
    trials = many(8)
    swapped = [TrialRecord(t.number, t.state, trials[-1 - t.number].parameters, t.scores) for t in trials]
    standing(space, plan, trials).expected  # noqa: B018
    again = standing(space, plan, swapped)
    assert again.expected == pytest.approx(Standing(space, plan, swapped).expected)
    ended = [TrialRecord(t.number, TrialState.COMPLETE, t.parameters, t.scores) for t in swapped]
    assert {trial.state for trial in standing(space, plan, ended).trials} == {TrialState.COMPLETE}


def test_scores_by_chance_are_told_from_scores_that_the_settings_explain(space):
    plan, rng = Plan.of(space.study), random.Random(0)
    trials = many(FEWEST_TO_TELL + 5, at_top=0)
    assert Standing(space, plan, trials).ranks
    by_chance = [TrialRecord(t.number, t.state, t.parameters, {3: rng.random()}) for t in trials]
    assert not Standing(space, plan, by_chance).ranks
    assert Standing(space, plan, by_chance[: FEWEST_TO_TELL - 1]).ranks, "too few to tell"
    assert Standing(space, plan, [TrialRecord(t.number, t.state, t.parameters, {3: 0.5}) for t in trials]).ranks


def test_the_best_is_of_the_highest_rung_and_failed_trials_are_last(space):
    study = Study("s", space, in_memory=True)
    trials = [
        record(0, {3: 0.2, 9: 0.3}, TrialState.COMPLETE),
        record(1, {3: 0.8}),
        record(2, {3: 0.1}),
        record(3, {3: 0.9}, TrialState.FAILED, Cause(Kind.ERROR, "so")),
        record(4, {}, TrialState.RUNNING),
        record(5, {3: 0.5, 9: 0.6}, TrialState.COMPLETE),
    ]
    study._records = {trial.number: trial for trial in trials}
    assert [trial.number for trial in best_first(study)] == [5, 0, 1, 2, 3]
    assert [trial.number for trial in best_first(study, most=2)] == [5, 0]


def test_places_are_those_of_the_space(space):
    assert Standing(space, Plan.of(space.study), []).places.keys == Places(space).keys
