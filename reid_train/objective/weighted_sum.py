"""What a training step minimises: the weighted sum of named terms, and the figures that a report gives of it.

objective = Objective(LossSettings(ce_weight=0.5))
step = objective(model, model(images), labels)
step.loss.backward()
"""

from typing import NamedTuple

import torch
from torch import nn

from reid_train.model.network import ModelOutput, ReIDModel
from reid_train.objective.distillation import Distillation, Taught
from reid_train.objective.losses import feature_loss
from reid_train.objective.settings import LossSettings


class Step(NamedTuple):
    """What one batch gave."""

    loss: torch.Tensor
    """To be minimised."""
    figures: torch.Tensor
    """Named by Objective.figures; detached."""


class Objective(nn.Module):
    """Computes a batch's loss from what the model and its teacher made of it. Has parameters only where it distils."""

    def __init__(self, settings: LossSettings, *, experts: int = 1, distillation: Distillation | None = None):
        """`experts` is how many the model has."""
        super().__init__()
        self.settings, self.distillation = settings, distillation
        router = ("router_loss", "gate_entropy", *(f"expert_{number}" for number in range(experts)))
        self.figures = (
            *("loss", "ce_loss", "metric_loss", "accuracy", "active_triplets"),
            *(router if experts > 1 else ()),
            *(() if distillation is None else ("kd_loss",)),
        )

    def forward(
        self, model: ReIDModel, output: ModelOutput, labels: torch.Tensor, taught: Taught | None = None
    ) -> Step:
        settings = self.settings
        identity = model.classifier.loss(output.dropped_BD, output.logits_PBI, labels, settings.label_smoothing)
        metric, active = feature_loss(output.feature_BD, labels, settings)
        accuracy = (output.logits_PBI.mean(dim=0).argmax(dim=1) == labels).float().mean()
        loss = settings.ce_weight * identity + settings.metric_weight * metric
        more: list[torch.Tensor] = []
        if output.routing is not None:
            routing = output.routing
            router = settings.moe_balance_weight * routing.balance_loss + settings.moe_z_weight * routing.z_loss
            loss = loss + router
            more += [router, routing.entropy, *routing.usage_E]
        if self.distillation is not None and taught is not None:
            distilled = self.distillation(output, taught)
            loss = loss + distilled
            more.append(distilled)
        return Step(loss, torch.stack([loss, identity, metric, accuracy, active, *more]).detach())
