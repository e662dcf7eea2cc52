"""Backbones: image -> features, with their width, layers and the weights they may start from.

`reid_train.model.foundation` has those of timm.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torchvision import models

from data.pixels.augmentation import IMAGENET_MEAN, IMAGENET_STD
from data.system.errors import UserError
from reid_train.config import TIMM

IBN_WEIGHTS = "https://github.com/XingangPan/IBN-Net/releases/download/v1.0/resnet50_ibn_a-d9d0bb7b.pth"


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


BACKBONES: dict[str, tuple[Callable[..., models.ResNet], str, int]] = {
    "resnet50": (models.resnet50, models.ResNet50_Weights.IMAGENET1K_V2.url, 2048),
    "resnet50_ibn": (resnet50_ibn, IBN_WEIGHTS, 2048),
    "resnet18": (models.resnet18, models.ResNet18_Weights.IMAGENET1K_V1.url, 512),
}
"""Name -> (builder, where its ImageNet weights are, channels of the last feature map)."""


class Backbone(NamedTuple):
    """A network with random weights, from normalised images (B x 3 x H x W) to features."""

    module: nn.Module
    width: int
    """Channels of the features."""
    rows: int | None
    """H' of the feature map (B x C x H' x W'); None where it gives pooled features (B x C)."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Of red, green and blue, of 1: by what the network wants its images normalised."""
    std: tuple[float, ...] = IMAGENET_STD


def build_backbone(name: str, *, last_stride: int, image_size: tuple[int, int]) -> Backbone:
    """The backbone of this name, for images of this height and width.

    torchvision's give a map of H/32 x W/32, twice that height and width with `last_stride` 1, from images of any
    size; their layers are named as in torchvision. Raises UserError for what timm does not have.
    """
    if name.startswith(TIMM):
        from reid_train.model.foundation import TimmBackbone

        module = TimmBackbone(name.removeprefix(TIMM), image_size)
        return Backbone(module, module.width, module.rows, module.mean, module.std)
    builder, _, width = BACKBONES[name]
    # Blocks that begin as the identity train faster from scratch (Goyal et al. 2017); loaded weights replace it.
    network = builder(weights=None, zero_init_residual=True)
    first = network.layer4[0]
    # The convolution that strides is the 3x3: the second of a bottleneck, the first of a basic block.
    (first.conv2 if hasattr(first, "conv3") else first.conv1).stride = (last_stride, last_stride)
    first.downsample[0].stride = (last_stride, last_stride)
    layers = {key: layer for key, layer in network.named_children() if key not in ("avgpool", "fc")}
    trunk = nn.Sequential()
    for key, layer in layers.items():
        trunk.add_module(key, layer)
    return Backbone(trunk, width, rows=-(-image_size[0] // (16 * last_stride)))


def layers_of(backbone: nn.Module) -> dict[str, int]:
    """The layer of each of a backbone's parameters, from 0 at the images: timm's, or a ResNet's stem and stages."""
    if hasattr(backbone, "layers"):
        layers: dict[str, int] = backbone.layers()  # type: ignore[operator]
        return layers
    stage = re.compile(r"layer(\d+)\.")
    matches = {name: stage.match(name) for name, _ in backbone.named_parameters()}
    return {name: int(match[1]) if match else 0 for name, match in matches.items()}


def imagenet_state(name: str) -> dict[str, torch.Tensor]:
    """ImageNet weights, from torch's cache folder or the network. Raises UserError that says where they belong."""
    url = BACKBONES[name][1]
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    try:
        state: dict[str, torch.Tensor] = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except Exception as error:  # a network and a torn file raise many kinds
        trouble = f"{file} is damaged" if file.exists() else f"{url} could not be fetched"
        that = f"a fresh {url}" if file.exists() else "that file"
        raise UserError(f"{trouble} ({why_unreadable(error)}); put {that} at {file}") from error
    return state


def why_unreadable(error: Exception) -> str:
    """One line for what torch.load raised: its own text runs over many, and advises to run the file's code."""
    text = str(error)
    if foreign := re.search(r"GLOBAL (\S+)", text):
        return f"it holds {foreign[1]}, which is code; save its state dict alone, tensors by name"
    if "Weights only load failed" in text or not text:
        return "no file that torch.save wrote"
    return text.splitlines()[0][:200]


PREFIXES = ("module.", "model.", "backbone.", "base.", "encoder.", "net.")


def _plain_name(name: str) -> str:
    """A parameter's name without the prefixes that other projects put before it."""
    while any(name.startswith(prefix) for prefix in PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _is_plain(value: object) -> bool:
    """Whether it is a tensor of real numbers that are all there: none that is sparse, quantised, complex or empty."""
    return (
        type(value) in (torch.Tensor, nn.Parameter)
        and value.layout == torch.strided  # type: ignore[attr-defined]
        and value.device.type == "cpu"  # type: ignore[attr-defined]
        and not (value.is_quantized or value.is_complex())  # type: ignore[attr-defined]
    )


def first_not_finite(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """The name of the first tensor that holds, as float32, an infinite value or none; None when all are finite."""
    return next((name for name, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()), None)


def load_matching(model: nn.Module, state: Mapping[str, Any], source: str) -> str:
    """Copies what matches by name and shape into `model`; gives one line that says what did.

    Names are compared without prefixes such as `module.` or `backbone.`. Raises UserError when fewer than half of the
    model's do: a few names are the same in most networks.
    """
    own = {_plain_name(name): tensor for name, tensor in model.state_dict().items()}
    other = {_plain_name(name): tensor for name, tensor in state.items() if isinstance(name, str) and _is_plain(tensor)}
    fitting = [name for name in own if name in other and other[name].shape == own[name].shape]
    misshapen = [name for name in own if name in other and other[name].shape != own[name].shape]
    if 2 * len(fitting) < len(own):
        raise UserError(
            f"pretrained={source}: of another architecture: {len(fitting) or 'none'} of the model's {len(own)} tensors "
            f"{'are' if len(fitting) != 1 else 'is'} among its {len(other)} by name and shape"
        )
    if broken := first_not_finite({name: other[name] for name in fitting}):
        raise UserError(f"pretrained={source}: {broken} holds values that are not finite: damaged, or of a failed run")
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(other[name])
    line = f"{source}: {len(fitting)} of {len(own)} tensors matched"
    if misshapen:
        shapes = f"{tuple(other[misshapen[0]].shape)} there, {tuple(own[misshapen[0]].shape)} here"
        line += f"; another shape: {', '.join(misshapen[:3])}{' ...' if len(misshapen) > 3 else ''} ({shapes})"
    missing = [name for name in own if name not in other]
    if missing:
        line += f"; not in it: {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"
    return line
