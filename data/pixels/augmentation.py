"""What is done to pictures in training, a batch at a time: uint8 in, uint8 out, on whichever device they lie.

    augmentation = Augmentation.of(config)
    augmented_B3HW = augmentation(images_B3HW, torch.Generator().manual_seed(0))

The model normalises, so that batches stay small until then. Every random decision is drawn on the CPU from the
generator that is given, so that a GPU augments as a CPU does.
"""

# B images of a batch, A attempts, H height, W width

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as vision

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's red, green and blue, 0 to 1."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet's red, green and blue, where colours are 0 to 1."""
MEAN_COLOUR = [round(255 * mean) for mean in IMAGENET_MEAN]

CROP_RATIO = (3 / 4, 4 / 3)
"""How much a crop's proportions may differ from the picture's."""
ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = (0.3, 3.3)
ATTEMPTS = 10
"""How many rectangles are drawn for a picture; the first that fits into it counts."""

Step = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
Operation = Callable[[torch.Tensor], torch.Tensor]


def draw_flips(count: int, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Which of `count` pictures are mirrored: bool (count)."""
    return torch.rand(count, generator=generator) < probability


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The training recipe: uint8 RGB pictures (B x 3 x H x W) and a CPU generator -> uint8 (B x 3 x H x W).

    RandomResizedCrop, horizontal flip, RandAugment, then random erasing, as torchvision's transforms of these names
    do it one picture at a time, with their ranges. The fields are TrainConfig's settings of the same names; a new
    strength is a field here and there, and a step in `_steps`.
    """

    crop_scale: float
    """Smallest share of the picture's area that a crop keeps; its proportions are the picture's, give or take a third.
    1 leaves the crop out."""
    flip_probability: float
    """Chance of a horizontal flip."""
    randaugment_operations: int
    """RandAugment operations for each picture; 0 leaves RandAugment out."""
    randaugment_magnitude: int
    """Strength of those operations, 0 to 30; 0 leaves RandAugment out."""
    erasing_probability: float
    """Chance that a rectangle is filled with ImageNet's mean colour."""

    @classmethod
    def of(cls, settings: object) -> "Augmentation":
        """From anything that has an attribute for each field, TrainConfig for instance."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})

    @property
    def only_mirrors(self) -> bool:
        """Whether each picture stays as it is or becomes its mirror image."""
        return all(step == self._flip for step in self._steps())

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        images = images.clone(memory_format=torch.contiguous_format)
        for step in self._steps():
            images = step(images, generator)
        return images.contiguous(memory_format=torch.channels_last)

    def _steps(self) -> Iterator[Step]:
        """What is done, in this order. A step may change the images that it is given."""
        if self.crop_scale < 1:
            yield self._crop
        if self.flip_probability > 0:
            yield self._flip
        if self.randaugment_operations > 0 and self.randaugment_magnitude > 0:
            yield self._randaugment
        if self.erasing_probability > 0:
            yield self._erase

    def _crop(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return crop_and_resize(images, draw_crops(images, self.crop_scale, generator))

    def _flip(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        flipped_B = draw_flips(len(images), self.flip_probability, generator)
        chosen = to_device(flipped_B.nonzero()[:, 0], images.device)
        images[chosen] = images[chosen].flip(3)
        return images

    def _erase(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return erase(images, draw_erasures(images, self.erasing_probability, generator))

    def _randaugment(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """RandAugment (Cubuk et al. 2020): each picture gets operations at random, one after the other.

        Pictures that drew the same operation are worked on together.
        """
        choices = randaugment_choices(self.randaugment_magnitude, *images.shape[2:])
        for _ in range(self.randaugment_operations):
            which_B = torch.randint(len(choices), (len(images),), generator=generator)
            sign_B = torch.randint(2, (len(images),), generator=generator)
            kind_B = 2 * which_B + sign_B
            members = to_device(kind_B.argsort(stable=True), images.device).split(
                kind_B.bincount(minlength=2 * len(choices)).tolist()
            )
            for operations, *both in zip(choices, members[::2], members[1::2], strict=True):
                if len(operations) == 1:
                    both = [torch.cat(both)]
                for operation, chosen in zip(operations, both, strict=True):
                    if len(chosen) and operation is not _unchanged:
                        images[chosen] = operation(images[chosen])
        return images


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on `device`. A copy to CUDA does not wait for what is computed there.

    On MPS a copy that does not wait may read memory that is in use again (pytorch 139550), and BatchNorm's gradients
    are wrong in channels_last (175189): both are left to CUDA and the CPU.
    """
    if device.type == "mps":
        return tensor.contiguous().to(device)
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type == "cuda")


