"""How far retrieval figures could lie from what they would be on other identities: a bootstrap over identities.

Queries of one identity share their gallery images, so they are no independent draws: what is resampled, with
replacement, is the identities, each with all of its queries (the cluster bootstrap). The interval is the middle 95 %
of the resampled means (percentile method). It tells of the choice of test identities, not of training's own luck.
"""

# C counted queries, F figures, I query identities, B resamples

import numpy as np

RESAMPLES = 1000
SHARE = 0.95
"""How much of the resampled means lies within an interval."""


def bootstrap_intervals(
    figures_CF: np.ndarray, identity_C: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray | None:
    """The interval of each figure's mean over queries, (F, 2): low, high. None with fewer than 2 identities."""
    identities, row_C = np.unique(identity_C, return_inverse=True)
    count = len(identities)
    if count < 2:
        return None
    member_IC = np.arange(count)[:, None] == row_C
    sums_IF, queries_I = member_IC @ figures_CF.astype(np.float64), member_IC.sum(axis=1)
    drawn_BI = np.random.default_rng(seed).integers(count, size=(resamples, count))
    place_BI = drawn_BI + count * np.arange(resamples)[:, None]
    times_BI = np.bincount(place_BI.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)
    means_BF = (times_BI @ sums_IF) / (times_BI @ queries_I)[:, None]
    return np.quantile(means_BF, [(1 - SHARE) / 2, (1 + SHARE) / 2], axis=0).T
