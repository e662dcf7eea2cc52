"""What a run leaves on disk: weights as safetensors with a JSON beside them, and the state to go on from."""

import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from data.atomic import replacing, write_json
from data.errors import UserError, refused_write
from reid_train.backbones import imagenet_state, load_matching, why_unreadable
from reid_train.config import TrainConfig, make_config
from reid_train.model import ReIDModel

WEIGHTS, DESCRIPTION, STATE = "model.safetensors", "model.json", "state.pt"


class DamagedFile(UserError):
    """A file that this project wrote and that is no longer what was written: cut, say."""

    def __init__(self, file: Path, message: str):
        super().__init__(f"{file}: {message}")
        self.file = file


class Checkpoint(NamedTuple):
    """A trained model and where it comes from."""

    config: TrainConfig
    epoch: int
    """Epochs trained, of config.num_epochs."""
    metrics: dict[str, float]
    """The last epoch's report."""
    identities: list[int]
    """The identity of each of the classifier's outputs."""
    weights: dict[str, torch.Tensor]


def build_model(config: TrainConfig, identities: int) -> ReIDModel:
    """The configured model with random weights."""
    return ReIDModel(
        identities=identities,
        backbone=config.backbone,
        last_stride=config.last_stride,
        pooling=config.pooling,
        fc_layers=config.fc_layers,
        fc_width=config.fc_width,
        dropout=config.dropout,
    )


def save_checkpoint(
    folder: str | Path,
    weights: Mapping[str, torch.Tensor],
    *,
    config: TrainConfig,
    epoch: int,
    metrics: dict[str, Any],
    identities: list[int],
) -> None:
    """Writes model.safetensors, which holds everything, and model.json, the same description for people."""
    description = {
        "config": config.model_dump(mode="json"),
        "epoch": epoch,
        "metrics": metrics,
        "identities": identities,
        "versions": {name: version(name) for name in ("torch", "torchvision")},
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    folder = Path(folder)
    with replacing(folder / WEIGHTS) as temporary, _refusal_as_os_error():
        save_file(tensors, temporary, metadata={"description": json.dumps(description)})
    write_json(folder / DESCRIPTION, description)


@contextmanager
def _refusal_as_os_error() -> Iterator[None]:
    """What torch and safetensors (`... (os error 28)`) say of a write that the system refused, as Python says it."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        if refused := refused_write(error):
            raise refused from None
        if number := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        raise


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Reads a checkpoint folder (or its .safetensors file). Raises UserError (DamagedFile) that names the file."""
    file = Path(folder)
    file = file / WEIGHTS if file.is_dir() else file
    if not file.is_file():
        raise UserError(f"{file}: no such checkpoint; give a folder that holds {WEIGHTS}")
    try:
        with safe_open(file, framework="pt") as opened:
            description = json.loads((opened.metadata() or {})["description"])
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no iterator)
        return Checkpoint(
            make_config(description["config"], str(file)),
            description["epoch"],
            description["metrics"],
            description["identities"],
            weights,
        )
    except (SafetensorError, OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise DamagedFile(file, f"not a checkpoint of this project, or damaged ({error})") from error


def load_model(folder: str | Path) -> tuple[ReIDModel, Checkpoint]:
    """The model of a checkpoint folder, in evaluation mode on the CPU. Raises UserError when it does not fit."""
    checkpoint = load_checkpoint(folder)
    model = build_model(checkpoint.config, len(checkpoint.identities))
    try:
        model.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n\t")[:2])
        raise UserError(f"{folder}: its weights do not fit its own description: {reason}") from error
    return model.eval(), checkpoint


def load_pretrained(model: ReIDModel, pretrained: str, backbone: str) -> str:
    """Starts `model` from "imagenet", "none" or a path; gives one line that says what matched. Raises UserError."""
    if pretrained == "none":
        return "pretrained=none: random weights"
    if pretrained == "imagenet":
        return load_matching(model.backbone, imagenet_state(backbone), "imagenet")
    path = Path(pretrained).expanduser()
    if path.is_dir() or path.suffix == ".safetensors":
        return load_matching(model, load_checkpoint(path).weights, str(path))
    return load_matching(model, read_state_dict(path), str(path))


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of anybody's .pth file, also where they lie under "state_dict" or "model". Runs no code from it."""
    if not path.is_file():
        raise UserError(f"pretrained={path}: no such file; give imagenet, none, a checkpoint folder or a .pth file")
    try:
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


def save_state(folder: str | Path, state: dict[str, Any]) -> None:
    """Writes the training state atomically; tensors and plain values alone, so that it loads without running code."""
    # Through a file of Python's: of a full disk torch's own would tell nothing but that writing failed.
    with replacing(Path(folder) / STATE) as temporary, _refusal_as_os_error(), temporary.open("wb") as file:
        torch.save(state, file)


def load_state(folder: str | Path) -> dict[str, Any] | None:
    """The training state, or None when there is none. Raises DamagedFile."""
    file = Path(folder) / STATE
    if not file.is_file():
        return None
    way_out = "remove it to train from the beginning"
    try:
        if damaged := zipfile.ZipFile(file).testzip():  # torch itself does not look at the checksums
            raise ValueError(damaged)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DamagedFile(file, f"damaged training state; {way_out}") from error
    if not isinstance(state, dict):
        raise DamagedFile(file, f"no training state; {way_out}")
    return state


def remove_state(folder: str | Path) -> None:
    """Removes the training state, once there is nothing to go on with."""
    (Path(folder) / STATE).unlink(missing_ok=True)