# --- crop ---


def draw_crops(images: torch.Tensor, scale: float, generator: torch.Generator) -> torch.Tensor:
    """Each image's crop (B x 4: top, left, height, width in whole pixels): the whole image where none fits."""
    height, width = images.shape[2:]
    area_BA, ratio_BA = _areas_and_ratios(len(images), (scale, 1), CROP_RATIO, generator)
    boxes_BA4 = _boxes(
        height * (area_BA / ratio_BA).sqrt(), width * (area_BA * ratio_BA).sqrt(), height, width, generator
    )
    return _first_that_fits(boxes_BA4, height + 1, width + 1, otherwise=(0, 0, height, width))


def crop_and_resize(images: torch.Tensor, crops_B4: torch.Tensor) -> torch.Tensor:
    """Each image's crop, resized bilinearly to the image's size. Crops lie inside, so that none is shrunk."""
    height, width = images.shape[2:]
    if images.device.type == "cpu":  # four times as fast there as one grid for all
        size = [height, width]
        cropped = zip(images, crops_B4.tolist(), strict=True)
        return torch.stack([vision.resized_crop(image, *crop, size) for image, crop in cropped])
    return resize_by_grid(images, crops_B4)


def resize_by_grid(images: torch.Tensor, crops_B4: torch.Tensor) -> torch.Tensor:
    """`crop_and_resize` in a single call for all images, which suits a GPU. Grey levels may differ by 1."""
    height, width = images.shape[2:]
    top, left, crop_height, crop_width = to_device(crops_B4.float(), images.device).T[:, :, None]

    def places(first: torch.Tensor, length: torch.Tensor, size: int) -> torch.Tensor:
        """Where each pixel of a side comes from (B x size), from -1 to 1 as grid_sample wants it."""
        pixel = (torch.arange(size, device=images.device) + 0.5) * length / size - 0.5
        return (2 * (first + pixel.clamp(min=0).minimum(length - 1)) + 1) / size - 1

    y_BH, x_BW = places(top, crop_height, height), places(left, crop_width, width)
    grid_BHW2 = torch.stack(torch.broadcast_tensors(x_BW[:, None, :], y_BH[:, :, None]), dim=3)
    sampled = F.grid_sample(images.float(), grid_BHW2, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.round_().to(torch.uint8)


def _areas_and_ratios(
    count: int, area: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares of the area (uniform) and ratios of the sides (uniform in their logarithm), B x A each."""
    area_BA = torch.empty(count, ATTEMPTS).uniform_(*area, generator=generator)
    low, high = map(math.log, ratio)
    return area_BA, torch.empty(count, ATTEMPTS).uniform_(low, high, generator=generator).exp()


def _boxes(
    height_BA: torch.Tensor, width_BA: torch.Tensor, height: int, width: int, generator: torch.Generator
) -> torch.Tensor:
    """Boxes of these sizes, rounded, at random places of an image (B x A x 4: top, left, height, width)."""
    sides = torch.stack([height_BA, width_BA], dim=2).round().long()
    room = (torch.tensor([height, width]) - sides + 1).clamp(min=1)
    corners = (torch.rand(sides.shape, generator=generator) * room).long()
    return torch.cat([corners, sides], dim=2)


def _first_that_fits(
    boxes_BA4: torch.Tensor, height: int, width: int, *, otherwise: tuple[int, int, int, int]
) -> torch.Tensor:
    """Each image's first attempt with sides from 1 to below `height` and `width`, or `otherwise` (B x 4)."""
    sides = boxes_BA4[:, :, 2:]
    fits_BA = ((sides > 0) & (sides < torch.tensor([height, width]))).all(dim=2)
    first_B = fits_BA.int().argmax(dim=1)
    chosen_B4 = boxes_BA4[torch.arange(len(boxes_BA4)), first_B]
    return torch.where(fits_BA.any(dim=1)[:, None], chosen_B4, torch.tensor(otherwise))


# --- RandAugment ---


def _unchanged(images: torch.Tensor) -> torch.Tensor:
    return images


def randaugment_choices(magnitude: int, height: int, width: int) -> list[list[Operation]]:
    """RandAugment's 14 operations at `magnitude`, 0 to 30. Those with two directions have an entry for each."""
    share = magnitude / 30
    warp = partial(vision.affine, angle=0.0, translate=[0, 0], scale=1.0, shear=[0.0, 0.0], fill=MEAN_COLOUR)
    slant = math.degrees(math.atan(0.3 * share))
    shift_x, shift_y = int(150 / 331 * width * share), int(150 / 331 * height * share)

    def both(operation: Callable[[float], Operation], strength: float) -> list[Operation]:
        return [operation(strength), operation(-strength)]

    def factor(adjust: Callable[[torch.Tensor, float], torch.Tensor]) -> list[Operation]:
        return both(lambda strength: lambda images: adjust(images, 1 + strength), 0.9 * share)

    return [
        [_unchanged],
        both(lambda by: partial(warp, shear=[by, 0.0], center=[0, 0]), slant),
        both(lambda by: partial(warp, shear=[0.0, by], center=[0, 0]), slant),
        both(lambda by: partial(warp, translate=[int(by), 0]), shift_x),
        both(lambda by: partial(warp, translate=[0, int(by)]), shift_y),
        both(lambda by: partial(vision.rotate, angle=by, fill=MEAN_COLOUR), 30 * share),
        factor(vision.adjust_brightness),
        factor(vision.adjust_saturation),
        factor(vision.adjust_contrast),
        factor(vision.adjust_sharpness),
        [partial(vision.posterize, bits=8 - round(4 * share))],
        [partial(vision.solarize, threshold=255 * (1 - share))],
        [vision.autocontrast],
        [vision.equalize],
    ]


# --- erasing ---


def draw_erasures(images: torch.Tensor, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Each image's rectangle to erase (B x 4: top, left, height, width in pixels); all 0 where none is erased."""
    height, width = images.shape[2:]
    share_BA, ratio_BA = _areas_and_ratios(len(images), ERASED_AREA, ERASED_RATIO, generator)
    area_BA = height * width * share_BA
    boxes_BA4 = _boxes((area_BA * ratio_BA).sqrt(), (area_BA / ratio_BA).sqrt(), height, width, generator)
    boxes_B4 = _first_that_fits(boxes_BA4, height, width, otherwise=(0, 0, 0, 0))
    erased_B = torch.rand(len(images), generator=generator) < probability
    return torch.where(erased_B[:, None], boxes_B4, 0)


def erase(images: torch.Tensor, boxes_B4: torch.Tensor) -> torch.Tensor:
    """The images with each one's rectangle filled with ImageNet's mean colour."""
    top, left, box_height, box_width = to_device(boxes_B4, images.device).T[:, :, None]
    row, column = (torch.arange(size, device=images.device) for size in images.shape[2:])
    in_rows_BH = (row >= top) & (row < top + box_height)
    in_columns_BW = (column >= left) & (column < left + box_width)
    inside_BHW = in_rows_BH[:, :, None] & in_columns_BW[:, None, :]
    colour = to_device(torch.tensor(MEAN_COLOUR, dtype=torch.uint8), images.device)
    return torch.where(inside_BHW[:, None], colour[:, None, None], images)
