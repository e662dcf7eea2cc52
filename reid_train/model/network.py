"""The re-identification model: backbone, pooling, layers of choice (parts, fully connected, experts), neck, classifier.

After Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification" (CVPRW 2019):
the metric loss sees the feature before the BNNeck, the classifier and retrieval the one after it.
"""

# B images, H height, W width, C channels of the pooled feature, D embedding width, P parts, I identities

from typing import NamedTuple

import torch
from torch import nn

from data.system.errors import UserError
from reid_train.model.backbones import build_backbone, layers_of
from reid_train.model.classifiers import build_classifier
from reid_train.model.experts import MixtureOfExperts, Routing


class ModelOutput(NamedTuple):
    """What training needs of one batch."""

    feature_BD: torch.Tensor
    """Before the BNNeck: for the metric loss."""
    embedding_BD: torch.Tensor
    """After it: what retrieval compares."""
    dropped_BD: torch.Tensor
    """With dropout: what the classifier sees."""
    logits_PBI: torch.Tensor
    """The classifier's scores, of each part; one part without parts."""
    routing: Routing | None
    """Of a mixture of experts."""


class GeMPooling(nn.Module):
    """Generalised-mean pooling (Radenovic et al., TPAMI 2018): (mean of x^p)^(1/p), p learned from 3."""

    def __init__(self, p: float = 3.0, eps: float = 1e-6):
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))
        self.eps = eps

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        # In float32: powers overflow half precision.
        powered = map_BCHW.float().clamp(min=self.eps).pow(self.p)
        return powered.mean(dim=(2, 3)).pow(1 / self.p)


class AveragePooling(nn.Module):
    """Mean over the feature map."""

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        return map_BCHW.mean(dim=(2, 3))


POOLING = {"avg": AveragePooling, "gem": GeMPooling}


class PartPooling(nn.Module):
    """Pools horizontal stripes of a feature map and reduces each by a layer of its own (Sun et al., PCB, ECCV 2018).

    B x C x H x W -> B x (parts x width), the stripes from top to bottom. H is `parts` or more, and need be no multiple.
    """

    def __init__(self, pooling: nn.Module, *, channels: int, parts: int, width: int):
        super().__init__()
        self.pooling, self.parts = pooling, parts
        self.reduce = nn.ModuleList(nn.Linear(channels, width, bias=False) for _ in range(parts))

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        height = int(map_BCHW.shape[2])  # TorchScript's tracing gives a tensor
        bounds = [round(part * height / self.parts) for part in range(self.parts + 1)]
        reduced = [
            layer(self.pooling(map_BCHW[:, :, top:bottom]))
            for layer, top, bottom in zip(self.reduce, bounds, bounds[1:], strict=False)
        ]
        return torch.cat(reduced, dim=1)


