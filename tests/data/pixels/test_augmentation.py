"""The training recipe, each step alone and all of them together, against torchvision's one picture at a time."""

from dataclasses import fields

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from data.pixels.augmentation import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    MEAN_COLOUR,
    Augmentation,
    crop_and_resize,
    draw_crops,
    draw_erasures,
    randaugment_choices,
    resize_by_grid,
)
from reid_train.settings.config import TrainConfig

HEIGHT, WIDTH = 32, 16
OFF = {
    "crop_scale": 1.0,
    "flip_probability": 0.0,
    "randaugment_operations": 0,
    "randaugment_magnitude": 9,
    "erasing_probability": 0.0,
}
EVERYTHING = {
    **OFF,
    "crop_scale": 0.3,
    "flip_probability": 0.5,
    "randaugment_operations": 2,
    "erasing_probability": 0.5,
}
CHANGED = {
    "crop_scale": 0.6,
    "flip_probability": 0.1,
    "randaugment_operations": 3,
    "randaugment_magnitude": 10,
    "erasing_probability": 0.9,
}
"""Another value for each field."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=seeded(seed))


def smooth(count: int, height: int = 48, width: int = 24) -> torch.Tensor:
    """Pictures with edges and gradients, as photographs have them: noise would make one pixel's shift look large."""
    small = torch.randint(0, 256, (count, 3, 6, 4), generator=seeded(1)).float()
    return vision.resize(small, [height, width], antialias=False).round().to(torch.uint8)


def test_with_every_strength_at_its_least_pictures_stay_as_they_are():
    assert torch.equal(Augmentation(**OFF)(pictures(4), seeded()), pictures(4))
    still = Augmentation(**{**OFF, "randaugment_operations": 2, "randaugment_magnitude": 0})
    assert torch.equal(still(pictures(4), seeded()), pictures(4))


@pytest.mark.parametrize("field", [field.name for field in fields(Augmentation)])
def test_every_field_changes_what_comes_out(field):
    changed = Augmentation(**{**EVERYTHING, field: CHANGED[field]})
    assert not torch.equal(changed(smooth(64), seeded()), Augmentation(**EVERYTHING)(smooth(64), seeded()))


def test_every_field_is_a_setting_of_the_same_name():
    config = TrainConfig(**EVERYTHING)
    assert Augmentation.of(config) == Augmentation(**EVERYTHING)
    assert Augmentation.of(config.changed(**CHANGED)) == Augmentation(**CHANGED)


def test_pictures_are_only_mirrored_where_nothing_else_has_any_strength():
    assert Augmentation(**OFF).only_mirrors and Augmentation(**{**OFF, "flip_probability": 0.3}).only_mirrors
    for strengths in (["crop_scale"], ["erasing_probability"], ["randaugment_operations", "randaugment_magnitude"]):
        assert not Augmentation(**OFF | {name: EVERYTHING[name] for name in strengths}).only_mirrors


def test_all_steps_keep_type_and_size_and_leave_what_they_were_given():
    given = pictures(64)
    result = Augmentation(**EVERYTHING)(given, seeded())
    assert result.dtype == torch.uint8 and result.shape == (64, 3, HEIGHT, WIDTH)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(given, pictures(64))


def test_the_generator_alone_decides():
    one = Augmentation(**EVERYTHING)(pictures(16), seeded(3))
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(one, Augmentation(**EVERYTHING)(pictures(16), seeded(3)))
    assert not torch.equal(one, Augmentation(**EVERYTHING)(pictures(16), seeded(4)))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_flip_comes_as_often_as_it_should():
    given = pictures(1).expand(400, -1, -1, -1)
    result = Augmentation(**{**OFF, "flip_probability": 0.3})(given, seeded())
    flipped = (result == given.flip(3)).flatten(1).all(dim=1)
    assert (flipped | (result == given).flatten(1).all(dim=1)).all()
    assert 80 <= flipped.sum() <= 160  # 120 expected, 4 deviations


@pytest.mark.parametrize(("height", "width"), [(32, 16), (16, 48), (256, 256)])
def test_the_crop_keeps_its_share_of_the_area_and_nearly_the_pictures_proportions(height, width):
    crops = draw_crops(torch.empty(400, 3, height, width), 0.8, seeded())
    top, left, high, wide = crops.T
    assert (crops >= 0).all() and (top + high <= height).all() and (left + wide <= width).all()
    share = high * wide / (height * width)
    assert (share >= 0.8 - 0.12).all()  # sides are whole pixels
    shape = wide / high / (width / height)
    assert (shape >= 0.6).all() and (shape <= 1.6).all()
    assert len(crops.unique(dim=0)) > 20


