"""The re-identification model: backbone, pooling, optional fully connected layers, BNNeck, classifier.

After Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification" (CVPRW 2019):
the triplet loss sees the feature before the BNNeck, the classifier and retrieval the one after it.
"""

# B images, H height, W width, D embedding width, I identities

from typing import NamedTuple

import torch
from torch import nn

from data.transforms import IMAGENET_MEAN, IMAGENET_STD
from reid_train.backbones import build_backbone


class ModelOutput(NamedTuple):
    """What training needs of one batch."""

    feature_BD: torch.Tensor
    """Before the BNNeck: for the triplet loss."""
    logits_BI: torch.Tensor
    """The classifier's scores."""


class GeMPooling(nn.Module):
    """Generalised-mean pooling (Radenovic et al., TPAMI 2018): (mean of x^p)^(1/p), p learned from 3."""

    def __init__(self, p: float = 3.0, eps: float = 1e-6):
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))
        self.eps = eps

    def forward(self, map_BDHW: torch.Tensor) -> torch.Tensor:
        # In float32: powers overflow half precision.
        powered = map_BDHW.float().clamp(min=self.eps).pow(self.p)
        return powered.mean(dim=(2, 3)).pow(1 / self.p)


class AveragePooling(nn.Module):
    """Mean over the feature map."""

    def forward(self, map_BDHW: torch.Tensor) -> torch.Tensor:
        return map_BDHW.mean(dim=(2, 3))


POOLING = {"avg": AveragePooling, "gem": GeMPooling}


class ReIDModel(nn.Module):
    """uint8 RGB images (B x 3 x H x W) -> ModelOutput in training, embeddings (B x D) in evaluation.

    Normalisation by ImageNet's mean and deviation is part of the model.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        *,
        identities: int,
        backbone: str = "resnet50",
        last_stride: int = 1,
        pooling: str = "avg",
        fc_layers: int = 0,
        fc_width: int = 512,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.backbone, width = build_backbone(backbone, last_stride=last_stride)
        self.pooling = POOLING[pooling]()
        layers: list[nn.Module] = []
        for number in range(fc_layers):
            # No activation after the last one: an embedding needs both signs.
            last = number == fc_layers - 1
            layers += [nn.Dropout(dropout), nn.Linear(width, fc_width), nn.Identity() if last else nn.ReLU()]
            width = fc_width
        self.fc = nn.Sequential(*layers)
        self.neck = nn.BatchNorm1d(width)
        self.neck.bias.requires_grad_(False)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """The feature before the BNNeck (B x D), from uint8 images."""
        normalised = (images.float() - self.mean) / self.std
        return self.fc(self.pooling(self.backbone(normalised)))

    def forward(self, images: torch.Tensor) -> ModelOutput | torch.Tensor:
        feature_BD = self.features(images)
        embedding_BD = self.neck(feature_BD)
        if not self.training:
            return embedding_BD
        return ModelOutput(feature_BD, self.classifier(self.dropout(embedding_BD)))
