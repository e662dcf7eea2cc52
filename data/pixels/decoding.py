"""Decodes an image file to its last byte, or refuses it before it can take all memory or time.

    pixels_HW3 = decode("a.jpg", height=256, width=128)

A file's format follows from its bytes, not from its name. Only FORMATS are tried, since some of Pillow's other
decoders start programs.
"""

import logging
import os
import stat
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL import __version__ as pillow_version

from data.sets.samples import split_box
from data.system.errors import UserError, in_one_line

logger = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
MAXIMUM_IMAGE_PIXELS = 64_000_000
"""A picture with more is no crop of a person or vehicle, and decoding it could take all memory."""
MAXIMUM_FILE_BYTES = 512 * 2**20
"""More than MAXIMUM_IMAGE_PIXELS need in any of FORMATS."""
MAXIMUM_SCANS = 200
"""Passes over a progressive JPEG's pixels. Encoders make about ten; each can take as long as a whole picture."""
FORMAT = 2
"""Raised whenever the same image would give other bytes, or a pixel file had another layout."""
SCALES = (1, 255, 1023, 4095, 16383, 65535)
"""White in pictures of floats, and of 8, 10, 12, 14 and 16 bits."""
SKIP = "mend it, or leave such images out with on_bad_image=skip (as an option: --on-bad-image skip)"
"""What a user can do about an image that cannot be decoded."""


class UnreadableImage(UserError):
    """An image file that cannot be decoded from its first to its last byte."""


def decoder_name() -> str:
    """What turns files into pixels: another name, other pixels."""
    return f"{FORMAT} Pillow {pillow_version}"


def check_file(path: str | Path) -> os.stat_result:
    """The file's status. Raises OSError where there is no regular file (a pipe would block) or it is too large."""
    status = os.stat(split_box(str(path))[0])  # noqa: PTH116 - half the time of Path.stat over 50,000 files
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "no regular file", str(path))
    if status.st_size > MAXIMUM_FILE_BYTES:
        raise OSError(0, f"{status.st_size:,} bytes are more than {MAXIMUM_FILE_BYTES:,}", str(path))
    return status


def load_image(path: str | Path) -> Image.Image:
    """Decodes a whole image file, upright and as RGB. Raises UnreadableImage.

    Photos are turned upright by their EXIF orientation (the ReID sets have none). Palette, grey and CMYK become RGB.
    Grey of floats or of more than 8 bits is scaled by the rule of `full_scale`. Transparency is dropped, and only the
    first of several frames counts. Of a path with a box (data/sets/samples.py `with_box`) that part is given, as far as
    it lies in the picture.
    """
    file, box = split_box(str(path))
    try:
        check_file(path)
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAXIMUM_IMAGE_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are more than 64 million")
            _check_scans(image)
            image.load()
            upright = upright_rgb(image)
            return upright if box is None else _cut_out(upright, *box)
    except Exception as error:  # a decoder fed with broken bytes raises nearly anything
        raise UnreadableImage(f"{path}: {_reason(error)}") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """The picture upright and as RGB, as `load_image` gives it. `image` itself is turned, too."""
    _turn_upright(image)
    if (top := full_scale(image)) is None:
        return image.convert("RGB")
    values_HW = np.asarray(image)
    if values_HW.dtype.kind == "f":
        values_HW = np.rint(values_HW.clip(0, top) * (255 / top))
    else:
        values_HW = values_HW >> (top.bit_length() - 8)
    return Image.fromarray(values_HW.astype(np.uint8)).convert("RGB")


def _cut_out(image: Image.Image, left: int, top: int, width: int, height: int) -> Image.Image:
    right, bottom = min(left + width, image.width), min(top + height, image.height)
    if left >= right or top >= bottom:
        raise ValueError(f"the box {left},{top},{width},{height} shows nothing of {image.width} x {image.height}")
    return image.crop((left, top, right, bottom))


def full_scale(image: Image.Image) -> int | None:
    """The value that becomes white in grey of floats or of more than 8 bits; None for all other pictures.

    It is the smallest number of SCALES (1 is for floats alone) that the picture's largest value does not exceed; floats
    may exceed it by a tenth, as resampling leaves them, and are clipped. Raises UserError for values that fit none.
    """
    if image.mode != "F" and not image.mode.startswith("I"):
        return None
    low, high = (float(bound) for bound in (np.min(np.asarray(image)), np.max(np.asarray(image))))
    beyond = 0.1 if image.mode == "F" else 0.0
    for top in SCALES if image.mode == "F" else SCALES[1:]:
        if -beyond * high <= low and high <= (1 + beyond) * top:
            return top
    raise UserError(
        f"its values are from {low:g} to {high:g}, which is no grey: scale them from 0 to one of "
        f"{', '.join(map(str, SCALES))} (1 in floats), or save 8 bits"
    )


def problem_with(path: str | Path) -> str | None:
    """Why an image cannot be decoded, in a few words; None when it can."""
    try:
        load_image(path)
    except UnreadableImage as error:
        return str(error).removeprefix(f"{path}: ")
    return None


def decode(path: str | Path, height: int, width: int) -> np.ndarray:
    """The image as uint8 (height, width, 3), resized bilinearly with antialiasing. Raises UnreadableImage."""
    return resized(load_image(path), height, width)


def resized(image: Image.Image, height: int, width: int) -> np.ndarray:
    """An RGB picture as uint8 (height, width, 3), resized bilinearly with antialiasing."""
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def _check_scans(image: Image.Image) -> None:
    if image.format in ("JPEG", "MPO") and image.info.get("progressive"):  # MPO: a JPEG with others behind it
        # In compressed data a 0xFF is followed by 0 or begins a marker, so that these two bytes begin a scan.
        scans = Path(str(image.filename)).read_bytes().count(b"\xff\xda")  # type: ignore[attr-defined]
        if scans > MAXIMUM_SCANS:
            raise ValueError(f"a JPEG of {scans} scans: more than {MAXIMUM_SCANS}")


def _turn_upright(image: Image.Image) -> None:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # broken EXIF in a picture that is whole
        logger.debug("EXIF data ignored", exc_info=True)


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return f"none of {', '.join(FORMATS)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return in_one_line(error, 300)
