"""What a run leaves on disk: weights as safetensors with a JSON beside them, and the state to go on from.

model, checkpoint = load_network("results/sample/best")
checkpoint.config.backbone, checkpoint.metrics["val_mAP"]
"""

import hashlib
import json
import logging
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

from data.system.errors import UserError, in_one_line, refused_write
from data.system.files import replacing, write_json
from reid_train.measure.epoch_report import EpochReport
from reid_train.model.hub import config_of, is_source, remember
from reid_train.model.network import ReIDModel
from reid_train.model.settings import TIMM
from reid_train.model.weights import first_not_finite
from reid_train.settings.config import TrainConfig, difference, make_config

logger = logging.getLogger(__name__)

WEIGHTS, DESCRIPTION, STATE = "model.safetensors", "model.json", "state.pt"
LEARNED_FROM = {
    "images": ("data_dir", "on other training images"),
    "pretrained": ("pretrained", "with other starting weights"),
    "teacher": ("teacher", "with other weights of its teacher"),
}
"""What a run learns from: the setting that says where it lies, and how another one is told."""


class DamagedFile(UserError):
    """A file of this project that is no longer what was written: cut, for instance."""

    def __init__(self, file: Path, message: str):
        super().__init__(f"{file}: {message}")
        self.file, self._message = file, message

    def __reduce__(self) -> tuple[Any, ...]:
        """How it travels from one process to another."""
        return DamagedFile, (self.file, self._message)


class Checkpoint(NamedTuple):
    """A trained model and where it comes from."""

    config: TrainConfig
    epoch: int
    """Epochs that are trained; the whole schedule has config.num_epochs."""
    metrics: dict[str, Any]
    """The last epoch's report, as a record: `EpochReport.from_record` gives the report."""
    identities: list[int]
    """The identity of each of the classifier's outputs."""
    weights: dict[str, torch.Tensor]
    digest: str
    """The weights' SHA-256, in hex."""
    seen: dict[str, Any]
    """What the run learned from; empty where it was not recorded."""


def build_model(config: TrainConfig, identities: int) -> ReIDModel:
    """The configured model with random weights."""
    return ReIDModel(config, identities=identities)


def save_checkpoint(
    folder: str | Path,
    weights: Mapping[str, torch.Tensor],
    *,
    config: TrainConfig,
    epoch: int,
    metrics: dict[str, Any],
    identities: list[int],
    seen: Mapping[str, Any] | None = None,
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
        "seen": dict(seen or {}),
        **_source(config),
    }
    folder = Path(folder)
    with replacing(folder / WEIGHTS) as temporary, _refusal_as_os_error():
        save_file(tensors, temporary, metadata={"description": json.dumps(description)})
    write_json(folder / DESCRIPTION, description)


def _source(config: TrainConfig) -> dict[str, Any]:
    """What makes a backbone of the hub or of a folder, so that the checkpoint needs neither where it is used."""
    name = config.backbone.removeprefix(TIMM)
    return {"backbone": config_of(name)} if config.backbone.startswith(TIMM) and is_source(name) else {}


@contextmanager
def _refusal_as_os_error() -> Iterator[None]:
    """Turns what torch and safetensors (`... (os error 28)`) raise for a write that the system refused into OSError."""
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
        if isinstance(source := description.get("backbone"), dict):
            remember(config.backbone.removeprefix(TIMM), source)
        epoch, metrics, identities = (description[name] for name in ("epoch", "metrics", "identities"))
        if type(epoch) is not int or not isinstance(metrics, dict):
            raise TypeError("epoch or metrics are of another type")
        if not isinstance(seen := description.get("seen", {}), dict):
            raise TypeError("what it learned from is of another type")
        if not isinstance(identities, list) or any(type(identity) is not int for identity in identities):
            raise TypeError("identities are no list of whole numbers")
        digest = weights_digest(weights)
        if description.get("sha256", digest) != digest:
            raise ValueError("its weights are not those that were written")
    except Exception as error:  # hostile descriptions raise nearly anything
        if isinstance(error, UserError):
            raise
        raise DamagedFile(file, f"not a checkpoint of this project, or damaged ({in_one_line(error)})") from error
    return Checkpoint(config, epoch, metrics, identities, weights, digest, seen)


