"""What a frozen backbone makes of the images: computed once, kept beside the decoded pixels, used by every trial.

Where the backbone learns nothing and pictures are only mirrored, training needs the pooled features of each image and
of its mirror image, and no pixels:

    inputs = frozen_features(model, config, pixels, device=device, precision=precision)  # None where that is not so

The kept file (data/system/kept.py) is named by all that they follow from: the weights, the settings of the
architecture, the images' content and size, and how it is computed.
"""

# B images of a batch, N images, C channels of the pooled feature, D embedding width

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.pixels.augmentation import Augmentation, draw_flips
from data.pixels.batches import Batch, Item, LabelledBatches, step_generator
from data.pixels.cache import Pixels
from data.sets.samples import Sample
from data.system.kept import kept_arrays, kept_file, key_of
from reid_train.checkpoints.checkpoint import weights_digest
from reid_train.measure.features import as_images, in_batches
from reid_train.model.network import ReIDModel
from reid_train.settings.config import TrainConfig
from reid_train.training.inputs import Source

logger = logging.getLogger(__name__)

FORMAT = 2
"""Raised whenever the same key would stand for other features."""


@dataclass(frozen=True)
class FrozenFeatures:
    """Inputs (reid_train/training/inputs.py) that are pooled features of images and of their mirror images."""

    pooled_2NC: torch.Tensor
    """float32: of the images, then of the mirrored ones."""
    row_of: Mapping[str, int]
    """Path -> its place among the N."""
    precision: torch.dtype

    def rows(self, samples: Sequence[Sample]) -> torch.Tensor:
        """The images' places among the N."""
        return torch.tensor([self.row_of[sample.path] for sample in samples], device=self.pooled_2NC.device)

    def source(self, config: TrainConfig, samples: Sequence[Sample], labels: Sequence[int]) -> Source:
        """Pooled features in place of pictures."""
        rows = self.rows(samples)
        return Source(FrozenBatches(self.pooled_2NC, rows, labels, config.flip_probability, config.seed), 0, False)

    def forward(self, model: ReIDModel, config: TrainConfig, total_steps: int) -> Callable[[torch.Tensor], Any]:
        """What comes after pooling: too little to be compiled."""
        return model.from_pooled

    def features(self, model: ReIDModel, samples: Sequence[Sample]) -> torch.Tensor:
        """Features before the BNNeck (N x D), of the images as they are. Leaves the model in evaluation mode."""
        model.eval()
        pooled_NC = self.pooled_2NC[0]
        return in_batches(
            samples,
            lambda batch: pooled_NC[self.rows(batch)],
            lambda pooled_BC: model.routed(pooled_BC)[0],
            device=pooled_NC.device,
            precision=self.precision,
        )


class FrozenBatches(LabelledBatches):
    """Pooled features (B x C) in place of pictures, mirrored where AugmentedBatches would mirror."""

    def __init__(
        self,
        pooled_2NC: torch.Tensor,
        rows: torch.Tensor,
        labels: Sequence[int],
        flip_probability: float,
        seed: int,
    ):
        """`rows` are the places of the images among the N, `labels` their identities."""
        self.pooled_2NC, self.rows = pooled_2NC, rows
        self.labels = torch.tensor(labels, dtype=torch.int64)
        self.flip_probability = flip_probability
        self.seed = seed

    def __getitem__(self, item: Item) -> Batch:
        epoch, step, indices = item
        chosen = torch.tensor(indices)
        mirrored_B = draw_flips(len(indices), self.flip_probability, step_generator(self.seed, epoch, step))
        device = self.pooled_2NC.device
        return self.pooled_2NC[mirrored_B.long().to(device), self.rows[chosen.to(device)]], self.labels[chosen]


def can_be_kept(config: TrainConfig, model: ReIDModel) -> bool:
    """Whether all that training sees of an image is one of two vectors that stay the same."""
    learns = config.freeze != "backbone" or [*model.pooling.parameters()]
    return Augmentation.of(config).only_mirrors and not learns


def frozen_features(
    model: ReIDModel, config: TrainConfig, pixels: Pixels, *, device: torch.device, precision: torch.dtype
) -> FrozenFeatures | None:
    """The features of all images of `pixels`, on `device`, from the file where it has them; None where they change in
    training. Where several processes ask at once, one computes and the others wait.

    Leaves the model in evaluation mode.
    """
    if not can_be_kept(config, model):
        return None
    rows_N = pixels.rows(pixels.paths)
    row_of = {path: int(row) for path, row in zip(pixels.paths, rows_N, strict=True)}
    ordered = [pixels.paths[index] for index in np.argsort(rows_N)]

    def compute() -> torch.Tensor:
        return _compute(model, pixels, ordered, device, precision)

    if pixels.file is None:  # no disk for the pixels: there is none for this either
        return FrozenFeatures(compute().to(device), row_of, precision)
    key = _key(model, config, pixels.file, device, precision)
    file = kept_file(pixels.file.parent, key, ".features")
    kept = kept_arrays(file, key, lambda: {"pooled": compute().numpy()}, otherwise="each run computes these features")
    return FrozenFeatures(torch.from_numpy(kept["pooled"]).to(device), row_of, precision)


def _key(model: ReIDModel, config: TrainConfig, pixel_file: Path, device: torch.device, precision: torch.dtype) -> str:
    weights = weights_digest({name: tensor.cpu().contiguous() for name, tensor in model.backbone.state_dict().items()})
    settings = [config.backbone, config.last_stride, config.pooling, pixel_file.name]
    computed = [str(precision), device.type, version("torch"), version("timm"), FORMAT]
    return key_of(weights, *settings, *computed)


def _compute(
    model: ReIDModel, pixels: Pixels, paths: Sequence[str], device: torch.device, precision: torch.dtype
) -> torch.Tensor:
    """2 x N x C, float32, on the CPU."""
    logger.info("computing the frozen backbone's features of %d images and their mirror images, once", len(paths))
    started = time.monotonic()
    model.eval()
    pooled_N2C = in_batches(
        paths,
        lambda batch: as_images(pixels.read(batch)),
        lambda images: torch.stack([model.pooled(images).float(), model.pooled(images.flip(3)).float()], dim=1),
        device=device,
        precision=precision,
        finish=torch.Tensor.cpu,
    )
    logger.info("computed them in %.1f s", time.monotonic() - started)
    return pooled_N2C.transpose(0, 1).contiguous()
