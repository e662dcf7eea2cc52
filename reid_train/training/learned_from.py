"""What a run learns from, told by content: the same wherever it lies, and whatever it is called.

learned_from(config, data, pixels)  # {"images": "5f3a...", "pretrained": "imagenet", "teacher": None}
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from data.pixels.cache import Pixels
from data.sets.samples import Sample, name_of
from data.sets.splits import TrainingData
from data.system.errors import UserError
from data.system.kept import file_digest
from reid_train.checkpoints.checkpoint import WEIGHTS, recorded_digest
from reid_train.model.settings import TIMM
from reid_train.settings.config import TrainConfig
from reid_train.training.teacher import teacher_digest

LOOKED_AT = 16
"""Training images whose pixels are compared; of the others names, identities and cameras are."""


def learned_from(config: TrainConfig, data: TrainingData, pixels: Pixels) -> dict[str, Any]:
    """A state or a checkpoint of the same settings is of the same run where this is the same. A file that is gone is
    None."""
    return {
        "images": _images_digest(data, pixels.at(config.image_height, config.image_width)),
        "pretrained": weights_digest_at(config.pretrained),
        "teacher": _teacher(config),
    }


def weights_digest_at(pretrained: str) -> str | None:
    """`imagenet`, `none` and names of the hub as they are; else the SHA-256 of the weights in a checkpoint or file,
    in hex; None where nothing is there."""
    if pretrained in ("imagenet", "none") or pretrained.startswith(TIMM):
        return pretrained
    path = os.path.expanduser(pretrained)  # noqa: PTH111 - Path's raises for users that there are not
    file = os.path.join(path, WEIGHTS) if os.path.isdir(path) else path  # noqa: PTH118, PTH112 - names may be too long
    try:
        return recorded_digest(Path(file)) or file_digest(file)
    except OSError:
        return None


def _images_digest(data: TrainingData, pixels: Pixels) -> str:
    parts = {name: sorted(_line(sample) for sample in part) for name, part in data._asdict().items()}
    digest = hashlib.sha256(json.dumps(parts).encode())
    ordered = sorted(data.train, key=_line)
    digest.update(pixels.read([sample.path for sample in ordered[:: -(-len(ordered) // LOOKED_AT)]]).tobytes())
    return digest.hexdigest()


def _line(sample: Sample) -> str:
    return json.dumps([name_of(sample.path), sample.identity, sample.camera])


def _teacher(config: TrainConfig) -> str | None:
    if config.teacher is not None and config.distills and config.teacher.startswith(TIMM):
        return config.teacher
    try:
        return teacher_digest(config)
    except UserError:  # it is gone
        return None
