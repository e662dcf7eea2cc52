"""Recognises by its epochs' figures that a trial has collapsed: all of its embeddings have become one point.

str(collapse_cause(config, reports))  # collapsed: triplet loss 0.3 is margin=0.3, no triplet is ever won: ...
"""

import math
from collections.abc import Sequence

from reid_train.measure.epoch_report import EpochReport
from reid_train.settings.config import TrainConfig
from tuning.record.cause import Cause, Kind

NEAR_MARGIN = 0.01
"""A loss that differs from the margin by no more than this share of it is that of one point. In 1,604 recorded runs
(tests/benchmarks/curves) no healthy one stayed so near over the second half of a rung; within 0.03, one did."""
ALL_ACTIVE = 0.99
"""Share of active triplets from which on all count as active."""


def collapse_cause(config: TrainConfig, reports: Sequence[EpochReport]) -> Cause | None:
    """The cause when all embeddings have become one point, by the reports of a rung's epochs; None when they have not.

    Then no anchor is nearer to its positives than to its negatives: the loss is the margin (log 2 for "soft") and every
    triplet is active. The first half of the rung does not count: a collapse takes a few epochs.
    """
    if config.metric_weight == 0 or config.metric_loss != "triplet":
        return None
    soft = config.margin == "soft"
    of_one_point = math.log(2) if config.margin == "soft" else config.margin
    later = reports[len(reports) // 2 :]
    if any(abs(report.metric_loss / of_one_point - 1) > NEAR_MARGIN for report in later):
        return None
    if not soft and any(report.active_triplets < ALL_ACTIVE for report in later):
        return None
    named = "log 2, that of margin=soft" if soft else f"margin={of_one_point:.4g}"
    loss = f"triplet loss {later[-1].metric_loss:.4g} is {named}"
    return Cause(Kind.COLLAPSED, f"{loss}, no triplet is ever won: all embeddings are one point")
