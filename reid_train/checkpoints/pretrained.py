"""The weights that a model starts from: ImageNet's, a checkpoint of this project, or anybody's file.

line = load_pretrained(model, "imagenet")  # "imagenet: 318 of 318 tensors matched"
"""

import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import DESCRIPTION, WEIGHTS, load_checkpoint
from reid_train.checkpoints.foreign_file import SAFETENSORS, read_file
from reid_train.model.hub import is_source, weights_file
from reid_train.model.matching import load_matching
from reid_train.model.network import ReIDModel
from reid_train.model.settings import TIMM

ENDINGS = (".bin", ".ckpt", ".pt", ".pth", ".safetensors", ".tar")


def load_pretrained(model: ReIDModel, pretrained: str) -> str:
    """Starts `model` from "imagenet", "none" or a path; gives one line that says what matched. Raises UserError."""
    if pretrained == "none":
        return "pretrained=none: random weights"
    if pretrained == "imagenet":
        try:
            state, source = published_state(model)
        except UserError as error:
            raise UserError(f"pretrained=imagenet: {error}; or set pretrained=none or pretrained=PATH") from error
        return load_matching(model, state, source, head=False)
    if pretrained.startswith(TIMM):
        return load_matching(model, read_file(_of_hub(pretrained)), pretrained)
    path = Path(os.path.expanduser(pretrained))  # noqa: PTH111 - Path's raises for users that there are not
    file = path / WEIGHTS if path.is_dir() else path
    if path.is_dir() and not file.is_file() and (others := _weights_in(path)):
        raise UserError(
            f"pretrained={path}: holds no {WEIGHTS}, but {', '.join(others[:3])}; give the file: {others[0]}"
        )
    own = file.suffix.lower() == SAFETENSORS and (not file.is_file() or _describes_itself(file))
    return load_matching(model, load_checkpoint(path).weights if own else read_file(file), str(path))


def _weights_in(folder: Path) -> list[str]:
    """Files of weights in a folder, as other toolboxes call them."""
    return sorted(str(file) for file in folder.iterdir() if file.suffix.lower() in ENDINGS and file.is_file())


def published_state(model: ReIDModel) -> tuple[Any, str]:
    """What a file of the backbone's published weights holds, and what that is called in messages. Raises UserError that
    says where they belong, when they cannot be had."""
    if (source := model.backbone.source) is None:
        return model.backbone.imagenet_state(), "imagenet"
    file = weights_file(source)
    return read_file(file), str(file)


def _of_hub(pretrained: str) -> Path:
    """The file of weights of a repository on the hub, or of a folder."""
    name = pretrained.removeprefix(TIMM)
    if not is_source(name):
        raise UserError(f"pretrained={pretrained}: for the weights that timm has of a backbone set pretrained=imagenet")
    try:
        return weights_file(name)
    except UserError as error:
        raise UserError(f"pretrained={pretrained}: {error}") from error


def _describes_itself(file: Path) -> bool:
    """Whether a safetensors file is a checkpoint of this project's: others hold no description."""
    try:
        with safe_open(file, framework="pt") as opened:
            return "description" in (opened.metadata() or {})
    except (OSError, SafetensorError):
        return (file.parent / DESCRIPTION).is_file()  # cut, say: load_checkpoint tells of it
