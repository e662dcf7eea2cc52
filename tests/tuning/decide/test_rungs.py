"""Who goes on at a rung's end, and how well a rung ranks."""

import itertools
import random

import pytest

from tuning.decide.rungs import FEWEST_PAIRS, agreement, hopeless, promotable
from tuning.record.trial import Decision, TrialRecord, TrialState


def paused(number, *scores, rungs=(1, 3, 9)):
    return TrialRecord(number, TrialState.PAUSED, {}, dict(zip(rungs, scores, strict=False)))


def ended(number, scores, decisions=None, state=TrialState.COMPLETE):
    return TrialRecord(number, state, {}, scores, decisions=decisions or {})


def test_the_best_one_in_reduction_is_promoted_and_nobody_before_there_are_so_many():
    trials = [paused(0, 0.1), paused(1, 0.2)]
    assert promotable(trials, (1, 3, 9), 3) is None
    assert promotable([*trials, paused(2, 0.15)], (1, 3, 9), 3) == 1


def test_a_trial_that_was_passed_over_is_promoted_when_there_is_room_for_it():
    trials = [
        ended(0, {1: 0.9, 3: 0.9}, {1: Decision.PROMOTED}, TrialState.RUNNING),
        paused(1, 0.8),
        paused(2, 0.1),
        paused(3, 0.1),
    ]
    assert promotable(trials, (1, 3, 9), 3) is None
    assert promotable([*trials, paused(4, 0.1), paused(5, 0.1)], (1, 3, 9), 3) == 1


def test_once_a_trial_is_complete_the_one_expected_to_be_the_best_goes_on_whatever_the_numbers():
    done = ended(0, {1: 0.3, 3: 0.4, 9: 0.5})
    assert promotable([done, paused(1, 0.35)], (1, 3, 9), 3) == 1
    assert promotable([done, paused(1, 0.25)], (1, 3, 9), 3) is None
    assert promotable([done, paused(1, 0.35), ended(2, {1: 0.4}, state=TrialState.RUNNING)], (1, 3, 9), 4) is None


def test_the_highest_rung_goes_first():
    low = [paused(number, 0.9 - number / 100) for number in range(3)]
    high = [paused(number, 0.2, 0.5) for number in range(10, 13)]
    assert promotable([*low, *high], (1, 3, 9), 3) == 10


def test_pruned_failed_and_complete_trials_keep_their_place_in_the_ranking():
    others = [
        ended(1, {1: 0.8}, state=TrialState.PRUNED),
        ended(2, {1: 0.7}, state=TrialState.FAILED),
        ended(3, {1: 0.6, 3: 0.1, 9: 0.1}),
    ]
    assert promotable([*others, paused(0, 0.5)], (1, 3, 9), 4) is None
    assert promotable([*others, paused(0, 0.9)], (1, 3, 9), 4) == 0


def test_when_no_more_trials_come_the_best_climbs_whatever_the_numbers():
    trials = [paused(0, 0.1), paused(1, 0.2)]
    assert promotable(trials, (1, 3, 9), 3, last=True) == 1


def test_equal_scores_go_in_the_order_of_their_numbers():
    assert promotable([paused(n, 0.5) for n in (4, 2, 3)], (1, 3, 9), 3) == 2


@pytest.mark.parametrize("seed", range(20))
def test_nobody_is_given_up_whom_later_trials_could_promote(seed):
    """A plain simulation: whatever comes, a trial that was called hopeless is never among the best 1 in 3 later."""
    rng = random.Random(seed)
    count = rng.randrange(4, 14)
    scores = [rng.random() for _ in range(count)]
    now = rng.randrange(1, count)
    given_up = set(hopeless([paused(n, scores[n]) for n in range(now)], (1, 3), 3, count - now))
    # The others can at most all do worse than those that are there.
    final = [*scores[:now], *[-1.0] * (count - now)]
    places = max(1, count // 3)
    best = set(sorted(range(count), key=lambda n: (-final[n], n))[:places])
    assert given_up == set(range(now)) - best


def kendall(pairs):
    """Tau-b by its definition, over all pairs."""
    concordant = discordant = ties_x = ties_y = 0
    for (x1, y1), (x2, y2) in itertools.combinations(pairs, 2):
        dx, dy = x1 - x2, y1 - y2
        concordant += dx * dy > 0
        discordant += dx * dy < 0
        ties_x += dx == 0 and dy != 0
        ties_y += dy == 0 and dx != 0
    total = concordant + discordant
    return (concordant - discordant) / ((total + ties_x) * (total + ties_y)) ** 0.5


def test_agreement_is_kendalls_tau_over_the_fair_sample_alone():
    rng = random.Random(1)
    fair = [ended(n, {1: round(rng.random(), 1), 9: rng.random()}, {1: Decision.FAIR}) for n in range(12)]
    chosen = [ended(n, {1: 1.0, 9: -1.0 * n}, {1: Decision.PROMOTED}) for n in range(20, 40)]
    unfinished = [paused(n, 0.5) for n in range(50, 60)]
    found = agreement([*fair, *chosen, *unfinished], 1, 9)
    assert found.pairs == 12
    assert found.tau == pytest.approx(kendall([(t.scores[1], t.scores[9]) for t in fair]))
    assert found.low < found.tau < found.high


def test_the_interval_holds_nine_times_in_ten():
    """Bivariate normal scores with correlation 0.6: Kendall's tau is 2/pi asin(0.6) = 0.41."""
    rng, inside = random.Random(2), 0
    for _ in range(300):
        pairs = []
        for number in range(15):
            x = rng.gauss(0, 1)
            pairs.append(ended(number, {1: x, 9: 0.6 * x + 0.8 * rng.gauss(0, 1)}))
        found = agreement(pairs, 1, 9)
        inside += found.low < 0.4097 < found.high
    assert 0.85 < inside / 300 < 0.96


def test_nothing_is_said_of_a_rung_before_enough_trials_and_a_useless_one_is_told():
    few = [ended(n, {1: 0.1 * n, 9: 0.1 * n}) for n in range(FEWEST_PAIRS - 1)]
    found = agreement(few, 1, 9)
    assert found.low is None and not found.too_low and "not known yet" in found.describe()
    backwards = [ended(n, {1: 0.1 * n, 9: -0.1 * n}) for n in range(10)]
    assert agreement(backwards, 1, 9).too_low and "prunes no more" in agreement(backwards, 1, 9).describe()
    assert not agreement([ended(n, {1: 0.1 * n, 9: 0.1 * n}) for n in range(10)], 1, 9).too_low
    assert agreement([ended(n, {1: 0.5, 9: 0.1 * n}) for n in range(10)], 1, 9).tau is None
