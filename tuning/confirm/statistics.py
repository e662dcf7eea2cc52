"""How much the difference of two models could be another on other validation identities: a bootstrap over them.

identities_sd(winner_I, default_I, queries_I)  # 0.012
identities_sd(winner_I, None, queries_I)       # 0.031, where the other's scores are not known
"""

import math
from collections.abc import Sequence

import numpy as np

from reid_train.measure.intervals import RESAMPLES, resampled_means


# I identities, B resamples
def identities_sd(
    scores_I: Sequence[float], others_I: Sequence[float] | None, queries_I: Sequence[int], seed: int = 0
) -> float:
    """Standard deviation of the difference of two mean scores over resampled identities.

    The scores are means over each identity's queries, of the same identities in the same order. Without `others_I` the
    other model is taken to find as much easy or hard as the first, but not the same identities.
    """
    differences_I = np.asarray(scores_I) - (0.0 if others_I is None else np.asarray(others_I))
    rng = np.random.default_rng(seed)
    if len(differences_I) < 2:
        return 0.0
    means_B1 = resampled_means(differences_I[:, None], np.asarray(queries_I), resamples=RESAMPLES, rng=rng)
    return float(means_B1.std()) * (math.sqrt(2) if others_I is None else 1.0)
