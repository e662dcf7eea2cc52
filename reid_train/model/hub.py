"""Models that are not in timm's own list but that timm can make: of the Hugging Face hub, or of a folder.

is_source("hf-hub:owner/name"), is_source("local-dir:/models/mine")  # True, True
config_of("hf-hub:owner/name")["architecture"]  # "vit_small_patch16_224"
weights_file("hf-hub:owner/name")  # .../models--owner--name/snapshots/1a2b.../model.safetensors

Each is a folder with config.json, which says what timm has to make, and a file of weights. The hub's are kept in the
Hugging Face cache; the network is asked only for what is not there. Imports no timm.
"""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_session, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError

from data.system.errors import UserError, in_one_line

HUB, FOLDER = "hf-hub:", "local-dir:"
CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of files of weights, in the order in which timm looks for them."""
REACHABLE_S = 15
"""Seconds in which the hub has to answer."""
_known: dict[str, dict[str, Any]] = {}
"""What config.json said, by name: a checkpoint brings its own along."""


def is_source(name: str) -> bool:
    """Whether a name (without timm/) says where a model lies, and is none of timm's own list."""
    return name.startswith((HUB, FOLDER))


def remember(name: str, config: Mapping[str, Any]) -> None:
    """Has a model of this name made as a checkpoint says: the hub, or the folder, may be out of reach where it is
    used."""
    _known[name] = dict(config)


def config_of(name: str) -> dict[str, Any]:
    """What config.json says. Raises UserError where it is not to be had or no model of timm's is meant."""
    if name not in _known:
        file = _file_of(name, CONFIG)
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: cannot be read ({in_one_line(error)}); mend it, or fetch it again") from error
        if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
            raise UserError(
                f"{file}: names no architecture, so timm cannot make this model; take its weights alone, for a "
                "backbone of the same architecture: pretrained=PATH"
            )
        _known[name] = config
    return _known[name]


def input_size(name: str) -> tuple[int, int]:
    """Height and width of the images that a model was trained on."""
    config = config_of(name)
    about = config.get("pretrained_cfg", config)
    _, height, width = about.get("input_size") or (3, 224, 224)
    return int(height), int(width)


@contextmanager
def as_folder(name: str) -> Iterator[str]:
    """What timm calls a folder with the model's config.json alone: `local-dir:/tmp/...`."""
    with tempfile.TemporaryDirectory(prefix="reid-timm-") as folder:
        (Path(folder) / CONFIG).write_text(json.dumps(config_of(name)), encoding="utf-8")
        yield f"{FOLDER}{folder}"


def weights_file(name: str) -> Path:
    """The model's file of weights, which is fetched where it is not there. Raises UserError."""
    if name.startswith(FOLDER):
        folder = Path(name.removeprefix(FOLDER))
        found = [folder / file for file in WEIGHTS if (folder / file).is_file()]
        if not found:
            raise UserError(f"{folder}: holds no file of weights; put one there: {', '.join(WEIGHTS)}")
        return found[0]
    for file in WEIGHTS:
        if (cached := _cached(name, file)) is not None:
            return cached
    for file in WEIGHTS:
        try:
            return _fetched(name, file)
        except EntryNotFoundError:
            continue
    raise UserError(f"https://huggingface.co/{_repository(name)[0]} holds none of {', '.join(WEIGHTS)}")


def _file_of(name: str, file: str) -> Path:
    """A file of the model's, from the folder, the cache or the network."""
    if name.startswith(FOLDER):
        path = Path(name.removeprefix(FOLDER)) / file
        if not path.is_file():
            raise UserError(f"{path}: no such file; a folder of timm's models holds {CONFIG} and a file of weights")
        return path
    try:
        return _cached(name, file) or _fetched(name, file)
    except EntryNotFoundError:
        repository, _ = _repository(name)
        raise UserError(f"https://huggingface.co/{repository} holds no {file}, so it is no model of timm's") from None


def _repository(name: str) -> tuple[str, str | None]:
    """Owner and name, and the revision where one is named: hf-hub:owner/name@revision."""
    repository, _, revision = name.removeprefix(HUB).partition("@")
    return repository, revision or None


def _cached(name: str, file: str) -> Path | None:
    repository, revision = _repository(name)
    found = try_to_load_from_cache(repository, file, cache_dir=constants.HF_HUB_CACHE, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _fetched(name: str, file: str) -> Path:
    """A file from the hub. Raises EntryNotFoundError where the hub answers that there is none, else UserError."""
    repository, revision = _repository(name)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each of its attempts, on the terminal
    try:
        if not constants.HF_HUB_OFFLINE:
            get_session().head(constants.ENDPOINT, timeout=REACHABLE_S)  # fetching tries for a minute
        return Path(hf_hub_download(repository, file, revision=revision, cache_dir=constants.HF_HUB_CACHE))
    except EntryNotFoundError as error:
        if type(error).__name__ != "LocalEntryNotFoundError":  # that one says that the network was not asked
            raise
        reason = in_one_line(error, 160)
    except Exception as error:  # a network, and a repository that is not there or not open, raise many kinds
        reason = in_one_line(error, 160)
    raise UserError(
        f"https://huggingface.co/{repository} could not be fetched ({reason}); where there is a network `hf download "
        f"{repository}` makes the folder models--{repository.replace('/', '--')}, which belongs in "
        f"{constants.HF_HUB_CACHE} (HF_HOME names another place), or name a folder of its files: timm/{FOLDER}/PATH"
    )