def recorded_digest(file: Path) -> str | None:
    """The digest of its weights that a checkpoint's file states; None in other files."""
    try:
        with safe_open(file, framework="pt") as opened:
            return str(json.loads((opened.metadata() or {})["description"])["sha256"])
    except (OSError, SafetensorError, ValueError, LookupError, TypeError):
        return None


def weights_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """The SHA-256 of all weights, in hex. It shows a flipped bit, which nobody would see in the weight itself."""
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
        reason = in_one_line(error, 300)  # for a whole network it names every tensor
        raise UserError(f"{folder}: its weights do not fit its own description: {reason}") from error
    if broken := first_not_finite(model.state_dict()):
        raise UserError(f"{folder}: damaged: {broken} holds values that are not finite")
    return model.eval(), checkpoint


def check_archive(file: Path) -> zipfile.ZipFile | None:
    """The zip archive that torch.save writes, which compresses nothing; None for other files.

    Raises ValueError for TorchScript, and for an archive that would unpack to more than it is: that could take all
    memory.
    """
    if not zipfile.is_zipfile(file):
        return None
    archive = zipfile.ZipFile(file)
    parts = archive.infolist()
    if any("/code/" in part.filename for part in parts):
        raise ValueError("it is a TorchScript archive; save its state dict: torch.jit.load(FILE).state_dict()")
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("it holds compressed parts, which torch.save does not write")
    if sum(part.file_size for part in parts) > file.stat().st_size:
        raise ValueError("its parts claim to be larger than the whole")
    return archive


def save_state(folder: str | Path, state: dict[str, Any]) -> None:
    """Writes the training state atomically; tensors and plain values alone, so that it loads without running code."""
    # Through a file of Python's: torch's own would not tell that the disk is full, only that writing failed.
    with replacing(Path(folder) / STATE) as temporary, _refusal_as_os_error(), temporary.open("wb") as file:
        torch.save(state, file)


def load_state(folder: str | Path) -> dict[str, Any] | None:
    """The training state, or None when there is none. Raises DamagedFile."""
    file = Path(folder) / STATE
    if not file.is_file():
        return None
    way_out = "remove it to train from the beginning"
    try:
        archive = check_archive(file)
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


def training_state(
    parts: Mapping[str, Any], config: TrainConfig, seen: Mapping[str, Any], report: EpochReport
) -> dict[str, Any]:
    """What `restore` needs to go on after the epoch of this report; for `save_state`."""
    states = {name: part.state_dict() for name, part in parts.items()}
    return {"config": config.model_dump(mode="json"), "seen": dict(seen), "report": report.to_record(), **states}


def another_run(
    config_there: Mapping[str, Any], seen_there: Mapping[str, Any], config: TrainConfig, seen: Mapping[str, Any]
) -> str | None:
    """What makes the run there another one than that of `config`, which learns from `seen`; None for the same run.

    Where images and weights lie does not count where `seen_there` tells what they are. What is gone counts as the same
    at the same place.
    """
    if changed := difference(config_there, config, places="pretrained" not in seen_there):
        return f"with other settings: {changed}"
    if "pretrained" not in seen_there:  # written before 2026-11-27
        return None
    for name, (setting, words) in LEARNED_FROM.items():
        gone = seen.get(name) is None and config_there.get(setting) == getattr(config, setting)
        if seen_there.get(name) != seen.get(name) and not gone:
            return words
    return None


def restore(
    parts: Mapping[str, Any], config: TrainConfig, seen: Mapping[str, Any], out_dir: str | Path
) -> tuple[int, EpochReport | None]:
    """Loads the training state in `out_dir`, if there is one, into `parts`; gives the epochs that it has behind it and
    the report of the last of them.

    `seen` is what the run learns from. Raises UserError for a state of another run, DamagedFile.
    """
    state = load_state(out_dir)
    if state is None:
        return 0, None
    way_out = "choose another folder, or remove it to train from the beginning"
    try:
        if other := another_run(state["config"], state["seen"], config, seen):
            raise UserError(f"{out_dir}: holds the state of a run {other}; {way_out}")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        report = EpochReport.from_record(state["report"])
        if not 0 < report.epoch <= config.num_epochs:
            raise ValueError("epoch")
    except UserError:
        raise
    except Exception as error:  # what a file says may be anything
        raise DamagedFile(Path(out_dir) / STATE, f"damaged training state; {way_out}") from error
    logger.info("%s: going on after epoch %d", out_dir, report.epoch)
    return report.epoch, report
