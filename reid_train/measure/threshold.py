"""From which similarity on two images show the same identity: thresholds by pairs, with intervals over identities.

    found = measure_threshold(Pairs(embedding_ND, identity_N, camera_N))
    found["eer"]["threshold"], found["at"][0]["true_positive_rate"]

The false-positive rate of a threshold is the share of the pairs of two identities that reach it, the true-positive rate
that of the pairs of one identity. A threshold "at" a rate is the lowest whose false-positive rate is no larger. At the
equal error rate (EER) as large a share of the one is taken for the same as of the other for different.

Intervals are those of reid_train/measure/intervals.py: identities are drawn with replacement, each with all of its
pairs. A pair of two identities counts as often as both were drawn together (the product of their numbers); each
resample has its own thresholds. The middle 95 % of the resampled rates are the interval.
"""

# I identities, E bins, T thresholds, B resamples

from typing import Any

import numpy as np

from reid_train.measure.intervals import RESAMPLES, SHARE
from reid_train.measure.pairs import BINS, Pairs, similarity_of

RATES = (1e-2, 1e-3, 1e-4)
"""False-positive rates that are asked for."""
PAIRS_A_RATE = 10
"""A rate can be told where at least so many false pairs make it: 1e-3 takes 10,000 pairs of two identities."""
FEWEST_IDENTITIES = 5
"""Of fewer there is no interval: most resamples would be the same."""
CURVE_POINTS, HISTOGRAM_BINS = 100, 50
LEVELS = 96
"""False-positive rates, from all pairs to one of them, at which resamples are compared; a third as many true ones."""


def measure_threshold(pairs: Pairs, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any] | None:
    """The thresholds, with their curve and histogram, as JSON holds them.

    None without a pair of one identity or without one of two.
    """
    same, different = int(pairs.same_E.sum()), int(pairs.different_E.sum())
    if not same or not different:
        return None
    true_E, false_E = _rates(pairs.same_E), _rates(pairs.different_E)
    rates = [rate for rate in RATES if different * rate >= PAIRS_A_RATE]
    eer, at = equal_error(true_E, false_E), [int(np.argmax(false_E <= rate)) for rate in rates]
    bounds = _intervals(pairs, true_E, false_E, rates, resamples, seed)
    low, high = bounds[0] if bounds else (None, None)
    error = (false_E[eer] + 1 - true_E[eer]) / 2
    return {
        "images": pairs.images,
        "identities": pairs.identities,
        "pairs_same": same,
        "pairs_different": different,
        "interval": f"{SHARE:.0%}, from a bootstrap over identities" if bounds else None,
        "eer": {"threshold": _plain(eer), "rate": float(error), "low": low, "high": high},
        "at": [
            {
                "false_positive_rate": rate,
                "threshold": _plain(place),
                "true_positive_rate": float(true_E[place]),
                "low": bounds[number][0] if bounds else None,
                "high": bounds[number][1] if bounds else None,
            }
            for number, (rate, place) in enumerate(zip(rates, at, strict=True), start=1)
        ],
        **_pictures(pairs, true_E, false_E),
    }


