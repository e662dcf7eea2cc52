"""What can be wrong with a picture that can be decoded: too dark, without contrast, scaled unlike the others.

looks = look_at_all(splits)
findings = odd_pictures(splits, looks)
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from data.checks.findings import Finding, Splits
from data.pixels.decoding import FORMATS, UnreadableImage, full_scale, load_image
from data.sets.samples import split_box
from data.system.threads import in_threads

DARK = 64
"""A picture whose brightest value of 0 to 255 is below this is nearly black."""
FLAT = 16
"""A picture none of whose colours varies by as much as this, of 255, shows hardly anything."""


@dataclass(frozen=True)
class Look:
    """A picture, looked at."""

    problem: str | None
    """Why it cannot be decoded; None when it can."""
    white: int | None = None
    """What becomes white, in a picture of floats or of more than 8 bits."""
    brightest: int = 255
    """Its largest value, 0 to 255."""
    contrast: int = 255
    """By how much the colour that varies most does, 0 to 255."""


def look_at(path: str) -> Look:
    """Decodes a picture to its last byte."""
    try:
        pixels_HW3 = np.asarray(load_image(path))
    except UnreadableImage as error:
        return Look(str(error).removeprefix(f"{path}: "))
    with Image.open(split_box(path)[0], formats=FORMATS) as image:
        white = full_scale(image)
    high_3, low_3 = pixels_HW3.max(axis=(0, 1)).astype(int), pixels_HW3.min(axis=(0, 1)).astype(int)
    return Look(None, white, int(high_3.max()), int((high_3 - low_3).max()))


def look_at_all(splits: Splits) -> dict[str, Look]:
    """Path -> what was seen, of every image that counts."""
    paths = sorted({sample.path for listing in splits.values() for sample in listing.samples})
    return dict(zip(paths, in_threads(look_at, paths), strict=True))


def odd_pictures(splits: Splits, looks: dict[str, Look]) -> list[Finding]:
    """Pictures that a network can see little in, and splits whose pictures are scaled differently."""
    findings = []
    for split, listing in splits.items():
        seen = {path: looks[path] for path in sorted({sample.path for sample in listing.samples}) if path in looks}
        for words, odd in (
            ("nearly black", lambda look: look.brightest < DARK),
            ("with hardly any contrast", lambda look: look.brightest >= DARK and look.contrast < FLAT),
        ):
            paths = [path for path, look in seen.items() if look.problem is None and odd(look)]
            if paths:
                findings.append(Finding("warning", f"{split}: {len(paths):,} images {words}", tuple(paths)))
        whites = sorted({look.white for look in seen.values() if look.white is not None})
        if len(whites) > 1:
            scaled = " or ".join(f"{white:,}" for white in whites)
            text = f"{split}: pictures of more than 8 bits differ in what is white ({scaled}), so in brightness"
            paths = [path for path, look in seen.items() if look.white == whites[0]]
            findings.append(Finding("warning", text, tuple(paths)))
    return findings