@pytest.mark.parametrize("resize", [crop_and_resize, resize_by_grid])
def test_crops_are_resized_as_torchvision_resizes_each(resize):
    """Nearly to the next grey level: uint8 is rounded after each side. `resize_by_grid` is what a GPU runs."""
    given = pictures(32, height=48, width=24)
    crops = draw_crops(given, 0.2, seeded())
    exact = [
        vision.resized_crop(image.float(), *crop, [48, 24], antialias=False)
        for image, crop in zip(given, crops.tolist(), strict=True)
    ]
    assert (resize(given, crops).float() - torch.stack(exact)).abs().max() < 1.6


@pytest.mark.parametrize("magnitude", [1, 9, 30])
def test_randaugments_operations_are_torchvisions(magnitude):
    """Each operation and direction against v2.RandAugment itself, made to choose it."""
    reference = v2.RandAugment(1, magnitude, fill=MEAN_COLOUR)
    given = smooth(5)
    names = list(v2.RandAugment._AUGMENTATION_SPACE)
    choices = randaugment_choices(magnitude, 48, 24)
    assert len(choices) == len(names) == 14
    for name, operations in zip(names, choices, strict=True):
        strengths, signed = v2.RandAugment._AUGMENTATION_SPACE[name]
        values = strengths(31, 48, 24)
        strength = 0.0 if values is None else float(values[magnitude])
        assert len(operations) == (2 if signed else 1), name
        for operation, sign in zip(operations, (1, -1), strict=False):
            expected = reference._apply_image_or_video_transform(
                given, name, sign * strength, reference.interpolation, reference._fill
            )
            difference = (operation(given).int() - expected.int()).abs()
            # torchvision's strengths are float32, which now and then rounds a grey level to its neighbour.
            assert difference.max() <= 1 and (difference > 0).float().mean() < 0.01, (name, sign)


def test_each_picture_gets_operations_of_its_own_alike_often():
    """One operation a picture: what comes out is one of the operations' results, each about as often."""
    count = 1400
    given = smooth(1).expand(count, -1, -1, -1)
    result = Augmentation(**{**OFF, "randaugment_operations": 1})(given, seeded())
    seen = []
    for operations in randaugment_choices(9, 48, 24):
        made = [operation(given[:1])[0] for operation in operations]
        seen.append(sum((result == one).flatten(1).all(dim=1).sum().item() for one in made))
    assert sum(seen) == count
    assert all(60 <= times <= 145 for times in seen)  # 100 expected, some 4 deviations


def test_erasing_fills_a_rectangle_with_the_mean_colour():
    mean = torch.tensor([round(255 * value) for value in IMAGENET_MEAN], dtype=torch.uint8).view(3, 1, 1)
    given = torch.zeros(200, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    for result in Augmentation(**{**OFF, "erasing_probability": 1.0})(given, seeded()):
        changed = result.bool().any(dim=0)
        rows, columns = changed.any(dim=1).nonzero(), changed.any(dim=0).nonzero()
        area = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        assert changed.sum() == area > 0
        assert 0.01 < area / (HEIGHT * WIDTH) < 0.38  # 0.02 to 0.33, sides are whole pixels
        assert torch.equal(result, torch.where(changed, mean, 0))
    # The model's normalisation makes it zero, up to half a grey level.
    assert all(
        abs(round(255 * m) / 255 - m) / s < 0.5 / 255 / s + 1e-9
        for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)
    )


def test_erasing_comes_as_often_as_it_should():
    boxes = draw_erasures(torch.empty(1000, 3, HEIGHT, WIDTH), 0.3, seeded())
    assert 240 <= (boxes[:, 2] > 0).sum() <= 360


def test_a_stronger_randaugment_changes_more():
    def change(magnitude: int) -> float:
        augment = Augmentation(**{**OFF, "randaugment_operations": 2, "randaugment_magnitude": magnitude})
        return (augment(smooth(200), seeded()).float() - smooth(200).float()).abs().mean().item()

    assert change(2) < change(12) < change(30)
