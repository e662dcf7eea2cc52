"""The re-identification model: backbone, pooling, layers of choice (parts, fully connected, experts), neck, classifier.

    model = ReIDModel(ModelSettings(backbone="resnet18"), identities=751)
    embedding_BD = model.eval()(images_B3HW)

After Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification" (CVPRW 2019):
the metric loss sees the feature before the BNNeck, the classifier and retrieval the one after it.
"""

# B images, H height, W width, C channels of the pooled feature, D embedding width, P parts, I identities

from typing import NamedTuple

import torch
from torch import nn

from data.system.errors import UserError
from reid_train.model.backbones import Backbone, ResNetBackbone
from reid_train.model.classifiers import build_classifier
from reid_train.model.experts import MixtureOfExperts, Routing
from reid_train.model.settings import TIMM, ArchitectureSettings, ModelSettings


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """A block in which everything is computed in this precision; with float32 it changes nothing."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


class ModelOutput(NamedTuple):
    """What training needs of one batch."""

    feature_BD: torch.Tensor
    """Before the BNNeck: for the metric loss."""
    embedding_BD: torch.Tensor
    """After it: what retrieval compares."""
    dropped_BD: torch.Tensor
    """With dropout: what the classifier sees."""
    logits_PBI: torch.Tensor
    """The classifier's scores for each part; a model without parts has one."""
    routing: Routing | None
    """A mixture of experts' losses and usage; None for a model without."""


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

    def __init__(self, settings: ModelSettings, *, identities: int):
        """Raises UserError for parts that the feature map does not have, and for what timm does not have."""
        super().__init__()
        self.backbone = build_backbone(settings)
        self.register_buffer("mean", 255 * torch.tensor(self.backbone.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(self.backbone.std).view(1, 3, 1, 1), persistent=False)
        self.frozen: list[nn.Module] = []
        self.pooling, pooled_width = _pooling(settings, self.backbone)
        self.fc = _head(settings, pooled_width)
        width = settings.fc_width if settings.fc_layers else pooled_width
        self.neck = nn.BatchNorm1d(width)  # with parts too: it treats each number by itself
        self.neck.bias.requires_grad_(False)
        self.dropout = nn.Dropout(settings.dropout)
        self.classifier = build_classifier(settings, identities=identities, width=width)

    def freeze(self, freeze: str) -> None:
        """Keeps layers as they are: none, all of the backbone's, or its first N (`first_N`).

        Their parameters get no gradients, and they stay in evaluation mode, which is BatchNorm's with its own
        statistics. Raises UserError for more layers than there are.
        """
        layers = self.backbone.layers()
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
                continue  # spares hundreds of modules, twice an epoch
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


def build_backbone(settings: ArchitectureSettings) -> Backbone:
    """The configured backbone with random weights. Raises UserError for what timm does not have."""
    if settings.backbone.startswith(TIMM):
        from reid_train.model.foundation import TimmBackbone  # imports timm, which takes 2 s

        size = settings.image_height, settings.image_width
        return TimmBackbone(settings.backbone.removeprefix(TIMM), size)
    return ResNetBackbone(settings.backbone, last_stride=settings.last_stride, image_height=settings.image_height)


def _pooling(settings: ModelSettings, backbone: Backbone) -> tuple[nn.Module, int]:
    """What makes a vector of the backbone's features, and that vector's width."""
    parts, rows = settings.parts, backbone.rows
    if rows is None:
        if parts > 1:
            raise UserError(
                f"parts={parts}: backbone={settings.backbone} gives one vector an image, which has no stripes; "
                "set parts to 1"
            )
        return nn.Identity(), backbone.width
    pooling = POOLING[settings.pooling]()
    if parts == 1:
        return pooling, backbone.width
    if parts > rows:
        raise UserError(
            f"parts={parts} of backbone={settings.backbone}'s feature map of {rows} rows; lower parts, or raise "
            "image_height"
        )
    width = settings.part_width
    return PartPooling(pooling, channels=backbone.width, parts=parts, width=width), parts * width


def _head(settings: ModelSettings, width: int) -> nn.Module:
    """The additional layers, from `width`: one sequence of them, or several between which a router chooses."""
    # Made where experts take its place, too: weights that are drawn later stay those of earlier versions.
    single = _layers(settings, width)
    if settings.moe_experts == 1:
        return single
    return MixtureOfExperts(
        lambda: _layers(settings, width),
        width=width,
        experts=settings.moe_experts,
        top_k=settings.moe_top_k,
        noise=settings.moe_noise,
    )


def _layers(settings: ModelSettings, width: int) -> nn.Sequential:
    """Fully connected layers from `width`; none gives what it is given."""
    layers: list[nn.Module] = []
    for number in range(settings.fc_layers):
        # No activation after the last one: an embedding needs both signs.
        last = number == settings.fc_layers - 1
        linear = nn.Linear(width, settings.fc_width)
        layers += [nn.Dropout(settings.dropout), linear, nn.Identity() if last else nn.ReLU()]
        width = settings.fc_width
    return nn.Sequential(*layers)
