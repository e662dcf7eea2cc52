"""How much a difference may be another on other identities: against a plain bootstrap."""

import numpy as np
import pytest

from tuning.confirm.statistics import identities_sd


def plain_bootstrap(differences, queries, resamples=4000):
    rng, means = np.random.default_rng(1), []
    for _ in range(resamples):
        drawn = rng.integers(0, len(differences), len(differences))
        means.append(sum(differences[i] * queries[i] for i in drawn) / sum(queries[i] for i in drawn))
    return np.std(means)


@pytest.mark.parametrize("identities", [5, 30])
def test_it_is_the_spread_of_a_plain_bootstrap(identities):
    rng = np.random.default_rng(0)
    one, other, queries = rng.random(identities), rng.random(identities), rng.integers(1, 6, identities)
    assert identities_sd(one, other, queries) == pytest.approx(plain_bootstrap(one - other, queries), rel=0.08)


def test_identities_are_the_same_for_both():
    """A model that is 0.1 better on each identity is better for certain, however different those are."""
    scores = np.random.default_rng(0).random(20) * 0.8
    assert identities_sd(scores + 0.1, scores, [1] * 20) == pytest.approx(0, abs=1e-12)


def test_without_the_others_scores_it_is_that_of_two_unlike_models():
    rng = np.random.default_rng(3)
    scores, others, queries = rng.random(4000), rng.random(4000), rng.integers(1, 6, 4000)
    assert identities_sd(scores, None, queries) == pytest.approx(identities_sd(scores, others, queries), rel=0.08)


def test_it_shrinks_with_more_identities_and_is_the_same_again():
    rng = np.random.default_rng(2)
    few, many = rng.normal(0, 0.1, 20), rng.normal(0, 0.1, 320)
    of_few, of_many = (identities_sd(s, np.zeros(len(s)), [1] * len(s)) for s in (few, many))
    assert of_few / of_many == pytest.approx(4, rel=0.4)
    assert identities_sd(few, 0 * few, [1] * 20) == of_few


def test_of_one_identity_nothing_is_known():
    assert identities_sd([0.5], [0.3], [7]) == 0.0
