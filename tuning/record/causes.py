"""Why trials fail: what the configuration brings about, and what only happened to it.

A cause begins with its kind. Those of SHOWN_AS_BAD would come again with the same configuration: such a trial is not
retried, and the sampler is shown it as worse than all others.

torch and what needs it are imported where they are used: the process that steers a search never loads them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from data.system.errors import UserError
from reid_train.config import TrainConfig

SHOWN_AS_BAD = ("diverged", "collapsed", "out of memory")
NEAR_MARGIN = 0.01
"""Share of the margin by which the loss of embeddings that are one point may differ from it. In 1,604 recorded runs
(tests/benchmarks/curves) no healthy one was as near over the second half of a rung; with 0.03, one was."""
ALL_ACTIVE = 0.99
"""Share of active triplets from which on all count as active."""


def failure_cause(error: Exception, batch_size: int) -> str:
    """One line that tells divergence, want of memory, a configuration that does not fit, and faults of code apart."""
    import torch

    from reid_train.objective.losses import NonFiniteLoss

    text = " ".join(str(error).split())
    if isinstance(error, NonFiniteLoss):
        return f"diverged: {text}"
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in text:
        return f"out of memory: batch_size={batch_size} is too large here: {text[:200]}"
    if isinstance(error, UserError):
        return f"does not fit: {text}"
    return f"{type(error).__name__}: {text[:300]}"


def collapse_cause(config: TrainConfig, reports: Sequence[Mapping[str, Any]]) -> str | None:
    """One line when all embeddings have become one point, by the reports of a rung's epochs; None when they have not.

    Then no anchor is nearer to its positives than to its negatives: the loss is the margin (log 2 for "soft") and every
    triplet is active. The first half of the rung does not count: a collapse takes a few epochs.
    """
    if config.metric_weight == 0 or config.metric_loss != "triplet":
        return None
    soft = config.margin == "soft"
    of_one_point = math.log(2) if config.margin == "soft" else config.margin
    later = reports[len(reports) // 2 :]
    if any(abs(report.get("metric_loss", math.inf) / of_one_point - 1) > NEAR_MARGIN for report in later):
        return None
    if not soft and any(report["active_triplets"] < ALL_ACTIVE for report in later):
        return None
    named = "log 2, that of margin=soft" if soft else f"margin={of_one_point:.4g}"
    last = later[-1]["metric_loss"]
    return f"collapsed: triplet loss {last:.4g} is {named}, no triplet is ever won: all embeddings are one point"


def shows_bad_region(cause: str) -> bool:
    """Whether a trial failed for its configuration, so that others like it would."""
    return cause.startswith(SHOWN_AS_BAD)
