"""Lists the images in a folder, and reads identity and camera from their names."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.sets.samples import Sample
from data.system.errors import UNPRINTABLE, UserError, printable

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
    folder: Path,
    pattern: re.Pattern[str],
    *,
    junk_identity: int | None = None,
    names: list[str] | None = None,
    outside_images: bool = False,
) -> Listing:
    """Lists the images directly in `folder`, sorted by name.

    `pattern` is matched against the file's name alone, and has the groups `identity` and `camera`.
    `names`, when given, are the only files that count; one that is missing raises a UserError. So does a file that is
    a link out of `folder` and the folder above it, without `outside_images`; `folder` itself may be a link.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    try:
        with os.scandir(folder) as entries:
            links = {entry.name: entry.is_symlink() for entry in entries if entry.name.lower().endswith(IMAGE_SUFFIXES)}
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error
    present = sorted(links)
    if names is not None:
        missing = sorted(set(names) - set(present))
        if missing:
            raise UserError(
                f"{folder}: {len(missing)} listed images are not there, the first is {printable(missing[0])}"
            )
        present = sorted(set(names))
    listing = Listing(str(folder), [], [], [])
    root = str(folder.resolve())
    for name in present:
        path = f"{root}{os.sep}{name}"
        match = pattern.match(name)
        if match is None or UNPRINTABLE.search(name):
            listing.unmatched.append(printable(path))
        elif int(match["identity"]) == junk_identity:
            listing.junk.append(path)
        else:
            if links[name] and not outside_images:
                refuse_outside(path, path, [root, str(folder.parent.resolve())])
            listing.samples.append(Sample(path, int(match["identity"]), int(match["camera"])))
    return listing


def refuse_outside(where: str, path: str, roots: Iterable[str]) -> None:
    """Raises UserError, which begins with `where`, for an image that lies, links followed, below none of `roots`."""
    true = os.path.realpath(path)
    if not any(Path(true).is_relative_to(root) for root in roots):
        raise UserError(
            f"{where}: leads out of the data folder, to {printable(true)}; copy the image there, or allow such images "
            "with outside_images=true"
        )
