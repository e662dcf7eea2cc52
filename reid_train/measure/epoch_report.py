"""EpochReport: what one epoch of training gave, from the loop to the tables. Imports no torch.

record = report.to_record()  # plain values: for a checkpoint, a table, a study
report == EpochReport.from_record(record)
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class EpochReport:
    """What one epoch gave. Losses and shares are means over its images; retrieval figures lie between 0 and 1."""

    epoch: int
    """From 1."""
    num_epochs: int
    """Epochs of the whole schedule."""
    loss: float
    ce_loss: float
    metric_loss: float
    accuracy: float
    """Share of the training images whose identity the classifier names, 0 to 1."""
    active_triplets: float
    """Share of anchors whose hardest triplet still has a loss, 0 to 1."""
    grad_norm: float
    """Mean global norm of the gradients before clipping; steps that float16 skipped count as 0."""
    learning_rate: float
    """At the epoch's last step."""
    images_per_s: float
    """Speed of training; validation is not counted."""
    seconds: float
    """Duration of training and validation."""
    router_loss: float | None = None
    """A mixture of experts' weighted losses: load balance and size of the router's scores."""
    gate_entropy: float | None = None
    """Mean entropy of the router's probabilities, in nats."""
    expert_usage: Annotated[tuple[float, ...], Field(strict=False)] | None = None  # a list in JSON
    """Share of the router's choices that fell on each expert; sums to 1."""
    kd_loss: float | None = None
    """Distillation's weighted losses: how far the student's answers are from the teacher's."""
    val_mAP: float | None = None
    val_rank1: float | None = None
    val_rank5: float | None = None
    val_rank10: float | None = None
    val_mINP: float | None = None
    val_metric_loss: float | None = None
    """Batch-hard triplet loss over batches of the validation images."""
    val_ce_loss: float | None = None
    """Cross-entropy of the held-out images of training identities."""
    val_accuracy: float | None = None
    """Classifier's accuracy on the held-out images of training identities."""

    def to_record(self) -> dict[str, Any]:
        """All fields as JSON holds them; what was not measured is None."""
        record = asdict(self)
        return {name: [*value] if isinstance(value, tuple) else value for name, value in record.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The report of a record. Optional fields may be missing: earlier versions had fewer.

        Raises ValueError for a field that is unknown or missing, and for a value that is no number.
        """
        return cls(**record)
