"""The settings of what is minimised: the losses, and distillation from a teacher. Imports no torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from data.system.settings import Settings
from reid_train.model.settings import TIMM


class LossSettings(Settings):
    """The terms of the loss and their weights."""

    ce_weight: float = Field(1.0, ge=0, le=100)
    """Weight of the identity loss in the total loss."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread evenly over all identities."""
    metric_loss: Literal["triplet", "circle", "supcon", "multi_similarity"] = "triplet"
    """What pulls the features of an identity together: triplets, or one of pytorch-metric-learning's losses."""
    metric_weight: float = Field(1.0, ge=0, le=100)
    """Weight of the metric loss in the total loss."""
    metric_scale: float | None = Field(None, gt=0, le=1000)
    """Sharpness of a loss that is no triplet loss: circle's gamma, multi-similarity's beta, 1 / supcon's temperature;
    null takes the paper's, 80, 50 and 10."""
    margin: Annotated[float, Field(gt=0, le=100)] | Literal["soft"] = 0.3
    """Gap between hardest positive and hardest negative, in embedding distance; soft: log(1 + exp(difference))."""
    mining: Literal["batch_hard", "random"] = "batch_hard"
    """Which triplets: each anchor's hardest of the batch, or one at random for each anchor (TripletMarginLoss)."""
    normalize_features: bool = False
    """Whether the triplet loss sees unit-length features: distances are then 0 to 2, and margins mean another thing."""
    moe_balance_weight: float = Field(0.01, ge=0, le=100)
    """Weight of the loss that has the router use all experts alike."""
    moe_z_weight: float = Field(0.001, ge=0, le=100)
    """Weight of the loss that keeps the router's scores small."""

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.ce_weight == 0 and self.metric_weight == 0:
            raise ValueError("ce_weight=0 and metric_weight=0 leave nothing to learn; raise one of them")
        return self


class DistillationSettings(Settings):
    """Who teaches the model, and by which losses."""

    teacher: str | None = None
    """A checkpoint folder of this project, or timm/NAME (also timm/hf-hub:OWNER/NAME and timm/local-dir:/FOLDER) for a
    foundation backbone, that the model learns from; null: from nobody. It must not have been trained on the validation
    identities."""
    kd_logits_weight: float = Field(1.0, ge=0, le=1000)
    """Weight of the loss that has the classifier score as the teacher's; timm/NAME has none, and needs 0 here."""
    kd_temperature: float = Field(4.0, gt=0, le=100)
    """What both classifiers' scores are divided by for that loss; above 1 tells more of the less likely identities."""
    kd_embedding_weight: float = Field(0.0, ge=0, le=1000)
    """Weight of the loss that turns embeddings in the direction of the teacher's, 1 - cosine."""
    kd_relation_weight: float = Field(0.0, ge=0, le=1000)
    """Weight of the loss that has images lie as near to each other as the teacher's embeddings do."""

    @model_validator(mode="after")
    def _check_teacher(self) -> Self:
        if self.teacher is not None and self.teacher.startswith(TIMM) and self.kd_logits_weight > 0:
            raise ValueError(
                f"teacher={self.teacher} is a backbone without logits; "
                "set kd_logits_weight to 0, and kd_embedding_weight or kd_relation_weight above 0"
            )
        return self

    @property
    def distills(self) -> bool:
        """Whether a teacher has any weight."""
        return self.teacher is not None and any(getattr(self, name) > 0 for name in KD_WEIGHTS)


KD_WEIGHTS = tuple(name for name in DistillationSettings.model_fields if name.endswith("_weight"))
"""The weights of distillation's losses; with all of them 0 a teacher teaches nothing."""