def equal_error(true_E: np.ndarray, false_E: np.ndarray) -> int:
    """The bin at whose beginning both shares of errors are nearest; of several, the one in the middle."""
    gap_E = np.abs(false_E - (1 - true_E))
    nearest = (gap_E <= gap_E.min() + 1e-12).nonzero()[0]
    return int(nearest[len(nearest) // 2])


def _rates(counts_E: np.ndarray) -> np.ndarray:
    """Share of the pairs at or above the beginning of each bin, and of one bin more, which none reaches."""
    reached_E = np.append(counts_E[::-1].cumsum()[::-1], 0)
    rates_E: np.ndarray = reached_E / reached_E[0]
    return rates_E


def _plain(place: int) -> float:
    return round(float(similarity_of(place)), 6)


def _intervals(
    pairs: Pairs, true_E: np.ndarray, false_E: np.ndarray, rates: list[float], resamples: int, seed: int
) -> list[tuple[float, float]] | None:
    """The interval of the EER, then of the true-positive rate at each of `rates`; None with too few identities."""
    count = pairs.identities
    if count < FEWEST_IDENTITIES:
        return None
    same_IT, different_IIT = pairs.by_identity(_compared(true_E, false_E, rates, int(pairs.different_E.sum())))
    weight_BI = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    weight_BI = weight_BI.astype(np.float32)
    false_BT = np.zeros((resamples, same_IT.shape[1]))
    for identity in range(count):  # one at a time: resamples by identities by thresholds would be large
        with_others_BT = weight_BI @ different_IIT[identity].astype(np.float32)
        false_BT += weight_BI[:, identity, None] * with_others_BT
    true_BT = weight_BI.astype(np.float64) @ same_IT
    usable_B = (true_BT[:, 0] > 0) & (false_BT[:, 0] > 0)
    true_BT, false_BT = (counts_BT[usable_B] / counts_BT[usable_B, :1] for counts_BT in (true_BT, false_BT))
    if not len(true_BT):
        return None
    resampled = [_equal_errors(true_BT, false_BT), *(_true_at(rate, true_BT, false_BT) for rate in rates)]
    ends = (1 - SHARE) / 2, (1 + SHARE) / 2
    return [(float(low), float(high)) for low, high in (np.quantile(one_B, ends) for one_B in resampled)]


def _compared(true_E: np.ndarray, false_E: np.ndarray, rates: list[float], different: int) -> np.ndarray:
    """The bins at which resamples are compared, ascending: from one that all pairs reach to one that none does."""
    levels = np.geomspace(1, 1 / different, LEVELS)
    bins = [np.argmax(false_E <= level) for level in [*levels, *rates]]
    bins += [np.argmax(true_E <= level) for level in np.linspace(1, 0, LEVELS // 3)]
    return np.unique([0, equal_error(true_E, false_E), BINS, *bins])


def _equal_errors(true_BT: np.ndarray, false_BT: np.ndarray) -> np.ndarray:
    """Each resample's EER, between the two thresholds where the errors cross."""
    gap_BT = false_BT - (1 - true_BT)  # falls from 1 to -1
    after_B, rows_B = (gap_BT <= 0).argmax(axis=1), np.arange(len(gap_BT))
    before, after = gap_BT[rows_B, after_B - 1], gap_BT[rows_B, after_B]
    share_B = before / (before - after)
    return false_BT[rows_B, after_B - 1] + share_B * (false_BT[rows_B, after_B] - false_BT[rows_B, after_B - 1])


def _true_at(rate: float, true_BT: np.ndarray, false_BT: np.ndarray) -> np.ndarray:
    """Each resample's true-positive rate at a false-positive rate, between the two thresholds beside it."""
    after_B, rows_B = (false_BT <= rate).argmax(axis=1), np.arange(len(true_BT))
    before, after = false_BT[rows_B, after_B - 1], false_BT[rows_B, after_B]
    share_B = (rate - after) / (before - after)
    return true_BT[rows_B, after_B] + share_B * (true_BT[rows_B, after_B - 1] - true_BT[rows_B, after_B])


def _pictures(pairs: Pairs, true_E: np.ndarray, false_E: np.ndarray) -> dict[str, Any]:
    """Curve and histogram, over the similarities that there are."""
    seen = (pairs.same_E + pairs.different_E).nonzero()[0]
    low, high = int(seen[0]), max(int(seen[-1]) + 1, int(seen[0]) + HISTOGRAM_BINS)
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1).astype(int)
    points = np.unique(np.linspace(low, min(high, BINS), CURVE_POINTS).astype(int))
    counts = [np.pad(counts_E, (0, HISTOGRAM_BINS)) for counts_E in (pairs.same_E, pairs.different_E)]
    same, different = (np.add.reduceat(counts_E, edges)[:-1].tolist() for counts_E in counts)
    return {
        "curve": [
            {
                "threshold": _plain(point),
                "true_positive_rate": float(true_E[point]),
                "false_positive_rate": float(false_E[point]),
            }
            for point in points
        ],
        "histogram": {"edges": [_plain(edge) for edge in edges], "same": same, "different": different},
    }
