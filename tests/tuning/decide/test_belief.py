"""The model of scores: against scikit-learn and a plain loop with its kernel, and what it makes of drawn truths."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from tuning.decide.belief import JITTER, MIDDLE_VARIANCE, Belief


def drawn_places(count, columns=2, seed=0):
    return np.random.default_rng(seed).random((count, columns))


def smooth(places):
    return 0.5 - ((places - 0.3) ** 2).sum(axis=1)


def found(belief):
    """Its parameters, no longer as logarithms; the noise by source."""
    known = {name: np.exp(values.numpy()) for name, values in belief._parameters(belief._theta).items()}
    return {**known, "noise": belief.noise / belief._unit}


def one_source(places, scores):
    return Belief(places, np.zeros(len(scores), dtype=int), np.asarray(scores), 1)


def test_of_one_source_it_is_scikit_learns_gaussian_process():
    """Of places that differ, and of one that has three runs: those count as one of a third of the noise's variance."""
    places, others = drawn_places(12), drawn_places(7, seed=1)
    rng = np.random.default_rng(2)
    runs = [places, places[:1], places[:1]]
    scores = [smooth(each) + 0.02 * rng.standard_normal(len(each)) for each in runs]
    belief = one_source(np.vstack(runs), np.concatenate(scores))
    known, all_scores = found(belief), np.concatenate(scores)
    middle, unit = all_scores.mean(), all_scores.std(ddof=1)
    size = float(known["size"][0]) ** 2
    kernel = (
        ConstantKernel(size) * Matern(length_scale=known["lengths"], nu=2.5)
        + WhiteKernel(size * float(known["alone"][0]) ** 2)
        + ConstantKernel(2 * MIDDLE_VARIANCE)
    )
    counts = np.array([3.0, *[1.0] * 11])
    means = np.concatenate([[np.mean([each[0] for each in scores])], scores[0][1:]])
    alpha = (float(known["noise"][0]) ** 2 + JITTER) / counts
    theirs = GaussianProcessRegressor(kernel, alpha=alpha, optimizer=None).fit(places, (means - middle) / unit)
    mean, covariance = theirs.predict(others, return_cov=True)
    ours, ours_covariance = belief.at_top(others)
    assert ours == pytest.approx(middle + unit * mean, abs=1e-6)
    assert ours_covariance == pytest.approx(unit**2 * covariance, abs=1e-6 * unit**2)


def covariance_by_hand(known, one, other):
    """Of two (place, source), the top being source 1."""
    (place1, source1), (place2, source2) = one, other
    apart = math.sqrt(sum(((place1 - place2) / known["lengths"]) ** 2))
    shape = (1 + math.sqrt(5) * apart + 5 * apart**2 / 3) * math.exp(-math.sqrt(5) * apart)
    shape += known["alone"][0] ** 2 * (tuple(place1) == tuple(place2))
    follows = [known["follows"][0], 1.0]
    between = follows[source1] * follows[source2] + (known["apart"][0] ** 2 if source1 == source2 == 0 else 0.0)
    return known["size"][0] ** 2 * shape * between + MIDDLE_VARIANCE * (1 + (source1 == source2))


def test_of_two_sources_it_is_what_a_plain_loop_gives():
    places, sources = drawn_places(10), np.array([0] * 10 + [1] * 3)
    at = np.vstack([places, places[:3]])
    rng = np.random.default_rng(3)
    scores = smooth(at) - 0.1 * (sources == 0) + 0.01 * rng.standard_normal(13)
    belief, others = Belief(at, sources, scores, 2), drawn_places(4, seed=5)
    known, points = found(belief), list(zip(at, sources, strict=True))
    unit, middle = max(scores[sources == s].std(ddof=1) for s in (0, 1)), scores.mean()
    noisy = np.array([[covariance_by_hand(known, one, other) for other in points] for one in points])
    noisy += np.diag(known["noise"][sources] ** 2 + JITTER)
    for source in (0, 1):
        wanted = [(place, source) for place in (*others, places[0])]
        across = np.array([[covariance_by_hand(known, one, other) for other in points] for one in wanted])
        prior = np.array([[covariance_by_hand(known, one, other) for other in wanted] for one in wanted])
        mean, covariance = belief.at(np.vstack([others, places[:1]]), np.full(5, source))
        expected = middle + unit * across @ np.linalg.solve(noisy, (scores - middle) / unit)
        assert mean == pytest.approx(expected, abs=1e-6)
        left = prior - across @ np.linalg.solve(noisy, across.T)
        assert covariance == pytest.approx(unit**2 * left, abs=1e-5 * unit**2)


