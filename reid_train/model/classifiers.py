"""Classifiers over the training identities: embeddings (B x D) -> scores of each part (P x B x I), and their loss."""

# B images, D embedding width, P parts, I identities

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class LinearClassifier(nn.Module):
    """A linear layer without bias for each part of the embedding."""

    def __init__(self, *, identities: int, width: int, parts: int = 1, margin: float = 0.0, scale: float = 1.0):
        """`width` is that of the whole embedding. `margin` and `scale` are those of other classifiers."""
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


class MarginClassifier(nn.Module):
    """A classifier by cosines whose loss demands a margin; the losses are pytorch-metric-learning's.

    Its scores are cosines times the scale, without the margin.
    """

    def __init__(self, kind: str, *, identities: int, width: int, parts: int, margin: float, scale: float):
        super().__init__()
        from pytorch_metric_learning import losses

        if kind == "arcface":  # which takes degrees
            self.margin_loss = losses.ArcFaceLoss(identities, width, margin=math.degrees(margin), scale=scale)
        else:
            self.margin_loss = losses.CosFaceLoss(identities, width, margin=margin, scale=scale)

    def forward(self, embedding_BD: torch.Tensor) -> torch.Tensor:
        logits_BI: torch.Tensor = self.margin_loss.get_logits(embedding_BD)
        return logits_BI[None]

    def loss(
        self, embedding_BD: torch.Tensor, logits_PBI: torch.Tensor, labels: torch.Tensor, smoothing: float
    ) -> torch.Tensor:
        """With the margin, in float32; label smoothing does not count."""
        with torch.autocast(embedding_BD.device.type, enabled=False):
            loss: torch.Tensor = self.margin_loss(embedding_BD.float(), labels)
        return loss


def build_classifier(name: str, **options: Any) -> LinearClassifier | MarginClassifier:
    """By TrainConfig's identity_loss."""
    return LinearClassifier(**options) if name == "cross_entropy" else MarginClassifier(name, **options)
