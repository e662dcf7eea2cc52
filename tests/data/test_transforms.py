"""The training recipe, each step alone and all of them together."""

import pytest
import torch
from torchvision.transforms import v2

from data.transforms import IMAGENET_MEAN, IMAGENET_STD, train_transform

HEIGHT, WIDTH = 32, 16
OFF = {
    "crop_scale": 1.0,
    "flip_probability": 0.0,
    "randaugment_operations": 0,
    "randaugment_magnitude": 9,
    "erasing_probability": 0.0,
}


def picture(seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (3, HEIGHT, WIDTH), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_with_every_strength_at_its_least_a_picture_stays_as_it_is():
    assert torch.equal(train_transform(HEIGHT, WIDTH, **OFF)(picture()), picture())
    still = train_transform(HEIGHT, WIDTH, **{**OFF, "randaugment_operations": 2, "randaugment_magnitude": 0})
    assert torch.equal(still(picture()), picture())


def test_all_steps_keep_type_and_size():
    everything = {**OFF, "crop_scale": 0.3, "flip_probability": 0.5, "randaugment_operations": 2}
    transform = train_transform(HEIGHT, WIDTH, **{**everything, "erasing_probability": 1.0})
    for seed in range(30):
        result = transform(picture(seed))
        assert result.dtype == torch.uint8 and result.shape == (3, HEIGHT, WIDTH)


def test_the_flip_comes_as_often_as_it_should():
    transform = train_transform(HEIGHT, WIDTH, **{**OFF, "flip_probability": 0.3})
    flips = 0
    for _ in range(400):
        result = transform(picture())
        flipped = torch.equal(result, picture().flip(2))
        assert flipped or torch.equal(result, picture())
        flips += flipped
    assert 80 <= flips <= 160  # 120 expected, 4 deviations


@pytest.mark.parametrize(("height", "width"), [(32, 16), (16, 48), (256, 256)])
def test_the_crop_keeps_its_share_of_the_area_and_nearly_the_pictures_proportions(height, width):
    transform = train_transform(height, width, **{**OFF, "crop_scale": 0.8})
    (crop,) = transform.transforms
    assert isinstance(crop, v2.RandomResizedCrop)
    for _ in range(200):
        place = crop.make_params([torch.zeros(3, height, width)])
        share = place["height"] * place["width"] / (height * width)
        assert 0.8 - 0.12 <= share <= 1 + 1e-9  # sides are whole pixels
        shape = place["width"] / place["height"] / (width / height)
        assert 0.6 <= shape <= 1.6


def test_erasing_fills_a_rectangle_with_the_mean_colour():
    transform = train_transform(HEIGHT, WIDTH, **{**OFF, "erasing_probability": 1.0})
    mean = torch.tensor([round(255 * value) for value in IMAGENET_MEAN], dtype=torch.uint8).view(3, 1, 1)
    for seed in range(20):
        original = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
        result = transform(original)
        changed = (result != original).any(dim=0)
        rows, columns = changed.any(dim=1).nonzero(), changed.any(dim=0).nonzero()
        area = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        assert changed.sum() == area > 0, seed
        assert torch.equal(result, torch.where(changed, mean, original))
    # The model's normalisation makes it zero, up to half a grey level.
    assert all(
        abs(round(255 * m) / 255 - m) / s < 0.5 / 255 / s + 1e-9
        for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)
    )


def test_a_stronger_randaugment_changes_more():
    def change(magnitude: int) -> float:
        transform = train_transform(
            HEIGHT, WIDTH, **{**OFF, "randaugment_operations": 2, "randaugment_magnitude": magnitude}
        )
        smooth = torch.linspace(0, 255, WIDTH).to(torch.uint8).expand(3, HEIGHT, WIDTH).contiguous()
        return sum((transform(smooth).float() - smooth.float()).abs().mean().item() for _ in range(200)) / 200

    assert change(2) < change(12) < change(30)
