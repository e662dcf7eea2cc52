"""The weights that a model starts from: ImageNet's, a checkpoint of this project, or anybody's file.

line = load_pretrained(model, "imagenet")  # "imagenet: 318 of 318 tensors matched"
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import DESCRIPTION, WEIGHTS, check_archive, load_checkpoint
from reid_train.model.backbones import Backbone
from reid_train.model.network import ReIDModel
from reid_train.model.weights import load_matching, why_unreadable


def load_pretrained(model: ReIDModel, pretrained: str) -> str:
    """Starts `model` from "imagenet", "none" or a path; gives one line that says what matched. Raises UserError."""
    if pretrained == "none":
        return "pretrained=none: random weights"
    if pretrained == "imagenet":
        try:
            state = model.backbone.imagenet_state()
        except UserError as error:
            raise UserError(f"pretrained=imagenet: {error}; or set pretrained=none or pretrained=PATH") from error
        return load_matching(model.backbone, state, "imagenet")
    path = Path(os.path.expanduser(pretrained))  # noqa: PTH111 - Path's raises for users that there are not
    may_be_ours = path.is_dir() or path.suffix == ".safetensors"
    if may_be_ours and (_describes_itself(path) or not model.backbone.published_as_safetensors):
        return load_matching(model, _fitted(model.backbone, load_checkpoint(path).weights, str(path)), str(path))
    state = _read_foreign(path / WEIGHTS if path.is_dir() else path, pretrained)
    if model.backbone.published_as_safetensors:
        return load_matching(model.backbone, model.backbone.fitted(state, str(path)), str(path))
    return load_matching(model, state, str(path))


def _fitted(backbone: Backbone, weights: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A checkpoint's weights, the backbone's made to fit this model's images."""
    begin = "backbone."
    own = {name.removeprefix(begin): tensor for name, tensor in weights.items() if name.startswith(begin)}
    head = {name: tensor for name, tensor in weights.items() if not name.startswith(begin)}
    return head | {f"{begin}{name}": tensor for name, tensor in backbone.fitted(own, source).items()}


def _describes_itself(path: Path) -> bool:
    """Whether a safetensors file, or a folder's, is a checkpoint of this project's: others hold no description."""
    file = path / WEIGHTS if path.is_dir() else path
    try:
        with safe_open(file, framework="pt") as opened:
            return "description" in (opened.metadata() or {})
    except (OSError, SafetensorError):
        return (file.parent / DESCRIPTION).is_file()  # cut, say: load_checkpoint tells of it


def _read_foreign(file: Path, pretrained: str) -> dict[str, torch.Tensor]:
    """The tensors of timm's or its authors' file."""
    if file.suffix != ".safetensors" or not file.is_file():
        return read_state_dict(file)
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"pretrained={pretrained}: no safetensors file, or damaged: {error}") from error


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of anybody's .pth file, also where they lie under "state_dict" or "model". Runs no code from it."""
    if not path.is_file():
        raise UserError(f"pretrained={path}: no such file; give imagenet, none, a checkpoint folder or a .pth file")
    try:
        check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old and odd files; the error below tells what matters
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds, down to UnicodeDecodeError
        reason = why_unreadable(error)
        raise UserError(f"pretrained={path}: not a file of tensors alone, or damaged: {reason}") from error
    for key in ("state_dict", "model", "model_state_dict", "net"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not any(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"pretrained={path}: holds no state dict")
    return state
