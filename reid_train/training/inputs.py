"""What a model is trained and validated on: pictures, or what a frozen backbone makes of them.

    inputs = Pictures(pixels, device, precision)
    for images, labels in batches_of(inputs, config, data.train, labels, range(config.num_epochs)): ...
    feature_ND = inputs.features(model, data.query)

reid_train/training/frozen.py has the other kind.
"""

# N images, D embedding width

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch

from data.pixels.augmentation import Augmentation
from data.pixels.batches import AugmentedBatches, Batch, LabelledBatches, training_batches
from data.pixels.cache import Pixels
from data.sets.samples import Sample
from data.system.errors import UserError
from data.system.limits import SHARED_MEMORY, free_shared_memory_bytes, usable_cpus
from reid_train.measure.features import extract_features
from reid_train.model.device import choose_compiling
from reid_train.model.network import ReIDModel
from reid_train.settings.config import TrainConfig

logger = logging.getLogger(__name__)

LEAST_WORKERS = 4
"""With fewer processes than this to prepare batches, a GPU does it faster itself."""
MOST_WORKERS = 8
SHARED_BATCHES = 6
"""Batches of each such process that its share of the shared memory must hold: 3 on their way, and as many again for
other trials. A process that finds no room there is killed (SIGBUS)."""


class Source(NamedTuple):
    """Where training's batches come from."""

    batches: LabelledBatches
    workers: int
    """Processes that prepare them; 0: the training process."""
    pinned: bool
    """Whether they are copied to a GPU from pinned memory."""


class Inputs(Protocol):
    """Where training's batches and validation's features come from."""

    def source(self, config: TrainConfig, samples: Sequence[Sample], labels: Sequence[int]) -> Source:
        """Training's batches of these images, whose identities are the `labels`."""

    def forward(self, model: ReIDModel, config: TrainConfig, total_steps: int) -> Callable[[torch.Tensor], Any]:
        """What makes the model's output of a batch's inputs."""

    def features(self, model: ReIDModel, samples: Sequence[Sample]) -> torch.Tensor:
        """Features before the BNNeck (N x D), without augmentation. Leaves the model in evaluation mode."""


def batches_of(
    inputs: Inputs, config: TrainConfig, samples: Sequence[Sample], labels: Sequence[int], epochs: range
) -> Iterator[Batch]:
    """All batches of `epochs`, one after the other: inputs, and those of the images' `labels` that belong to them."""
    source = inputs.source(config, samples, labels)
    return training_batches(
        source.batches,
        batch_size=config.batch_size,
        images_per_identity=config.images_per_identity,
        epochs=epochs,
        num_workers=source.workers,
        pin_memory=source.pinned,
    )


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures, augmented for training."""

    pixels: Pixels
    device: torch.device
    precision: torch.dtype

    def source(self, config: TrainConfig, samples: Sequence[Sample], labels: Sequence[int]) -> Source:
        """Prepared by other processes, or here, and then on the GPU if the pixels fit there."""
        workers = self._workers(config)
        resident = workers == 0 and self._fits_beside_training(len(samples))
        paths, place = [sample.path for sample in samples], self.device if resident else None
        augmented = AugmentedBatches(self.pixels, paths, labels, Augmentation.of(config), config.seed, device=place)
        return Source(augmented, workers, pinned=self.device.type == "cuda" and not resident)

    def forward(self, model: ReIDModel, config: TrainConfig, total_steps: int) -> Callable[[torch.Tensor], Any]:
        """The model, compiled where that is asked for or pays."""
        compiled = choose_compiling(config.compile, self.device, total_steps)
        return torch.compile(model, dynamic=False) if compiled else model

    def features(self, model: ReIDModel, samples: Sequence[Sample]) -> torch.Tensor:
        return extract_features(model, self.pixels, samples, device=self.device, precision=self.precision)

    def _workers(self, config: TrainConfig) -> int:
        """Processes that prepare batches: as many as CPUs beside a GPU, none beside a CPU that computes or with few."""
        free = free_shared_memory_bytes()
        batch = 3 * config.batch_size * self.pixels.height * self.pixels.width
        room = MOST_WORKERS if free is None else free // (SHARED_BATCHES * batch)
        if config.num_workers is not None:
            if config.num_workers > room and free is not None:
                raise UserError(
                    f"num_workers={config.num_workers}: {SHARED_MEMORY} has room for {room}; a container gets more "
                    "with docker run --shm-size 8g, or set num_workers=0",
                    setting="num_workers",
                )
            return config.num_workers
        cpus = config.num_threads or usable_cpus()
        if self.device.type == "cpu" or cpus < LEAST_WORKERS:
            return 0
        if room < LEAST_WORKERS:
            logger.info("%s is too small for processes that prepare batches; the GPU does it itself", SHARED_MEMORY)
            return 0
        return min(MOST_WORKERS, cpus, room)

    def _fits_beside_training(self, images: int) -> bool:
        """Whether a GPU can keep the pixels and have three quarters of its free memory left to train in."""
        if self.device.type != "cuda":
            return False
        return images * self.pixels.height * self.pixels.width * 3 <= torch.cuda.mem_get_info(self.device)[0] / 4
