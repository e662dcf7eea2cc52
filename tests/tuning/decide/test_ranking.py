"""Which trial is best so far, when they have trained for different times."""

import random
import statistics

import pytest

from tuning.decide.ranking import PRIOR_PAIRS, best_first, estimated_finals
from tuning.record.trial import TrialRecord, TrialState


def record(number, scores, state=TrialState.COMPLETE):
    return TrialRecord(number, state, {}, scores)


def test_where_all_gain_the_same_the_gains_add_up():
    trials = [
        record(0, {1: 0.1, 3: 0.2, 9: 0.5}),
        record(1, {1: 0.2, 3: 0.3, 9: 0.6}),
        record(2, {1: 0.3}, TrialState.PAUSED),
        record(3, {1: 0.3, 3: 0.5}, TrialState.PAUSED),
    ]
    estimates = estimated_finals(trials)
    # From 1 to 3 the gains are 0.1, 0.1 and 0.2 (slope 0.5 by hand, shrunk by 3 / (3 + 4)).
    mean, gain, slope = 0.2, 0.4 / 3, 0.5 * 3 / (3 + PRIOR_PAIRS)
    at_3 = 0.3 + gain + slope * (0.3 - mean)
    assert estimates == pytest.approx({0: 0.5, 1: 0.6, 2: at_3 + 0.3, 3: 0.8})


def test_estimates_come_near_the_final_scores_when_the_better_gain_more():
    """Against the plain mean gain, on drawn trials whose gain grows with their score."""
    rng = random.Random(0)
    finals, trials = {}, []
    for number in range(40):
        early = rng.uniform(0.1, 0.3)
        finals[number] = 2 * early + rng.gauss(0, 0.01)
        known = {3: early} | ({27: finals[number]} if number < 20 else {})
        trials.append(record(number, known, TrialState.COMPLETE if number < 20 else TrialState.PRUNED))
    estimates = estimated_finals(trials)
    mean_gain = statistics.fmean(finals[n] - trials[n].scores[3] for n in range(20))
    ours = statistics.fmean(abs(estimates[n] - finals[n]) for n in range(20, 40))
    plain = statistics.fmean(abs(trials[n].scores[3] + mean_gain - finals[n]) for n in range(20, 40))
    assert ours < plain / 2


def test_nothing_is_expected_where_nothing_is_known():
    assert estimated_finals([record(0, {1: 0.3}, TrialState.PAUSED), record(1, {}, TrialState.RUNNING)]) == {0: 0.3}


def test_a_better_score_never_makes_a_worse_estimate():
    trials = [record(n, {1: 0.1 * n, 3: 1.0 - 0.3 * n}) for n in range(3)]
    trials += [record(10, {1: 0.1}, TrialState.PAUSED), record(11, {1: 0.9}, TrialState.PAUSED)]
    estimates = estimated_finals(trials)
    assert estimates[11] >= estimates[10]


def test_complete_trials_keep_their_score_where_the_length_is_searched():
    trials = [record(0, {2: 0.2}), record(1, {1: 0.9})]
    assert [trial.number for trial in best_first(trials)] == [1, 0]


def test_a_promising_short_one_is_before_a_poor_complete_one_and_given_up_ones_are_last():
    trials = [
        record(0, {3: 0.2, 9: 0.3}),
        record(1, {3: 0.25}, TrialState.PAUSED),
        record(2, {3: 0.8}, TrialState.PRUNED),
        record(3, {3: 0.9}, TrialState.FAILED),
        record(4, {}, TrialState.RUNNING),
    ]
    assert [trial.number for trial in best_first(trials)] == [1, 0, 2, 3]
