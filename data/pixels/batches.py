"""Turns the sampler's indices into batches of pixels and labels. They do not depend on how many processes do it.

for images_B, labels_B in training_batches(batches, batch_size=32, images_per_identity=4, epochs=range(0, 60), ...):
"""

import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing.context import BaseContext

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from data.pixels.augmentation import Augmentation, to_device
from data.pixels.cache import Pixels
from data.pixels.sampler import epoch_batches
from data.system.processes import end_with_parent
from data.system.sockets import shorten_sockets

# B images of a batch, H height, W width
Batch = tuple[torch.Tensor, torch.Tensor]
"""uint8 pixels (B x 3 x H x W, channels last in memory) and int64 labels (B)."""
Item = tuple[int, int, list[int]]
"""Epoch, step within it, and the indices of the batch's images."""
COPIED_AT_ONCE = 512
"""How many images are copied to a device at once."""


def step_generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """The random numbers of one step's augmentation."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, epoch, step]).generate_state(1)[0]))


class LabelledBatches(Dataset[Batch]):
    """Gives the batch for each (epoch, step, indices)."""

    labels: torch.Tensor
    """Every image's label: int64, on the CPU."""
    seed: int


class AugmentedBatches(LabelledBatches):
    """Augmented pictures. Each step has random numbers of its own, so that every process gives the same batch for it.

    With `device`, all pixels are copied there once, and batches are put together and augmented there.
    """

    def __init__(
        self,
        pixels: Pixels,
        paths: Sequence[str],
        labels: Sequence[int],
        augmentation: Augmentation,
        seed: int,
        *,
        device: torch.device | None = None,
    ):
        self.pixels = pixels
        self.places = np.array([pixels.index[path] for path in paths])
        self.labels = torch.tensor(labels, dtype=torch.int64)
        self.augmentation = augmentation
        self.seed = seed
        self.resident: Batch | None = None
        if device is not None:
            images_NHWC = torch.empty(len(paths), pixels.height, pixels.width, 3, dtype=torch.uint8, device=device)
            for start in range(0, len(paths), COPIED_AT_ONCE):
                part = torch.from_numpy(pixels.read(self.places[start : start + COPIED_AT_ONCE]))
                images_NHWC[start : start + len(part)] = part.to(device)
            self.resident = images_NHWC, self.labels.to(device)

    def __getitem__(self, item: Item) -> Batch:
        epoch, step, indices = item
        if self.resident is None:
            images_BHWC, labels_B = torch.from_numpy(self.pixels.read(self.places[indices])), self.labels[indices]
        else:
            images_NHWC, labels_N = self.resident
            chosen = to_device(torch.tensor(indices), images_NHWC.device)
            images_BHWC, labels_B = images_NHWC[chosen], labels_N[chosen]
        images = self.augmentation(images_BHWC.permute(0, 3, 1, 2), step_generator(self.seed, epoch, step))
        return images, labels_B


def training_batches(
    batches: LabelledBatches,
    *,
    batch_size: int,
    images_per_identity: int | None,
    epochs: range,
    num_workers: int,
    pin_memory: bool,
) -> Iterator[Batch]:
    """All batches of `epochs`, one after the other: ceil(images / batch_size) of them an epoch."""
    labels = batches.labels.tolist()
    indices_of = partial(epoch_batches, labels, batch_size=batch_size, images_per_identity=images_per_identity)
    items = (
        (epoch, step, indices)
        for epoch in epochs
        for step, indices in enumerate(indices_of(seed=batches.seed, epoch=epoch))
    )
    loader = DataLoader(
        batches,
        sampler=items,
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin_memory,
        # Without a generator of its own the loader would draw from the global random state.
        generator=torch.Generator(),
        multiprocessing_context=_worker_context() if num_workers else None,
        worker_init_fn=end_with_parent,
    )
    return iter(loader)


def _worker_context() -> BaseContext:
    """How workers start: forked from a server process that imports torch once for all of them.

    The training process computes with threads, so that it must not be forked itself. macOS aborts processes that are
    forked from one that has loaded torch, so that each starts anew there.
    """
    shorten_sockets()
    if sys.platform == "darwin" or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data.pixels.batches"])
    return context
