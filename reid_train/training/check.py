"""What would stop a run before its first step, told before its images are decoded, which can take minutes.

check_start(config, data, [out])
pixels = open_pixels(...)
"""

from collections.abc import Sequence
from pathlib import Path

from data.sets.splits import TrainingData
from reid_train.checkpoints.checkpoint import WEIGHTS, build_model
from reid_train.checkpoints.pretrained import load_pretrained
from reid_train.model.device import choose_device
from reid_train.settings.config import TrainConfig, check_training
from reid_train.training.teacher import load_teacher


def check_start(config: TrainConfig, data: TrainingData, folders: Sequence[Path]) -> None:
    """Raises UserError for a schedule that does not fit the data. Where a run in one of `folders` is not finished, also
    for a device, a teacher, layers to freeze or weights that it cannot have."""
    check_training(config, data)
    if all((folder / WEIGHTS).is_file() for folder in folders):
        return
    choose_device(config.device)
    load_teacher(config, data)
    model = build_model(config, len({sample.identity for sample in data.train}))
    model.freeze(config.freeze)
    load_pretrained(model, config.pretrained)