def test_it_is_a_function_of_the_scores_whatever_their_order():
    places, rng = drawn_places(15), np.random.default_rng(0)
    scores, sources = smooth(places) + 0.02 * rng.standard_normal(15), np.array([0] * 10 + [1] * 5)
    other = rng.permutation(15)
    one, two = (Belief(places[o], sources[o], scores[o], 2).at_top(places) for o in (np.arange(15), other))
    assert two[0] == pytest.approx(one[0], abs=1e-4) and two[1] == pytest.approx(one[1], abs=1e-4)
    again = Belief(places, sources, scores, 2).at_top(places)
    assert (again[0] == one[0]).all() and (again[1] == one[1]).all()


def test_other_units_of_the_scores_change_nothing_but_the_units():
    places = drawn_places(12)
    scores = smooth(places) + 0.02 * np.random.default_rng(0).standard_normal(12)
    (mean, covariance), (mean3, covariance3) = (one_source(places, s).at_top(places) for s in (scores, 3 * scores - 1))
    assert mean3 == pytest.approx(3 * mean - 1, abs=1e-4) and covariance3 == pytest.approx(9 * covariance, abs=1e-4)


def test_with_more_runs_of_a_configuration_more_is_known_of_it(monkeypatch):
    """By one kernel, the priors' middle: that of another fit may be less sure of itself."""
    monkeypatch.setattr("tuning.decide.belief.minimize", lambda loss, middles, **_: SimpleNamespace(x=middles))
    places, known = drawn_places(10), []
    for repeats in (0, 1, 3, 12):
        at = np.vstack([places, np.repeat(places[:1], repeats, axis=0)])
        belief = one_source(at, smooth(at))
        known.append(float(belief.at_top(places[:1])[1][0, 0]) / belief._unit**2)
    assert known == sorted(known, reverse=True) and len(set(known)) == 4
    noise = float(found(belief)["noise"][0]) ** 2 + JITTER
    assert all(variance < noise / runs for variance, runs in zip(known, (1, 2, 4, 13), strict=True)), "neighbours help"


def test_where_settings_decide_a_configuration_that_was_left_out_is_foretold():
    places = drawn_places(24)
    scores = smooth(places) + 0.01 * np.random.default_rng(2).standard_normal(24)
    foretold = [
        one_source(np.delete(places, n, axis=0), np.delete(scores, n)).at_top(places[n : n + 1])[0][0]
        for n in range(0, 24, 2)
    ]
    assert spearmanr(foretold, scores[::2]).statistic > 0.9


def test_what_others_tell_of_a_score_is_what_the_same_kernel_gives_without_it(monkeypatch):
    places, sources = drawn_places(12), np.array([0] * 8 + [1] * 4)
    scores = smooth(places) + 0.05 * np.random.default_rng(3).standard_normal(12)
    belief = Belief(places, sources, scores, 2)
    monkeypatch.setattr("tuning.decide.belief.minimize", lambda *_, **__: SimpleNamespace(x=belief._theta.numpy()))
    for n in range(12):
        other = Belief(np.delete(places, n, axis=0), np.delete(sources, n), np.delete(scores, n), 2)
        other._middle, other._unit = belief._middle, belief._unit
        other._scores = belief._scores[np.arange(12) != n]
        other._fit()
        expected, _ = other.at(places[n : n + 1], sources[n : n + 1])
        assert belief.left_out[n] == pytest.approx(expected[0], abs=1e-6)


def test_where_settings_say_nothing_the_scores_themselves_rank():
    """Configurations differ for certain, by three runs each, and neighbours are no more alike than others."""
    rng = np.random.default_rng(4)
    places, truth = np.repeat(drawn_places(15), 3, axis=0), np.repeat(rng.standard_normal(15) * 0.1, 3)
    belief = one_source(places, truth + 0.01 * rng.standard_normal(45))
    assert spearmanr(belief.at_top(places[::3])[0], truth[::3]).statistic > 0.95
    assert belief.noise[0] < 0.04