class ReIDModel(nn.Module):
    """uint8 RGB images (B x 3 x H x W) -> ModelOutput in training, embeddings (B x D) in evaluation.

    Normalisation by the mean and deviation that the backbone was trained with is part of the model.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        *,
        identities: int,
        backbone: str = "resnet50",
        image_size: tuple[int, int] = (256, 256),
        last_stride: int = 1,
        pooling: str = "avg",
        parts: int = 1,
        part_width: int = 256,
        fc_layers: int = 0,
        fc_width: int = 512,
        dropout: float = 0.0,
        moe_experts: int = 1,
        moe_top_k: int = 1,
        moe_noise: bool = True,
        identity_loss: str = "cross_entropy",
        angular_margin: float = 0.3,
        angular_scale: float = 30.0,
    ):
        super().__init__()
        self.backbone, width, rows, mean, std = build_backbone(backbone, last_stride=last_stride, image_size=image_size)
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.frozen: list[nn.Module] = []
        self.pooling = nn.Identity() if rows is None else POOLING[pooling]()
        if parts > 1 and rows is None:
            raise UserError(
                f"parts={parts}: backbone={backbone} gives one vector an image, which has no stripes; set parts to 1"
            )
        if rows is not None and parts > rows:
            raise UserError(
                f"parts={parts} of backbone={backbone}'s feature map of {rows} rows; lower parts, or raise image_height"
            )
        if parts > 1:
            self.pooling = PartPooling(self.pooling, channels=width, parts=parts, width=part_width)
            width = parts * part_width
        self.fc: nn.Module = _layers(fc_layers, width, fc_width, dropout)
        if moe_experts > 1:
            self.fc = MixtureOfExperts(
                lambda: _layers(fc_layers, width, fc_width, dropout),
                width=width,
                experts=moe_experts,
                top_k=moe_top_k,
                noise=moe_noise,
            )
        width = fc_width if fc_layers else width
        self.neck = nn.BatchNorm1d(width)  # of parts, too: it treats each number by itself
        self.neck.bias.requires_grad_(False)
        self.dropout = nn.Dropout(dropout)
        self.parts = parts
        self.classifier = build_classifier(
            identity_loss, identities=identities, width=width, parts=parts, margin=angular_margin, scale=angular_scale
        )

    def freeze(self, freeze: str) -> None:
        """Keeps layers as they are: none, those of the whole backbone, or of it the first N (`first_N`).

        Their parameters get no gradients, and they stay in evaluation mode, which is BatchNorm's with its own
        statistics. Raises UserError for more layers than there are.
        """
        layers = layers_of(self.backbone)
        count = 1 + max(layers.values())
        first = {"none": 0, "backbone": count}[freeze] if "_" not in freeze else int(freeze.removeprefix("first_"))
        if first > count:
            raise UserError(
                f"freeze={freeze}: the backbone has {count} layers; set first_{count} or fewer, or backbone"
            )
        for name, parameter in self.backbone.named_parameters():
            if layers[name] < first:
                parameter.requires_grad_(False)
        weights = {module: [*module.parameters()] for module in self.backbone.modules()}
        still = [module for module, own in weights.items() if own and not any(weight.requires_grad for weight in own)]
        self.frozen = [self.backbone] if first == count else still if first else []
        self.train(self.training)

    def train(self, mode: bool = True) -> "ReIDModel":
        self.training = mode
        for layer in self.children():
            if layer in self.frozen and not layer.training:
                continue  # hundreds of modules, twice an epoch
            layer.train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """What the backbone makes of uint8 images, pooled: B x C."""
        normalised = (images.float() - self.mean) / self.std
        pooled_BC: torch.Tensor = self.pooling(self.backbone(normalised))
        return pooled_BC

    def routed(self, pooled_BC: torch.Tensor) -> tuple[torch.Tensor, Routing | None]:
        """The feature before the BNNeck (B x D), and how a mixture of experts made it."""
        if isinstance(self.fc, MixtureOfExperts):
            feature_BD, routing = self.fc(pooled_BC)
            return feature_BD, routing
        return self.fc(pooled_BC), None

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """The feature before the BNNeck (B x D), from uint8 images."""
        return self.routed(self.pooled(images))[0]

    def forward(self, images: torch.Tensor) -> ModelOutput | torch.Tensor:
        return self.from_pooled(self.pooled(images))

    def from_pooled(self, pooled_BC: torch.Tensor) -> ModelOutput | torch.Tensor:
        """`forward`, from what `pooled` makes of images."""
        feature_BD, routing = self.routed(pooled_BC)
        embedding_BD = self.neck(feature_BD)
        if not self.training:
            return embedding_BD
        dropped_BD = self.dropout(embedding_BD)
        return ModelOutput(feature_BD, embedding_BD, dropped_BD, self.classifier(dropped_BD), routing)


def _layers(count: int, width: int, fc_width: int, dropout: float) -> nn.Sequential:
    """Fully connected layers from `width`; none gives what it is given."""
    layers: list[nn.Module] = []
    for number in range(count):
        # No activation after the last one: an embedding needs both signs.
        last = number == count - 1
        layers += [nn.Dropout(dropout), nn.Linear(width, fc_width), nn.Identity() if last else nn.ReLU()]
        width = fc_width
    return nn.Sequential(*layers)
