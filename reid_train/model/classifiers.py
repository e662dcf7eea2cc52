"""Classifiers over the training identities: embeddings (B x D) -> scores of each part (P x B x I), and their loss.

classifier = build_classifier(ModelSettings(identity_loss="arcface"), identities=751, width=2048)
logits_PBI = classifier(embedding_BD)
loss = classifier.loss(embedding_BD, logits_PBI, labels, smoothing=0.1)
"""

# B images, D embedding width, P parts, I identities

import math
from abc import ABC, abstractmethod
from typing import Any, assert_never

import torch
from torch import nn
from torch.nn import functional as F

from reid_train.model.settings import ModelSettings


class Classifier(nn.Module, ABC):
    """Scores of identities, and what training makes of them."""

    static = True
    """Whether the shapes of its loss's tensors depend on no values, so that a GPU's step can be recorded."""

    @abstractmethod
    def loss(
        self, embedding_BD: torch.Tensor, logits_PBI: torch.Tensor, labels: torch.Tensor, smoothing: float
    ) -> torch.Tensor:
        """The identity loss, in float32, of embeddings and what `forward` made of them."""


class LinearClassifier(Classifier):
    """A linear layer without bias for each part of the embedding."""

    def __init__(self, *, identities: int, width: int, parts: int = 1):
        """`width` is that of the whole embedding."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(parts * identities, width // parts))
        nn.init.normal_(self.weight, std=0.001)
        self.parts = parts

    def forward(self, embedding_BD: torch.Tensor) -> torch.Tensor:
        if self.parts == 1:
            return F.linear(embedding_BD, self.weight)[None]
        weight_PIW = self.weight.unflatten(0, (self.parts, -1))
        return torch.einsum("bpw,piw->pbi", embedding_BD.unflatten(1, (self.parts, -1)), weight_PIW)

    def loss(
        self, embedding_BD: torch.Tensor, logits_PBI: torch.Tensor, labels: torch.Tensor, smoothing: float
    ) -> torch.Tensor:
        """Mean cross-entropy of all parts."""
        return cross_entropy(logits_PBI, labels, smoothing)


def cross_entropy(logits_PBI: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Mean over parts and images, in float32."""
    labels_PB = labels.expand(len(logits_PBI), -1)
    return F.cross_entropy(logits_PBI.flatten(0, 1).float(), labels_PB.flatten(), label_smoothing=smoothing)


class MarginClassifier(Classifier):
    """A classifier by cosines whose loss demands a margin; the losses are pytorch-metric-learning's.

    Its scores are cosines times the scale, without the margin.
    """

    static = False

    def __init__(self, margin_loss: Any):
        super().__init__()
        self.margin_loss = margin_loss

    def forward(self, embedding_BD: torch.Tensor) -> torch.Tensor:
        logits_BI: torch.Tensor = self.margin_loss.get_logits(embedding_BD)
        return logits_BI[None]

    def loss(
        self, embedding_BD: torch.Tensor, logits_PBI: torch.Tensor, labels: torch.Tensor, smoothing: float
    ) -> torch.Tensor:
        """With the margin; label smoothing does not count."""
        with torch.autocast(embedding_BD.device.type, enabled=False):
            loss: torch.Tensor = self.margin_loss(embedding_BD.float(), labels)
        return loss


def build_classifier(settings: ModelSettings, *, identities: int, width: int) -> Classifier:
    """The classifier that `identity_loss` asks for; `width` is that of the embedding."""
    if settings.identity_loss == "cross_entropy":
        return LinearClassifier(identities=identities, width=width, parts=settings.parts)
    from pytorch_metric_learning import losses  # takes nearly a second: only who asks for it pays

    margin, scale = settings.angular_margin, settings.angular_scale
    match settings.identity_loss:
        case "arcface":  # which takes degrees
            return MarginClassifier(losses.ArcFaceLoss(identities, width, margin=math.degrees(margin), scale=scale))
        case "cosface":
            return MarginClassifier(losses.CosFaceLoss(identities, width, margin=margin, scale=scale))
        case unknown:
            assert_never(unknown)
