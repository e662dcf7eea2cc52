"""What a run leaves on disk: weights as safetensors with a JSON beside them, and the state to go on from."""

import hashlib
import json
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from data.system.errors import UserError, refused_write
from data.system.files import replacing, write_json
from reid_train.config import MODEL_SETTINGS, TIMM, TrainConfig, make_config
from reid_train.model.backbones import first_not_finite, imagenet_state, load_matching, why_unreadable
from reid_train.model.network import ReIDModel

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
    metrics: dict[str, Any]
    """The last epoch's report, as a record."""
    identities: list[int]
    """The identity of each of the classifier's outputs."""
    weights: dict[str, torch.Tensor]
    digest: str
    """The weights' SHA-256, in hex."""


def build_model(config: TrainConfig, identities: int) -> ReIDModel:
    """The configured model with random weights."""
    size = config.image_height, config.image_width
    return ReIDModel(identities=identities, image_size=size, **{name: getattr(config, name) for name in MODEL_SETTINGS})


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
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    description = {
        "config": config.model_dump(mode="json"),
        "epoch": epoch,
        "metrics": metrics,
        "identities": identities,
        "versions": {name: version(name) for name in ("torch", "torchvision")},
        "sha256": weights_digest(tensors),
    }
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
        config = make_config(description["config"], str(file))
        epoch, metrics, identities = (description[name] for name in ("epoch", "metrics", "identities"))
        if type(epoch) is not int or not isinstance(metrics, dict):
            raise TypeError("epoch or metrics are of another type")
        if not isinstance(identities, list) or any(type(identity) is not int for identity in identities):
            raise TypeError("identities are no list of whole numbers")
        digest = weights_digest(weights)
        if description.get("sha256", digest) != digest:
            raise ValueError("its weights are not those that were written")
    except Exception as error:  # hostile descriptions raise nearly anything
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DamagedFile(file, f"not a checkpoint of this project, or damaged ({reason})") from error
    return Checkpoint(config, epoch, metrics, identities, weights, digest)


def weights_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """The SHA-256 of all weights, in hex. A flipped bit is another weight, and nobody would see it."""
    sha256 = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha256.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def load_network(folder: str | Path) -> tuple[ReIDModel, Checkpoint]:
    """The model of a checkpoint folder, in evaluation mode on the CPU. Raises UserError when it does not fit."""
    checkpoint = load_checkpoint(folder)
    linear, margin = (checkpoint.weights.get(f"classifier.{name}") for name in ("weight", "margin_loss.W"))
    outputs = [len(w) // checkpoint.config.parts for w in [linear] if w is not None and w.ndim == 2]
    outputs += [w.shape[1] for w in [margin] if w is not None and w.ndim == 2]
    if outputs != [len(checkpoint.identities)]:  # before so large a one is built
        raise UserError(
            f"{folder}: its weights do not fit its own description: "
            f"classifier.weight is not of {len(checkpoint.identities)} identities"
        )
    model = build_model(checkpoint.config, len(checkpoint.identities))
    try:
        model.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]  # of a whole network it names every tensor
        raise UserError(f"{folder}: its weights do not fit its own description: {reason}") from error
    if broken := first_not_finite(model.state_dict()):
        raise UserError(f"{folder}: damaged: {broken} holds values that are not finite")
    return model.eval(), checkpoint


def load_pretrained(model: ReIDModel, pretrained: str, backbone: str) -> str:
    """Starts `model` from "imagenet", "none" or a path; gives one line that says what matched. Raises UserError."""
    if pretrained == "none":
        return "pretrained=none: random weights"
    if pretrained == "imagenet":
        own = backbone.startswith(TIMM)
        try:
            state = model.backbone.imagenet_state() if own else imagenet_state(backbone)  # type: ignore[operator]
        except UserError as error:
            raise UserError(f"pretrained=imagenet: {error}; or set pretrained=none or pretrained=PATH") from error
        return load_matching(model.backbone.net if own else model.backbone, state, "imagenet")  # type: ignore[arg-type]
    path = Path(os.path.expanduser(pretrained))  # noqa: PTH111 - Path's raises for users that there are not
    is_ours = path.is_dir() or path.suffix == ".safetensors"
    if backbone.startswith(TIMM) and not (is_ours and _describes_itself(path)):
        return _load_foreign(model, path)
    if not is_ours:
        return load_matching(model, read_state_dict(path), str(path))
    return load_matching(model, _fitted(model, load_checkpoint(path).weights, str(path)), str(path))


def _fitted(model: ReIDModel, weights: dict[str, torch.Tensor], source: str) -> dict[str, torch.Tensor]:
    """A checkpoint's weights; of a timm backbone, position embeddings resized to this model's images."""
    begin = "backbone.net."
    own = {name.removeprefix(begin): tensor for name, tensor in weights.items() if name.startswith(begin)}
    if not own or not hasattr(model.backbone, "fitted"):
        return weights
    head = {name: tensor for name, tensor in weights.items() if not name.startswith(begin)}
    fitted = model.backbone.fitted(own, source)  # type: ignore[operator]
    return head | {f"{begin}{name}": tensor for name, tensor in fitted.items()}


def _describes_itself(path: Path) -> bool:
    """Whether a safetensors file, or a folder's, is a checkpoint of this project's: others hold no description."""
    file = path / WEIGHTS if path.is_dir() else path
    try:
        with safe_open(file, framework="pt") as opened:
            return "description" in (opened.metadata() or {})
    except (OSError, SafetensorError):
        return (file.parent / DESCRIPTION).is_file()  # cut, say: load_checkpoint tells of it


def _load_foreign(model: ReIDModel, path: Path) -> str:
    """Loads a timm backbone from timm's or its authors' file (a folder's model.safetensors); gives what matched."""
    file = path / WEIGHTS if path.is_dir() else path
    if file.suffix == ".safetensors" and file.is_file():
        try:
            state = load_file(file)
        except (OSError, SafetensorError) as error:
            raise UserError(f"pretrained={path}: no safetensors file, or damaged: {error}") from error
    else:
        state = read_state_dict(file)
    return load_matching(model.backbone.net, model.backbone.fitted(state, str(path)), str(path))  # type: ignore


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of anybody's .pth file, also where they lie under "state_dict" or "model". Runs no code from it."""
    if not path.is_file():
        raise UserError(f"pretrained={path}: no such file; give imagenet, none, a checkpoint folder or a .pth file")
    try:
        _check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what an old or odd file might not be, which is told below
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


def _check_archive(file: Path) -> zipfile.ZipFile | None:
    """The zip archive that torch.save writes, which compresses nothing; None for other files. Raises ValueError.

    One that unpacks to more than it is would take all memory.
    """
    if not zipfile.is_zipfile(file):
        return None
    archive = zipfile.ZipFile(file)
    parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("it holds compressed parts, which torch.save does not write")
    if sum(part.file_size for part in parts) > file.stat().st_size:
        raise ValueError("its parts claim to be larger than the whole")
    return archive


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
        archive = _check_archive(file)
        if archive is None or archive.testzip() is not None:  # torch does not look at the checksums
            raise ValueError("checksums do not agree")
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DamagedFile(file, f"damaged training state; {way_out}") from error
    if not isinstance(state, dict):
        raise DamagedFile(file, f"no training state; {way_out}")
    return state


def remove_state(folder: str | Path) -> None:
    """Removes the training state, once there is nothing to go on with."""
    (Path(folder) / STATE).unlink(missing_ok=True)
