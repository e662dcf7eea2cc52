"""The images that a run learns from and is validated on.

samples, data, left_out = read_training(config)
pixels = open_pixels(samples, height=config.image_height, width=config.image_width)
"""

from pathlib import Path

from data.pixels.bad_images import usable_train
from data.sets.samples import Sample
from data.sets.splits import TrainingData, hold_out_images, split_identities
from reid_train.settings.config import TrainConfig


def read_training(config: TrainConfig, cache_dir: Path | None = None) -> tuple[list[Sample], TrainingData, list[str]]:
    """The training images, their parts as the configuration splits them, and the paths of those it leaves out."""
    samples, left_out = usable_train(**config.images, cache_dir=cache_dir)
    data = split_identities(samples, fraction=config.validation_fraction, seed=config.split_seed)
    if config.holdout_images_per_identity:
        data = hold_out_images(data, images_per_identity=config.holdout_images_per_identity, seed=config.split_seed)
    return samples, data, left_out
