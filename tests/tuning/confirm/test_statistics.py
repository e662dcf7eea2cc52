"""How sure a comparison is, against hand-worked cases, plain loops and simulated truths."""

import numpy as np
import pytest

from tuning.confirm import statistics
from tuning.confirm.statistics import Comparison


def one_identity(runs):
    """Scores of runs on an identity that never changes."""
    return np.array(runs, float)[:, :, None]


def test_means_are_over_queries():
    scores = np.array([[[0.2, 0.8], [0.4, 0.8]]])
    assert Comparison(scores, [3, 1], chosen=[True]).means_C == pytest.approx([(0.3 * 3 + 0.8) / 4])


def test_identical_configurations_are_as_good_as_each_other():
    scores = one_identity([[0.5, 0.6, 0.7]] * 4)
    sure = Comparison(scores, [1], chosen=[True, True, True, False])
    assert sure.p_best_C.sum() == pytest.approx(1) and np.ptp(sure.p_best_C[:3]) < 0.06 and sure.p_best_C[3] < 0.5
    assert sure.p_better(0, 1) == pytest.approx(0.5, abs=0.06)


def test_a_difference_far_beyond_the_noise_is_certain():
    sure = Comparison(one_identity([[0.60, 0.61, 0.62], [0.2, 0.21, 0.22], [0.3, 0.31, 0.29]]), [1], chosen=[True] * 3)
    assert sure.p_best_C[0] > 0.99
    low, high = sure.interval(0, 1)
    assert 0 < low < 0.4 < high + 0.01


def test_of_one_seed_only_the_identities_are_uncertain():
    sure = Comparison(one_identity([[0.5], [0.4]]), [1], chosen=[True, True])
    assert sure.interval(0) == (0.5, 0.5) and sure.p_best_C.tolist() == [1, 0]


def test_the_interval_over_identities_is_a_plain_bootstraps():
    rng = np.random.default_rng(1)
    scores, queries = rng.random((1, 1, 30)), rng.integers(1, 5, 30)
    means = []
    for _ in range(4000):
        drawn = rng.integers(0, 30, 30)
        means.append(sum(scores[0, 0, i] * queries[i] for i in drawn) / sum(queries[i] for i in drawn))
    expected = np.quantile(means, [0.025, 0.975])
    assert Comparison(scores, queries, chosen=[True]).interval(0) == pytest.approx(expected, abs=0.01)


def test_identities_are_the_same_for_all_configurations():
    """A configuration that is 0.1 better on each identity is better for certain, however different they are."""
    profile = np.random.default_rng(0).random(20) * 0.8
    scores = np.stack([profile, profile + 0.1])[:, None, :]
    assert Comparison(scores, [1] * 20, chosen=[True, True]).interval(1, 0) == pytest.approx((0.1, 0.1))


def test_what_a_search_chose_is_drawn_together_by_as_much_as_seeds_are_uncertain(monkeypatch):
    """Where true means vary as seeds do, a mean of 2 seeds keeps 1 / (1 + 1/2) of its distance from the middle."""
    monkeypatch.setattr(statistics, "WIDTHS", np.array([1.0]))
    runs = one_identity([[0.19, 0.21], [0.49, 0.51], [0.79, 0.81]])
    sure = Comparison(runs, [1], chosen=[True, True, False])
    expected = [0.35 - 0.15 / 1.5, 0.35 + 0.15 / 1.5, 0.8]  # what no search chose is not drawn to others
    assert sure.draws_BC.mean(axis=0) == pytest.approx(expected, abs=0.002)


def test_what_is_stated_comes_true(monkeypatch):
    """Simulated truths: means that differ by half the noise, 3 seeds. Stated probabilities are right as often."""
    monkeypatch.setattr(statistics, "DRAWS", 2_000)  # the figures below vary by more
    rng = np.random.default_rng(0)
    stated, right, inside = [], [], []
    for replay in range(400):
        truth = rng.normal(0.5, 0.01, 4)
        runs = truth[:, None] + rng.normal(0, 0.01, (4, 3))
        sure = Comparison(one_identity(runs), [1], chosen=[True, True, True, False], seed=replay)
        best = int(sure.p_best_C.argmax())
        stated.append(sure.p_best_C[best])
        right.append(best == truth.argmax())
        low, high = sure.interval(0, 3)
        inside.append(low <= truth[0] - truth[3] <= high)
    assert np.mean(right) == pytest.approx(np.mean(stated), abs=0.06)
    sure_ones = np.array(right)[np.array(stated) > 0.9]
    assert len(sure_ones) > 30 and sure_ones.mean() > 0.85
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)
