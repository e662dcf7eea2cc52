"""Reads what a folder of images holds, by the pattern of its file names. The readers of each data set build on it."""

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from data.samples import Sample

logger = logging.getLogger(__name__)

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
    """Image files whose name says nothing about identity and camera; left out."""
    junk: list[str]
    """Image files that the protocol drops (Market-1501's identity -1)."""


def list_folder(
    folder: Path, pattern: re.Pattern[str], *, junk_identity: int | None = None, names: list[str] | None = None
) -> Listing:
    """Lists the images directly in `folder`, sorted by name.

    `pattern` is matched against the file's name alone, and has the groups `identity` and `camera`.
    `names`, when given, are the only files that count; one that is missing raises a UserError.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    present = sorted(name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES))  # noqa: PTH208
    if names is not None:
        missing = sorted(set(names) - set(present))
        if missing:
            raise UserError(f"{folder}: {len(missing)} listed images are not there, the first is {missing[0]}")
        present = sorted(set(names))
    listing = Listing(str(folder), [], [], [])
    root = str(folder.resolve())
    for name in present:
        path = f"{root}{os.sep}{name}"
        match = pattern.match(name)
        if match is None:
            listing.unmatched.append(path)
        elif int(match["identity"]) == junk_identity:
            listing.junk.append(path)
        else:
            listing.samples.append(Sample(path, int(match["identity"]), int(match["camera"])))
    return listing


def samples_of(listing: Listing) -> list[Sample]:
    """The samples of a split that must not be empty; images whose names do not match are warned about."""
    if not listing.samples:
        hint = (
            f"; {len(listing.unmatched)} names do not match, e.g. {Path(listing.unmatched[0]).name}"
            if listing.unmatched
            else ""
        )
        raise UserError(f"{listing.where}: no usable images{hint}")
    if listing.unmatched:
        logger.warning(
            "%s: %d images left out because their names do not match, e.g. %s",
            listing.where, len(listing.unmatched), Path(listing.unmatched[0]).name,
        )  # fmt: skip
    return listing.samples


ListSplit = Callable[[Path, str], Listing]
"""What a reader's list_split is: (the set's folder or file, split) -> Listing."""
