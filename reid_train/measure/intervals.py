"""How far retrieval figures could lie from what they would be on other identities: a bootstrap over identities.

Queries of one identity share their gallery images, so they are no independent draws: what is resampled, with
replacement, is the identities, each with all of its queries (the cluster bootstrap). The interval is the middle 95 %
of the resampled means (percentile method). It tells of the choice of test identities, not of training's own luck.

    bootstrap_intervals(average_precision_C1, identity_C)  # [[0.83, 0.87]]
"""

# C counted queries, F figures, I query identities, B resamples

import numpy as np

RESAMPLES = 1000
SHARE = 0.95
"""How much of the resampled means lies within an interval."""


def resampled_means(
    scores_IF: np.ndarray, queries_I: np.ndarray, *, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Means over queries, B x F, of as many identities as there are, drawn anew `resamples` times.

    `scores_IF` are means over each identity's queries. All figures of a resample are of the same identities.
    """
    count = len(queries_I)
    weight_BI = rng.multinomial(count, np.full(count, 1 / count), size=resamples) * queries_I
    means_BF: np.ndarray = weight_BI @ scores_IF / weight_BI.sum(axis=1, keepdims=True)
    return means_BF


def bootstrap_intervals(
    figures_CF: np.ndarray, identity_C: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray | None:
    """The interval of each figure's mean over queries, (F, 2): low, high. None with fewer than 2 identities."""
    identities, row_C = np.unique(identity_C, return_inverse=True)
    if len(identities) < 2:
        return None
    queries_I = np.bincount(row_C)
    sums_FI = [np.bincount(row_C, weights=figure_C) for figure_C in figures_CF.T.astype(np.float64)]
    scores_IF = np.stack(sums_FI, axis=1) / queries_I[:, None]
    means_BF = resampled_means(scores_IF, queries_I, resamples=resamples, rng=np.random.default_rng(seed))
    return np.quantile(means_BF, [(1 - SHARE) / 2, (1 + SHARE) / 2], axis=0).T