@pytest.mark.parametrize("sd", [0.005, 0.02, 0.08])
def test_the_noise_is_learned_from_repeats(sd):
    rng, places = np.random.default_rng(5), np.repeat(drawn_places(10), 4, axis=0)
    belief = one_source(places, smooth(places) + sd * rng.standard_normal(40))
    assert sd / 1.6 < belief.noise[0] < sd * 1.6


def test_scores_that_differ_by_noise_alone_are_not_taken_for_sure():
    """Of five at the top, all equally good, one is called the best with 0.9 in few of 20 studies."""
    sure, held = 0, []
    for seed in range(20):
        rng, places = np.random.default_rng(seed), drawn_places(17, seed)
        at, sources = np.vstack([places[:12], places[:5]]), np.array([0] * 12 + [1] * 5)
        belief = Belief(at, sources, np.r_[[0.2] * 12, [0.4] * 5] + 0.02 * rng.standard_normal(17), 2)
        mean, covariance = belief.at_top(places[:5])
        drawn = rng.multivariate_normal(mean, covariance, 1000, check_valid="ignore")
        sure += np.bincount(drawn.argmax(axis=1)).max() >= 900
        held += (np.abs(mean - 0.4) < 1.645 * np.sqrt(np.diag(covariance))).tolist()
    assert sure <= 3 and np.mean(held) > 0.7, (sure, np.mean(held))


def two_lengths(short, rng):
    """A belief in 30 configurations' short scores and eight's at the top, and the truth at the top."""
    places = drawn_places(30)
    truth = smooth(places)
    top = rng.permutation(30)[:8]
    at, sources = np.vstack([places, places[top]]), np.array([0] * 30 + [1] * 8)
    scores = np.concatenate([short, truth[top]]) + 0.01 * rng.standard_normal(38)
    return Belief(at, sources, scores, 2), places, truth


def test_a_short_schedule_that_ranks_tells_of_the_top_and_one_that_ranks_backwards_is_seen_through():
    rng = np.random.default_rng(6)
    truth = smooth(drawn_places(30))
    ranks, places, _ = two_lengths(0.5 * truth - 0.2, rng)
    chance, _, _ = two_lengths(0.15 * rng.standard_normal(30), rng)
    assert ranks.correlations[0] > chance.correlations[0] + 0.01
    assert ranks.correlations[-1] == chance.correlations[-1] == pytest.approx(1)
    assert spearmanr(ranks.at_top(places)[0], truth).statistic > 0.9
    spread = [float(np.sqrt(np.diag(belief.at_top(places)[1])).mean()) for belief in (ranks, chance)]
    assert spread[0] < 0.7 * spread[1]


def test_stated_intervals_hold_about_nine_times_in_ten():
    """Truths of a few random waves, 12 scores each; what is foretold of other places holds as often as is stated."""
    rng, held = np.random.default_rng(7), []
    for _ in range(15):
        waves, phases = rng.normal(0, 3, (4, 2)), rng.random(4) * 6
        truth = lambda places, w=waves, p=phases: 0.1 * np.cos(places @ w.T + p).sum(axis=1)  # noqa: E731
        places, others = rng.random((12, 2)), rng.random((20, 2))
        belief = one_source(places, truth(places) + 0.02 * rng.standard_normal(12))
        mean, covariance = belief.at_top(others)
        held += list(np.abs(truth(others) - mean) < 1.645 * np.sqrt(np.diag(covariance)))
    assert 0.8 < np.mean(held) < 0.97


@pytest.mark.parametrize("scores", [[0.3], [0.3, 0.4], [0.3] * 5])
def test_few_or_equal_scores_are_no_obstacle(scores):
    belief = one_source(drawn_places(len(scores)), scores)
    mean, covariance = belief.at_top(drawn_places(3, seed=9))
    assert np.isfinite(mean).all() and (np.diag(covariance) > 0).all()
    assert (mean > 0).all() and (mean < 0.6).all()
