"""Turns the sampler's indices into batches of pixels and labels, the same ones however many processes do it."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from data.cache import Pixels
from data.sampler import epoch_batches, steps_per_epoch

# B images of a batch, H height, W width
Batch = tuple[torch.Tensor, torch.Tensor]
"""uint8 pixels (B x 3 x H x W, channels last in memory) and int64 labels (B)."""
Item = tuple[int, int, list[int]]
"""Epoch, step within it, and the indices of the batch's images."""


class AugmentedBatches(Dataset[Batch]):
    """Batches by (epoch, step, indices): each step has random numbers of its own, so any process gives the same."""

    def __init__(self, pixels: Pixels, paths: Sequence[str], labels: Sequence[int], transform: v2.Transform, seed: int):
        self.pixels = pixels
        self.places = np.array([pixels.index[path] for path in paths])
        self.labels = torch.tensor(labels, dtype=torch.int64)
        self.transform = transform
        self.seed = seed

    def __getitem__(self, item: Item) -> Batch:
        epoch, step, indices = item
        pixels_BHWC = torch.from_numpy(self.pixels.read(self.places[indices].tolist()))
        with torch.random.fork_rng(devices=[]):
            # The CPU's generator alone: torch.manual_seed would set a GPU's too, for the model's dropout.
            seed = int(np.random.SeedSequence([self.seed, epoch, step]).generate_state(1)[0])
            torch.default_generator.manual_seed(seed)
            images = [self.transform(image) for image in pixels_BHWC.permute(0, 3, 1, 2)]
        return torch.stack(images).contiguous(memory_format=torch.channels_last), self.labels[indices]


class _Plan:
    """The items of all epochs from `first_epoch` on, one after the other."""

    def __init__(
        self, labels: Sequence[int], batch_size: int, images_per_identity: int | None, seed: int, epochs: range
    ):
        self.labels, self.batch_size, self.images_per_identity = labels, batch_size, images_per_identity
        self.seed, self.epochs = seed, epochs

    def __iter__(self) -> Iterator[Item]:
        for epoch in self.epochs:
            batches = epoch_batches(
                self.labels,
                batch_size=self.batch_size,
                images_per_identity=self.images_per_identity,
                seed=self.seed,
                epoch=epoch,
            )
            for step, indices in enumerate(batches):
                yield epoch, step, indices

    def __len__(self) -> int:
        return len(self.epochs) * steps_per_epoch(len(self.labels), self.batch_size)


def training_batches(
    batches: AugmentedBatches,
    *,
    batch_size: int,
    images_per_identity: int | None,
    epochs: range,
    num_workers: int,
    pin_memory: bool,
) -> Iterator[Batch]:
    """All batches of `epochs`, one after the other: ceil(images / batch_size) of them an epoch."""
    labels = batches.labels.tolist()
    loader = DataLoader(
        batches,
        sampler=_Plan(labels, batch_size, images_per_identity, batches.seed, epochs),
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin_memory,
        # Of its own: without one the loader draws from the global random state.
        generator=torch.Generator(),
        # Workers start as fresh processes: forking one that computes with threads can hang.
        multiprocessing_context="spawn" if num_workers else None,
    )
    return iter(loader)
