"""Backbones by timm: DINOv2 and DINOv3, CLIP and SigLIP image towers, EVA-02, ViT, Swin, ConvNeXt and the others.

    backbone = TimmBackbone("vit_small_patch14_dinov2", (256, 128))
    backbone = TimmBackbone("hf-hub:owner/name", (256, 128))  # reid_train/model/hub.py

timm takes 2 s to import: this module is imported only when a model of timm is asked for. It is also the one place that
relies on what timm does not document, the `checkpoint_filter_fn` of its models' modules.
"""

import logging
import math
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from difflib import get_close_matches
from functools import cache, partial
from typing import Any

import timm
import torch
from huggingface_hub import constants, get_session, try_to_load_from_cache
from timm.layers import resample_abs_pos_embed
from timm.models import get_pretrained_cfg, group_parameters
from torch import nn
from torch.nn import functional as F

from data.system.errors import UserError, in_one_line
from reid_train.model.backbones import Backbone
from reid_train.model.hub import REACHABLE_S, as_folder, config_of, is_source
from reid_train.model.published import of_clip, of_mmcv_swin

# B images, C channels, H height, W width

HUB_WEIGHTS = "model.safetensors"
"""What the file of weights is called in timm's repositories on the Hugging Face hub."""


class TimmBackbone(Backbone):
    """timm's model of this name with random weights, for images (B x 3 x H x W) of one size.

    Gives a feature map (B x C x H' x W', whatever timm's layout) where the model is convolutional or hierarchical
    (ConvNeXt, Swin), and otherwise the vector that it was trained to give (B x C: class token, mean or attention
    pooling). A size that is no multiple of a transformer's patches is changed to the nearest that is, bilinearly.
    Raises UserError for a name that timm does not have and for a size that the model cannot take.
    """

    published_alone = True

    @property
    def network(self) -> nn.Module:
        """timm's model."""
        return self.net

    def __init__(self, name: str, image_size: tuple[int, int]):
        super().__init__()
        self.name, self.source = name, name if is_source(name) else None
        size, as_map, shape = _found_out(name, image_size)
        self.size = None if size == image_size else size
        self.recipe = partial(_create, name, size, as_map=as_map)
        self.net = self.recipe()
        self.channels_last = as_map and getattr(self.net, "output_fmt", None) == "NHWC"
        self.width = shape[3 if self.channels_last else 1]
        self.rows = shape[1 if self.channels_last else 2] if as_map else None
        self.mean, self.std = self.net.pretrained_cfg["mean"], self.net.pretrained_cfg["std"]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.size is not None:
            images = F.interpolate(images, self.size, mode="bilinear", align_corners=False)
        output: torch.Tensor = self.net(images)
        return output.permute(0, 3, 1, 2) if self.channels_last else output

    def layers(self) -> dict[str, int]:
        """As timm groups them for layer-wise learning rates."""
        groups = group_parameters(self.net, self.net.group_matcher(coarse=False), reverse=True)
        return {f"net.{name}": number for name, number in groups.items()}

    def undecayed(self) -> set[str]:
        """Those that timm names: position embeddings and tokens."""
        names = self.net.no_weight_decay() if hasattr(self.net, "no_weight_decay") else set()
        return {f"net.{name}" for name in names}

    def imagenet_state(self) -> dict[str, torch.Tensor]:
        """timm's own weights of this name, fitted to this size, from its cache or the network."""
        assert self.source is None, "a source has a file of weights (reid_train/model/hub.py)"
        about = get_pretrained_cfg(self.name)
        hub = about.hf_hub_id if about is not None else None
        # The network is asked only if the cache does not have them: without a network that takes a minute.
        cached = None if hub is None or about.custom_load else try_to_load_from_cache(hub, HUB_WEIGHTS)
        overlay = {"file": cached} if isinstance(cached, str) else None
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each of its attempts, on the terminal
        try:
            if hub is not None and overlay is None:
                get_session().head(constants.ENDPOINT, timeout=REACHABLE_S)  # timm's own way tries for a minute
            net = self.recipe(pretrained=True, pretrained_cfg_overlay=overlay)
        except Exception as error:  # a network, a torn file and a name without weights raise many kinds
            reason = in_one_line(error, 160)
            if hub is None:
                raise UserError(f"no weights of timm/{self.name} to be had ({reason})") from None
            if overlay:
                raise UserError(f"{cached} is damaged ({reason}); remove it to have it fetched again") from None
            folder = f"models--{hub.replace('/', '--')}"
            raise UserError(
                f"https://huggingface.co/{hub} could not be fetched ({reason}); where there is a network "
                f"`hf download {hub} {HUB_WEIGHTS}` makes the folder {folder}, which belongs in "
                f"{constants.HF_HUB_CACHE} (HF_HOME names another place)"
            ) from error
        state: dict[str, torch.Tensor] = net.state_dict()
        return state

    def fitted(self, state: Mapping[str, Any], source: str) -> dict[str, Any]:
        """A file's tensors as timm's own filter makes them fit: renamed, position embeddings resized."""
        change = getattr(sys.modules[type(self.net).__module__], "checkpoint_filter_fn", None)
        try:
            own = self._at_our_grid(of_mmcv_swin(of_clip(state)))
            fitted: dict[str, Any] = own if change is None else change(own, self.net)
        except Exception as error:  # what a file holds may be anything
            reason = in_one_line(error, 160)
            raise UserError(f"pretrained={source}: its tensors are not those of timm/{self.name} ({reason})") from error
        return fitted

    def _at_our_grid(self, state: dict[str, Any]) -> dict[str, Any]:
        """The tensors with position embeddings that no square grid explains resized: timm's filter takes all for
        square, but re-identification trains on images that are twice as high as wide, with patches that overlap."""
        grid = getattr(getattr(self.net, "patch_embed", None), "grid_size", None)
        if not grid:
            return state
        for name in {"pos_embed", "visual.positional_embedding"} & state.keys():
            tensor, extra = state[name], getattr(self.net, "num_prefix_tokens", 1)
            cells = tensor.shape[-2] - extra if tensor.ndim in (2, 3) else 0
            if cells > 0 and cells != grid[0] * grid[1] and math.isqrt(cells) ** 2 != cells:
                heights = [height for height in range(1, cells + 1) if cells % height == 0]
                height = min(heights, key=lambda h: abs(math.log(h * h / cells * grid[1] / grid[0])))
                sizes = {"new_size": grid, "old_size": (height, cells // height), "num_prefix_tokens": extra}
                resized = resample_abs_pos_embed(tensor.view(1, *tensor.shape[-2:]), **sizes)
                state = {**state, name: resized.view(*tensor.shape[:-2], *resized.shape[-2:])}
        return state


@cache
def _found_out(name: str, image_size: tuple[int, int]) -> tuple[tuple[int, int], bool, tuple[int, ...]]:
    """The size that the model works at, whether it gives a map, and the shape of what it gives, without computing it.

    Raises UserError as TimmBackbone does.
    """
    check_name(name)
    with torch.device("meta"):
        probe = _create(name, image_size, as_map=True)
        patch = getattr(getattr(probe, "patch_embed", None), "patch_size", (1, 1))
        height, width = (max(1, round(side / of)) * of for side, of in zip(image_size, patch, strict=True))
        probe = _create(name, (height, width), as_map=True)
        if probe is not None and (output := _output(probe, name, height, width)).ndim == 4:
            return (height, width), True, tuple(output.shape)
        output = _output(_create(name, (height, width)), name, height, width)
        return (height, width), False, tuple(output.shape)


def check_name(name: str, setting: str = "backbone") -> None:
    """Raises UserError, with a suggestion, for a name (without timm/) that timm does not have, and for a source that is
    not to be had."""
    if is_source(name):
        try:
            architecture = config_of(name)["architecture"]
        except UserError as error:
            raise UserError(f"{setting}=timm/{name}: {error}") from error
        if not timm.is_model(architecture):
            raise UserError(
                f"{setting}=timm/{name}: its config.json names the architecture {architecture}, which timm "
                f"{timm.__version__} does not have; a newer timm may"
            )
        return
    architectures = timm.list_models()
    if name in architectures or name in (tagged := timm.list_models(pretrained=True)):
        return
    architecture = name.split(".")[0]
    near = [known for known in tagged if known.startswith(f"{architecture}.")] if architecture in architectures else []
    near = (near or get_close_matches(name, [*architectures, *tagged], n=3))[:6]
    suggestion = f"; did you mean timm/{', timm/'.join(near)}?" if near else "; see timm.list_models()"
    raise UserError(f"{setting}=timm/{name}: timm {timm.__version__} has no such model{suggestion}")


def _create(name: str, image_size: tuple[int, int], as_map: bool = False, **options: Any) -> Any:
    """The model without its classifier, for this size if it depends on one, and with `as_map` without pooling; None if
    it cannot do without."""
    options |= {"num_classes": 0, **({"global_pool": ""} if as_map else {})}
    with as_folder(name) if is_source(name) else nullcontext(name) as called:
        for of_size in ({"img_size": image_size}, {}):
            try:
                return timm.create_model(called, **of_size, **options)
            except TypeError as error:
                if of_size and "img_size" in str(error):
                    continue  # takes any size
                if not as_map:
                    raise
            except AssertionError:
                if not as_map:
                    raise
            return None
    raise AssertionError("unreachable")


def _output(net: Any, name: str, height: int, width: int) -> torch.Tensor:
    """What the model makes of two images; on the meta device that is a shape alone."""
    try:
        output: torch.Tensor = net.eval()(torch.zeros(2, 3, height, width))
    except Exception as error:  # models find many words for a size that they cannot take
        reason = in_one_line(error, 160)
        raise UserError(f"backbone=timm/{name} takes no images of {height} x {width} pixels ({reason})") from error
    if not isinstance(output, torch.Tensor) or output.ndim not in (2, 3, 4):
        raise UserError(f"backbone=timm/{name} gives no features that can be used; choose another")
    return output
