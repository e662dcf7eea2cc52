"""Thresholds by pairs against loops over all pairs, and what must hold of any threshold."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_train.measure import pairs as pairs_module
from reid_train.measure.pairs import BINS_A_UNIT, Pairs
from reid_train.measure.threshold import FEWEST_IDENTITIES, measure_threshold

BIN = 1 / BINS_A_UNIT


def images(identities, each, *, cameras=3, noise=1.0, seed=0, width=8):
    """Embeddings around a point for each identity, in no order."""
    rng = np.random.default_rng(seed)
    identity_N = rng.permutation(np.repeat(np.arange(identities) * 5 + 2, each))
    centres = rng.normal(size=(identities, width))
    embedding_ND = centres[(identity_N - 2) // 5] + noise * rng.normal(size=(len(identity_N), width))
    embedding_ND /= np.linalg.norm(embedding_ND, axis=1, keepdims=True)
    return torch.from_numpy(embedding_ND).float(), identity_N, rng.integers(1, cameras + 1, len(identity_N))


def every_pair(embedding_ND, identity_N, camera_N):
    """(similarity, identities) of pairs of one identity, and of pairs of two."""
    embeddings, same, different = embedding_ND.double().numpy(), [], []
    for one, other in itertools.combinations(range(len(identity_N)), 2):
        pair = float(embeddings[one] @ embeddings[other]), (identity_N[one], identity_N[other])
        if identity_N[one] != identity_N[other]:
            different.append(pair)
        elif camera_N[one] != camera_N[other]:
            same.append(pair)
    return same, different


def share(values, threshold):
    return float(np.mean(np.asarray(values) >= threshold))


def test_pairs_and_histogram_are_those_of_a_plain_loop():
    shown = images(9, 5)
    same, different = every_pair(*shown)
    found = measure_threshold(Pairs(*shown))
    assert (found["pairs_same"], found["pairs_different"]) == (len(same), len(different))
    assert (found["images"], found["identities"]) == (45, 9)
    histogram = found["histogram"]
    assert len(histogram["edges"]) == 51 and len(histogram["same"]) == len(histogram["different"]) == 50
    for kind, pairs in (("same", same), ("different", different)):
        counts, _ = np.histogram([similarity for similarity, _ in pairs], histogram["edges"])
        assert sum(histogram[kind]) == len(pairs)
        assert np.abs(counts.cumsum() - np.cumsum(histogram[kind])).max() <= 1, "one may lie at an edge"


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_rates_and_the_curve_are_those_of_a_plain_loop(noise):
    shown = images(20, 6, noise=noise)
    same, different = ([value for value, _ in pairs] for pairs in every_pair(*shown))
    found = measure_threshold(Pairs(*shown))
    (point,) = found["at"]  # 6,780 pairs tell 1 in 100 and not 1 in 1,000
    assert point["false_positive_rate"] == 0.01
    allowed = int(0.01 * len(different))
    lowest = sorted(different, reverse=True)[allowed]  # it must not reach the threshold
    assert lowest < point["threshold"] + 1e-6 and point["threshold"] - lowest <= 2 * BIN
    assert point["true_positive_rate"] == pytest.approx(share(same, point["threshold"]), abs=2 / len(same))
    candidates = sorted([*same, *different])
    brute = min((abs(share(different, t) - (1 - share(same, t))), t) for t in candidates)
    rate = (share(different, brute[1]) + 1 - share(same, brute[1])) / 2
    assert found["eer"]["rate"] == pytest.approx(rate, abs=0.004)
    at = found["eer"]["threshold"]
    assert abs(share(different, at) - (1 - share(same, at))) <= brute[0] + 2 / len(same)
    assert 90 <= len(found["curve"]) <= 110
    for on_curve in found["curve"]:
        assert on_curve["true_positive_rate"] == pytest.approx(share(same, on_curve["threshold"]), abs=2 / len(same))
        assert on_curve["false_positive_rate"] == pytest.approx(share(different, on_curve["threshold"]), abs=0.001)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 30), st.integers(2, 8), st.floats(0, 4), st.integers(0, 999), st.integers(2, 4))
def test_a_threshold_keeps_its_rate_and_one_a_bin_lower_does_not(identities, each, noise, seed, width):
    shown = images(identities, each, noise=noise, seed=seed, width=width)
    pairs = Pairs(*shown)
    found = measure_threshold(pairs, resamples=20)
    if found is None:
        assert not pairs.same_E.sum()
        return
    reached_E = pairs.different_E[::-1].cumsum()[::-1]
    for point in found["at"]:
        place = round((point["threshold"] + 1) * BINS_A_UNIT)
        reached = reached_E[place] if place < len(reached_E) else 0
        assert reached <= point["false_positive_rate"] * found["pairs_different"] < reached_E[place - 1]
        assert found["pairs_different"] * point["false_positive_rate"] >= 10
    rates = [point["true_positive_rate"] for point in found["at"]]
    assert rates == sorted(rates, reverse=True), "who allows fewer false ones finds fewer"
    assert 0 <= found["eer"]["rate"] <= 1
    for part in (found["eer"], *found["at"]):
        assert part["low"] is None or 0 <= part["low"] <= part["high"] <= 1


def exact_rates(same, different, weight_of, rate):
    """EER and true-positive rate at `rate`, of pairs that count several times."""
    true = np.array([value for value, _ in same])
    true_weights = np.array([weight_of[one] for _, (one, _) in same], dtype=float)
    false = np.array([value for value, _ in different])
    false_weights = np.array([weight_of[one] * weight_of[other] for _, (one, other) in different], dtype=float)
    thresholds = np.append(np.sort(np.concatenate([true, false])), 2)
    tpr = np.array([true_weights[true >= t].sum() for t in thresholds]) / true_weights.sum()
    fpr = np.array([false_weights[false >= t].sum() for t in thresholds]) / false_weights.sum()
    equal = np.argmin(np.abs(fpr - (1 - tpr)))
    return (fpr[equal] + 1 - tpr[equal]) / 2, tpr[np.argmax(fpr <= rate)]


def test_intervals_are_those_of_a_loop_over_the_same_draws():
    shown = images(15, 6, noise=1.2)
    same, different = every_pair(*shown)
    found = measure_threshold(Pairs(*shown), resamples=200, seed=3)
    names = np.unique(shown[1])
    draws = np.random.default_rng(3).multinomial(15, [1 / 15] * 15, size=200)
    rates = [exact_rates(same, different, dict(zip(names, draw, strict=True)), 0.01) for draw in draws]
    for place, part in enumerate([found["eer"], found["at"][0]]):
        low, high = np.quantile([rate[place] for rate in rates], [0.025, 0.975])
        assert [part["low"], part["high"]] == pytest.approx([low, high], abs=0.015)
        assert high - low > 0.03, "else the above would say little"


def test_more_identities_give_narrower_intervals_and_too_few_give_none():
    def width(identities):
        low_high = measure_threshold(Pairs(*images(identities, 6)), resamples=300)["eer"]
        return low_high["high"] - low_high["low"]

    assert width(80) < 0.75 * width(20)
    few = measure_threshold(Pairs(*images(FEWEST_IDENTITIES - 1, 6)))
    assert few["eer"]["low"] is few["eer"]["high"] is few["interval"] is None


def test_identities_that_lie_apart_have_no_error_and_a_threshold_between():
    found = measure_threshold(Pairs(*images(2, 6, noise=0.05, seed=4)))
    same, different = ([value for value, _ in pairs] for pairs in every_pair(*images(2, 6, noise=0.05, seed=4)))
    assert found["eer"]["rate"] == 0 and max(different) < found["eer"]["threshold"] <= min(same)
    assert found["at"] == [], "36 pairs cannot tell 1 in 100"


def test_a_collapsed_model_errs_as_often_as_a_coin():
    _, identity_N, camera_N = images(12, 6)
    point = torch.zeros(72, 4)
    point[:, 0] = 1
    found = measure_threshold(Pairs(point, identity_N, camera_N))
    assert found["eer"]["rate"] == 0.5 and found["at"][0]["true_positive_rate"] == 0
    assert found["at"][0]["threshold"] > 1, "no two images are told the same"
    assert sum(found["histogram"]["same"]) == found["pairs_same"]


def test_without_a_pair_of_one_identity_or_of_two_there_is_no_threshold():
    embedding_ND, identity_N, camera_N = images(6, 4)
    assert measure_threshold(Pairs(embedding_ND, identity_N, np.ones_like(camera_N))) is None, "one camera each"
    assert measure_threshold(Pairs(embedding_ND, np.ones_like(identity_N), camera_N)) is None, "one identity"
    assert measure_threshold(Pairs(embedding_ND[:0], identity_N[:0], camera_N[:0])) is None


def test_small_blocks_give_the_same_and_the_order_of_images_does_not_count(monkeypatch):
    embedding_ND, identity_N, camera_N = images(10, 7)
    whole = measure_threshold(Pairs(embedding_ND, identity_N, camera_N))
    order = np.random.default_rng(1).permutation(70)
    monkeypatch.setattr(pairs_module, "BLOCK_PAIRS", 100)
    again = measure_threshold(Pairs(embedding_ND[torch.from_numpy(order)], identity_N[order], camera_N[order]))
    assert again["at"] == whole["at"] and again["eer"] == pytest.approx(whole["eer"], abs=1e-4)


def test_of_too_many_images_whole_identities_are_drawn(monkeypatch):
    shown = images(30, 5)
    monkeypatch.setattr(pairs_module, "MOST_IDENTITIES", 12)
    found = Pairs(*shown)
    assert (found.identities, found.images) == (12, 60)
    monkeypatch.setattr(pairs_module, "MOST_IMAGES", 41)
    assert (Pairs(*shown).identities, Pairs(*shown).images) == (8, 40)
    monkeypatch.setattr(pairs_module, "MOST_IMAGES", 1)
    assert Pairs(*shown).identities == 2, "else there would be no pair"


def test_5_000_images_are_looked_at_in_blocks_of_bounded_size():
    shown = images(50, 100, width=8)
    pairs = Pairs(*shown)
    seen, biggest = 0, 0
    for block in itertools.islice(pairs._blocks(), 12):
        seen += block.bin_RN.numel()
        biggest = max(biggest, block.bin_RN.numel())
    assert biggest <= pairs_module.BLOCK_PAIRS and seen > 5 * biggest
