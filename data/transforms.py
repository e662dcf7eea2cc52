"""What is done to pictures: uint8 in, uint8 out. The model normalises, so that batches stay small until then."""

import torch
from torchvision.transforms import v2

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's red, green and blue, of 1."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet's red, green and blue, of 1."""
MEAN_COLOUR = [round(255 * mean) for mean in IMAGENET_MEAN]


def train_transform(
    height: int,
    width: int,
    *,
    crop_scale: float,
    flip_probability: float,
    randaugment_operations: int,
    randaugment_magnitude: int,
    erasing_probability: float,
) -> v2.Transform:
    """The training recipe for one uint8 RGB picture (3 x any height x any width) -> uint8 (3 x height x width).

    RandomResizedCrop (area from `crop_scale` to 1 of the picture's, sides in its own proportions give or take a
    third), horizontal flip, RandAugment, then random erasing, which fills with ImageNet's mean colour. A strength
    of 0 (1 for the crop) leaves its step out. Randomness is torch's global generator: callers seed it.
    """
    steps: list[torch.nn.Module] = []
    if crop_scale < 1:
        shape = width / height
        steps.append(
            v2.RandomResizedCrop((height, width), scale=(crop_scale, 1.0), ratio=(shape * 3 / 4, shape * 4 / 3))
        )
    if flip_probability > 0:
        steps.append(v2.RandomHorizontalFlip(flip_probability))
    if randaugment_operations > 0 and randaugment_magnitude > 0:
        steps.append(v2.RandAugment(randaugment_operations, randaugment_magnitude, fill=MEAN_COLOUR))
    if erasing_probability > 0:
        steps.append(v2.RandomErasing(erasing_probability, value=MEAN_COLOUR))
    return v2.Compose(steps or [v2.Identity()])
