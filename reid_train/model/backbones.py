"""Backbones: normalised images -> features. What every backbone must have, and torchvision's ResNets.

    backbone = ResNetBackbone("resnet18", last_stride=1, image_height=256)
    backbone.width, backbone.rows  # 512 channels, a feature map of 16 rows

`reid_train.model.foundation` has those of timm; `build_backbone` in network.py chooses.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models

from data.pixels.augmentation import IMAGENET_MEAN, IMAGENET_STD
from data.system.errors import UserError
from reid_train.model.weights import why_unreadable


class Backbone(nn.Module, ABC):
    """A network from normalised images (B x 3 x H x W) to a feature map (B x C x H' x W') or a vector (B x C)."""

    width: int
    """C, channels of the features."""
    rows: int | None
    """H' of the feature map; None where the backbone pools, and gives vectors."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Mean of red, green and blue, 0 to 1, by which the network wants its images normalised."""
    std: tuple[float, ...] = IMAGENET_STD
    source: str | None = None
    """Where its own weights lie, `hf-hub:owner/name` for instance (reid_train/model/hub.py); None for weights that
    `imagenet_state` knows."""
    published_alone = False
    """Whether such backbones are usually published without a head: then a head that is missing is not told of."""

    @property
    def network(self) -> nn.Module:
        """The module whose names files of weights have."""
        return self

    @abstractmethod
    def layers(self) -> dict[str, int]:
        """The layer of each parameter, from 0 at the images: for layer-wise learning rates, and for freezing."""

    def undecayed(self) -> set[str]:
        """Parameters that weight decay is not meant for, beside biases and normalisation."""
        return set()

    @abstractmethod
    def imagenet_state(self) -> dict[str, torch.Tensor]:
        """The published weights. Raises UserError that says where they belong, when they cannot be had."""

    @abstractmethod
    def fitted(self, state: Mapping[str, Any], source: str) -> dict[str, Any]:
        """A file's tensors of this backbone, made to fit images of this size. Raises UserError for another model's."""


class IBN(nn.Module):
    """Instance normalisation of the first half of the channels, batch normalisation of the others (Pan et al., ECCV
    2018, IBN-a). Named as its authors' weights are."""

    def __init__(self, channels: int):
        super().__init__()
        self.IN = nn.InstanceNorm2d(channels // 2, affine=True)
        self.BN = nn.BatchNorm2d(channels - channels // 2)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        first, second = map_BCHW.split([self.IN.num_features, self.BN.num_features], dim=1)
        return torch.cat([self.IN(first), self.BN(second)], dim=1)


def resnet50_ibn(**options: Any) -> models.ResNet:
    """torchvision's ResNet-50 with IBN after the first convolution of each block of the first three stages."""
    network = models.resnet50(**options)
    for stage in (network.layer1, network.layer2, network.layer3):
        for block in stage:
            block.bn1 = IBN(block.bn1.num_features)
    return network


IBN_WEIGHTS = "https://github.com/XingangPan/IBN-Net/releases/download/v1.0/resnet50_ibn_a-d9d0bb7b.pth"
BACKBONES: dict[str, tuple[Callable[..., models.ResNet], str, int]] = {
    "resnet50": (models.resnet50, models.ResNet50_Weights.IMAGENET1K_V2.url, 2048),
    "resnet50_ibn": (resnet50_ibn, IBN_WEIGHTS, 2048),
    "resnet18": (models.resnet18, models.ResNet18_Weights.IMAGENET1K_V1.url, 512),
}
"""Name -> (builder, where its ImageNet weights are, channels of the last feature map)."""


class ResNetBackbone(Backbone):
    """One of BACKBONES up to its last feature map, H/32 x W/32, or twice that height and width with `last_stride` 1.

    It takes images of any size; its layers are named as in torchvision.
    """

    def __init__(self, name: str, *, last_stride: int, image_height: int):
        super().__init__()
        builder, self.url, self.width = BACKBONES[name]
        self.rows = -(-image_height // (16 * last_stride))
        # Blocks that begin as the identity train faster from scratch (Goyal et al. 2017); loaded weights replace it.
        network = builder(weights=None, zero_init_residual=True)
        first = network.layer4[0]
        # The convolution that strides is the 3x3: the second of a bottleneck, the first of a basic block.
        (first.conv2 if hasattr(first, "conv3") else first.conv1).stride = (last_stride, last_stride)
        first.downsample[0].stride = (last_stride, last_stride)
        for key, layer in network.named_children():
            if key not in ("avgpool", "fc"):
                self.add_module(key, layer)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            images = layer(images)
        return images

    def layers(self) -> dict[str, int]:
        """0 for the stem, 1 to 4 for the stages."""
        stage = re.compile(r"layer(\d+)\.")
        matches = {name: stage.match(name) for name, _ in self.named_parameters()}
        return {name: int(match[1]) if match else 0 for name, match in matches.items()}

    def imagenet_state(self) -> dict[str, torch.Tensor]:
        """ImageNet weights, from torch's cache folder or the network."""
        file = Path(torch.hub.get_dir()) / "checkpoints" / self.url.rsplit("/", 1)[-1]
        try:
            state: dict[str, torch.Tensor] = torch.hub.load_state_dict_from_url(
                self.url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
        except Exception as error:  # a network and a torn file raise many kinds
            trouble = f"{file} is damaged" if file.exists() else f"{self.url} could not be fetched"
            that = f"a fresh {self.url}" if file.exists() else "that file"
            raise UserError(f"{trouble} ({why_unreadable(error)}); put {that} at {file}") from error
        return state

    def fitted(self, state: Mapping[str, Any], source: str) -> dict[str, Any]:
        """The tensors as they are, since a ResNet takes images of any size; but where a file numbers the layers (those
        of an nn.Sequential) they get their names."""
        numbers = sorted({int(first) for first in (name.split(".")[0] for name in state) if first.isdecimal()})
        named = [name for name, layer in self.named_children() if layer.state_dict()]
        if len(numbers) < len(named):
            return dict(state)
        name_of = dict(zip(map(str, numbers), named, strict=False))
        parts = {name: name.partition(".") for name in state}
        return {name_of.get(first, first) + dot + rest: state[name] for name, (first, dot, rest) in parts.items()}
