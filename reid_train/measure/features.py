"""Pictures -> features, batch by batch without gradients: the one loop of validation, evaluation and embedding.

feature_ND = extract_features(model, pixels, samples, device=device, precision=torch.bfloat16)
embedding_ND = model.neck(feature_ND)
"""

# N images, B images of a batch, D embedding width

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch

from data.pixels.augmentation import to_device
from data.pixels.cache import Pixels
from data.sets.samples import Sample
from reid_train.model.device import whole_float32
from reid_train.model.network import ReIDModel, autocast

BATCH = 128
"""Images a forward pass without gradients."""
Item = TypeVar("Item")


@torch.no_grad()
def in_batches(
    items: Sequence[Item],
    read: Callable[[Sequence[Item]], torch.Tensor],
    compute: Callable[[torch.Tensor], torch.Tensor],
    *,
    device: torch.device,
    precision: torch.dtype,
    finish: Callable[[torch.Tensor], torch.Tensor] = lambda computed: computed,
) -> torch.Tensor:
    """What is made of all items, one after the other (N x ...); there must be one at least.

    `read` gives a batch's inputs, `compute` works on `device` in `precision`, `finish` on its float32 results.
    """
    parts = []
    for start in range(0, len(items), BATCH):
        inputs = to_device(read(items[start : start + BATCH]), device)
        with whole_float32(), autocast(device, precision):
            computed = compute(inputs)
        parts.append(finish(computed.float()))
    return torch.cat(parts)


def as_images(pixels_BHWC: np.ndarray) -> torch.Tensor:
    """Decoded pictures as the model takes them: uint8, B x 3 x H x W."""
    return torch.from_numpy(pixels_BHWC).permute(0, 3, 1, 2)


def mirrored_too(compute: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """What is computed of images (B x 3 x H x W), as the mean of the images' and their mirror images'."""
    return lambda images: (compute(images).float() + compute(images.flip(3)).float()) / 2


def extract_features(
    model: ReIDModel,
    pixels: Pixels,
    samples: Sequence[Sample],
    *,
    device: torch.device,
    precision: torch.dtype,
    flip_tta: bool = False,
) -> torch.Tensor:
    """Features before the BNNeck (N x D, float32, on `device`); `model.neck` turns them into embeddings.

    With `flip_tta` each is the mean of the picture's and its mirror image's. Leaves the model in evaluation mode.
    """

    model.eval()
    return in_batches(
        [sample.path for sample in samples],
        lambda paths: as_images(pixels.read(paths)),
        mirrored_too(model.features) if flip_tta else model.features,
        device=device,
        precision=precision,
    )
