"""What lies in one split of a data set, and what an image file must be."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.sets.samples import Sample
from data.system.errors import UserError, printable

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
TRAIN, QUERY, GALLERY = "train", "query", "gallery"


@dataclass(frozen=True)
class Listing:
    """One split as it lies on disk."""

    where: str
    """The folder or file that was read, for messages."""
    samples: list[Sample]
    """What the protocol uses, sorted by path."""
    unmatched: list[str]
    """Image files whose names do not tell identity and camera; left out."""
    junk: list[str]
    """Image files that the protocol drops (Market-1501's identity -1)."""


def refuse_outside(where: str, path: str, roots: Iterable[str]) -> None:
    """Raises UserError, which begins with `where`, for an image that, links followed, lies below none of `roots`."""
    true = os.path.realpath(path)
    if not any(Path(true).is_relative_to(root) for root in roots):
        raise UserError(
            f"{where}: leads out of the data folder, to {printable(true)}; copy the image there, or allow such images "
            "with outside_images=true"
        )
