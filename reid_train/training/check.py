"""What would stop a run before its first step, told before its images are decoded, which can take minutes.

check_start(config, data)
pixels = open_pixels(...)
"""

from data.sets.splits import TrainingData
from reid_train.checkpoints.checkpoint import build_model
from reid_train.checkpoints.pretrained import load_pretrained
from reid_train.model.device import choose_device
from reid_train.settings.config import TrainConfig, check_training
from reid_train.training.teacher import load_teacher


def check_start(config: TrainConfig, data: TrainingData) -> None:
    """Raises UserError for a schedule, a device, a teacher, layers to freeze or weights that the run cannot have."""
    check_training(config, data)
    choose_device(config.device)
    load_teacher(config, data)
    model = build_model(config, len({sample.identity for sample in data.train}))
    model.freeze(config.freeze)
    load_pretrained(model, config.pretrained)
