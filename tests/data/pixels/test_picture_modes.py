"""Pictures of all depths come out as the same picture, are refused, or are found by the doctor: none is black."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.checks.pictures import look_at, odd_pictures
from data.pixels.decoding import UnreadableImage, load_image
from data.sets.listing import Listing
from data.sets.samples import Sample

RAMP = np.linspace(0, 1, 32 * 16).reshape(32, 16)
"""From black to white."""


def decoded(folder: Path, values: np.ndarray, name: str = "p.tif") -> np.ndarray:
    Image.fromarray(values).save(folder / name)
    return np.asarray(load_image(folder / name))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (RAMP.astype(np.float32), "p.tif"),
        ((RAMP * 255).astype(np.float32), "p.tif"),
        ((RAMP * 65535).astype(np.float32), "p.tif"),
        ((RAMP * 1.06 - 0.03).astype(np.float32), "p.tif"),
        *(
            ((RAMP * (2**bits - 1)).astype(np.uint16), name)
            for bits in (8, 10, 12, 14, 16)
            for name in ("p.png", "p.tif")
        ),
        *(((RAMP * (2**bits - 1)).astype(np.int32), "p.tif") for bits in (8, 12, 16)),
        ((RAMP * 65535).astype(np.uint16), "p.pgm"),
        ((RAMP * 255).astype(np.uint8), "p.png"),
    ],
)
def test_a_ramp_is_the_same_ramp_in_every_depth(tmp_path: Path, values: np.ndarray, name: str) -> None:
    image_HW3 = decoded(tmp_path, values, name).astype(float)
    assert image_HW3.shape == (32, 16, 3)
    assert np.abs(image_HW3 - 255 * RAMP[:, :, None]).max() <= 9  # the one that overshoots is the furthest
    assert look_at(str(tmp_path / name)).problem is None


@pytest.mark.parametrize(
    "values",
    [
        (RAMP * 40 - 10).astype(np.float32),
        (RAMP * 1e6).astype(np.float32),
        np.full((8, 8), np.nan, dtype=np.float32),
        np.where(RAMP > 0.5, np.inf, RAMP).astype(np.float32),
        (RAMP * 2**31 - 1).astype(np.int32),
        (RAMP * 500 - 200).astype(np.int32),
    ],
)
def test_values_that_are_no_grey_are_refused_with_the_rule(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(UnreadableImage, match=r"p\.tif: its values are from .* scale them from 0 to one of 1, 255"):
        decoded(tmp_path, values)


def found(folder: Path, *values: np.ndarray) -> list[str]:
    samples = [Sample(str(folder / f"{number}.tif"), number, 1) for number in range(len(values))]
    for sample, picture in zip(samples, values, strict=True):
        Image.fromarray(picture).save(sample.path)
    looks = {sample.path: look_at(sample.path) for sample in samples}
    return [finding.text for finding in odd_pictures({"train": Listing("", samples, {}, [])}, looks)]


def test_the_doctor_finds_pictures_that_show_nothing_and_scales_that_differ(tmp_path: Path) -> None:
    plain = (RAMP * 255).astype(np.uint8)
    assert found(tmp_path, plain, (RAMP * 4095).astype(np.uint16), plain) == []
    kelvin = (273 + RAMP * 40).astype(np.float32)
    assert found(tmp_path, plain, kelvin) == ["train: 1 images with hardly any contrast"]
    assert found(tmp_path, plain // 5, np.full_like(plain, 128)) == [
        "train: 1 images nearly black",
        "train: 1 images with hardly any contrast",
    ]
    (text,) = found(tmp_path, (RAMP * 4095).astype(np.uint16), (RAMP * 16383).astype(np.uint16), plain)
    assert text == "train: pictures of more than 8 bits differ in what is white (4,095 or 16,383), so in brightness"


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_that_a_camera_noted_is_followed(tmp_path: Path, ending: str, orientation: int) -> None:
    upright = np.zeros((32, 16, 3), dtype=np.uint8)
    upright[:16], upright[:, 8:, 2] = 180, 90
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"p.{ending}", exif=exif, quality=100)
    seen = np.asarray(load_image(tmp_path / f"p.{ending}")).astype(int)
    assert seen.shape == upright.shape and np.abs(seen - upright).mean() < 12
