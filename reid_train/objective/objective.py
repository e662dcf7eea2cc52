"""What a training step minimises: the weighted sum of named terms, and the figures that a report gives of it."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from reid_train.config import TrainConfig
from reid_train.distill import Distillation, Taught
from reid_train.model.network import ModelOutput, ReIDModel
from reid_train.objective.losses import active_share, hardest_distances, margin_loss, metric_loss, random_triplet_loss


class Step(NamedTuple):
    """What one batch gave."""

    loss: torch.Tensor
    """To be minimised."""
    figures: torch.Tensor
    """By Objective.figures; detached."""


class Objective(nn.Module):
    """Computes a batch's loss from what the model made of it, and its teacher. Has parameters only where it distils."""

    def __init__(self, config: TrainConfig, distillation: Distillation | None = None):
        super().__init__()
        self.config, self.distillation = config, distillation
        experts = range(config.moe_experts if config.moe_experts > 1 else 0)
        router = ("router_loss", "gate_entropy") if experts else ()
        self.figures = (
            *("loss", "ce_loss", "metric_loss", "accuracy", "active_triplets"),
            *(*router, *(f"expert_{number}" for number in experts)),
            *(() if distillation is None else ("kd_loss",)),
        )

    def forward(
        self, model: ReIDModel, output: ModelOutput, labels: torch.Tensor, taught: Taught | None = None
    ) -> Step:
        config = self.config
        identity = model.classifier.loss(output.dropped_BD, output.logits_PBI, labels, config.label_smoothing)
        metric, active = feature_loss(output.feature_BD, labels, config)
        accuracy = (output.logits_PBI.mean(dim=0).argmax(dim=1) == labels).float().mean()
        loss = config.ce_weight * identity + config.metric_weight * metric
        more: list[torch.Tensor] = []
        if output.routing is not None:
            routing = output.routing
            router = config.moe_balance_weight * routing.balance_loss + config.moe_z_weight * routing.z_loss
            loss = loss + router
            more += [router, routing.entropy, *routing.usage_E]
        if self.distillation is not None and taught is not None:
            distilled = self.distillation(output, taught)
            loss = loss + distilled
            more.append(distilled)
        return Step(loss, torch.stack([loss, identity, metric, accuracy, active, *more]).detach())


def feature_loss(
    feature_BD: torch.Tensor, labels: torch.Tensor, config: TrainConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """The configured metric loss of features before the BNNeck, and the share of anchors whose hardest triplet still
    has a loss (0 to 1), whichever loss is trained."""
    feature_BD = F.normalize(feature_BD.float()) if config.normalize_features else feature_BD.float()
    hardest = hardest_distances(feature_BD, labels)
    active = active_share(*hardest, config.margin)
    if config.metric_loss != "triplet":
        return metric_loss(feature_BD, labels, config.metric_loss, config.metric_scale), active
    if config.mining == "random":
        return random_triplet_loss(feature_BD, labels, config.margin), active
    return margin_loss(*hardest, config.margin), active
