"""The bootstrap over identities against a plain loop, and what must hold of any interval."""

import random
import statistics
import time
import tracemalloc

import numpy as np
import pytest

from reid_train.measure.intervals import bootstrap_intervals


def scores(identities, queries, seed=0, figures=1):
    """Scores of 0 to 1 whose level is the identity's; each has 1 to 2 `queries` - 1 queries."""
    rng = np.random.default_rng(seed)
    identity_C = np.repeat(np.arange(identities) * 7 + 3, rng.integers(1, 2 * queries, identities))
    level = rng.uniform(0, 1, identities).repeat(np.unique(identity_C, return_counts=True)[1])
    values_CF = np.clip(level[:, None] + rng.normal(0, 0.1, (len(identity_C), figures)), 0, 1)
    shuffled = rng.permutation(len(identity_C))
    return values_CF[shuffled], identity_C[shuffled]


def plain_loop(values, identities, resamples, draw):
    """Means of resampled identities, sorted: `draw(n)` gives n numbers below n."""
    names = sorted(set(identities))
    of_identity = {name: [v for v, i in zip(values, identities, strict=True) if i == name] for name in names}
    means = []
    for _ in range(resamples):
        resampled = [value for number in draw(len(names)) for value in of_identity[names[number]]]
        means.append(statistics.fmean(resampled))
    return sorted(means)


def test_intervals_equal_a_plain_loop_over_the_same_draws():
    values_CF, identity_C = scores(identities=12, queries=4, figures=3)
    found = bootstrap_intervals(values_CF, identity_C, resamples=400, seed=5)
    for figure in range(3):
        rng = np.random.default_rng(5)
        draws = iter(rng.multinomial(12, [1 / 12] * 12, size=400))  # how often each identity
        means = plain_loop(
            values_CF[:, figure], identity_C, 400, lambda n, draws=draws: np.repeat(range(n), next(draws))
        )
        assert found[figure] == pytest.approx(np.percentile(means, [2.5, 97.5]))


def test_intervals_agree_with_a_plain_loop_over_other_draws():
    values_CF, identity_C = scores(identities=60, queries=3)
    draws = random.Random(1)
    means = plain_loop(values_CF[:, 0], identity_C, 4000, lambda n: [draws.randrange(n) for _ in range(n)])
    width = means[3899] - means[99]
    found = bootstrap_intervals(values_CF, identity_C, resamples=4000)[0]
    assert found == pytest.approx([means[99], means[3899]], abs=0.1 * width)


def test_more_identities_give_narrower_intervals_and_more_queries_of_the_same_identity_do_not():
    def width(identities, queries):
        low, high = bootstrap_intervals(*scores(identities, queries))[0]
        return high - low

    assert width(400, 3) < 0.7 * width(100, 3) < 0.49 * width(25, 3)
    values_CF, identity_C = scores(40, 3)
    same = bootstrap_intervals(np.repeat(values_CF, 10, axis=0), identity_C.repeat(10))
    assert same == pytest.approx(bootstrap_intervals(values_CF, identity_C))


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    covered = [low <= 0.5 <= high for s in range(200) for low, high in bootstrap_intervals(*scores(50, 3, s))]
    assert 0.88 <= statistics.fmean(covered) <= 0.99


def test_one_identity_has_no_interval_and_equal_scores_have_one_of_no_width():
    assert bootstrap_intervals(np.random.default_rng(0).random((9, 2)), np.full(9, 4)) is None
    assert bootstrap_intervals(np.full((9, 1), 0.3), np.arange(9) // 3)[0] == pytest.approx([0.3, 0.3])


def test_the_order_of_queries_does_not_count_and_the_seed_does():
    values_CF, identity_C = scores(30, 3)
    found = bootstrap_intervals(values_CF, identity_C, seed=1)
    assert found == pytest.approx(bootstrap_intervals(values_CF[::-1], identity_C[::-1], seed=1))
    assert (found != bootstrap_intervals(values_CF, identity_C, seed=2)).any()


@pytest.mark.parametrize(("queries", "identities"), [(1678, 200), (3368, 750)])
def test_the_test_sets_of_veri_and_market_take_less_than_a_second(queries, identities):
    rng = np.random.default_rng(0)
    identity_C = np.concatenate([np.arange(identities), rng.integers(identities, size=queries - identities)])
    started = time.process_time()
    bootstrap_intervals(rng.random((queries, 6)), identity_C)
    assert time.process_time() - started < 1


def test_30_000_identities_take_no_table_of_identities_by_queries():
    identity_C = np.arange(90_000) % 30_000
    tracemalloc.start()
    low, high = bootstrap_intervals(np.random.default_rng(0).random((90_000, 6)), identity_C, resamples=10)[0]
    used_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert low < 0.505 and high > 0.495
    assert used_bytes < 200 * 2**20  # the table would take 2.7 GB
