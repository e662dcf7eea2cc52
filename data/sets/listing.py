"""What lies in one split of a data set, what an image file must be, and how much may be left out.

samples = some_samples(reader.list_split(place, TRAIN), max_left_out=0.01)
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.sets.samples import Sample
from data.system.errors import UserError, printable

logger = logging.getLogger(__name__)

USUAL_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
IMAGE_SUFFIXES = (
    *(*USUAL_SUFFIXES, ".jpe", ".jfif", ".apng", ".dib", ".gif", ".tif", ".tiff"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".pfm", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".tga", ".exr"),
)
"""Endings of pictures, also of some that cannot be decoded: those are refused by name, and not passed over."""
FOREIGN = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Folders that systems put beside pictures; names that begin with a dot (._a.jpg of macOS) are theirs, too."""
TRAIN, QUERY, GALLERY = "train", "query", "gallery"
DISTRACTOR = 0
"""The identity of gallery images that belong to nobody."""
MAX_LEFT_OUT = 0.01
"""Default of the setting `max_left_out`."""
NO_NAME = "as the name does not tell identity and camera"
IN_FOLDERS = "as they lie in folders of their own"


@dataclass(frozen=True)
class Listing:
    """One split as it lies on disk."""

    where: str
    """The folder or file that was read, for messages."""
    samples: list[Sample]
    """What the protocol uses, sorted by path."""
    left_out: dict[str, list[str]]
    """Why (NO_NAME, say) -> image files that no rule of the protocol drops, and that are left out nevertheless."""
    junk: list[str]
    """Image files that the protocol drops (Market-1501's identity -1)."""
    identity_names: Mapping[int, str] = field(default_factory=dict)
    """Identity -> what the data set calls it, where that is no number of its own."""
    camera_names: Mapping[int, str] = field(default_factory=dict)
    """The same of cameras."""
    remark: str = ""
    """What a user should know about how the set is read: which identities are held out for the test, say."""
    split_is_drawn: bool = False
    """Whether the set tells no splits, so that they were drawn."""

    @property
    def count_left_out(self) -> int:
        """How many image files are left out."""
        return sum(map(len, self.left_out.values()))

    @property
    def count(self) -> int:
        """How many image files lie there."""
        return len(self.samples) + self.count_left_out + len(self.junk)


def is_foreign(name: str) -> bool:
    """Whether a file or folder of this name is no user's, but was put there by a system."""
    return name.startswith(".") or name in FOREIGN


def is_image(name: str) -> bool:
    """Whether a file of this name is one of the user's pictures."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not is_foreign(name)


def too_many(left_out: int, everything: int, max_left_out: float) -> bool:
    """Whether more than the share `max_left_out` is left out. A single one is too many only where none may be."""
    return left_out > max(max_left_out * everything, 1 if max_left_out else 0)


def allow(left_out: int, everything: int) -> str:
    """How a user allows so many to be left out."""
    share = -(-1000 * left_out // everything) / 1000
    return f"max_left_out={share:g} allows it (as an option: --max-left-out {share:g})"


def write_manifest(folder: str | Path) -> str:
    """The way out for images in `folder` that no reader understands."""
    return (
        f"write {Path(folder) / 'manifest.csv'}: the line path,identity,camera,split, then a line for each image, such "
        "as cars/a17.jpg,a17,gate,train (split: train, query or gallery; camera and split may be missing)"
    )


def some_samples(listing: Listing, max_left_out: float) -> list[Sample]:
    """The samples of a split that must not be empty. Raises UserError where more than the share `max_left_out` of its
    images is left out, and warns of fewer."""
    told = "; ".join(
        f"{len(files):,} images left out, {why}, e.g. {Path(files[0]).name}" for why, files in listing.left_out.items()
    )
    way_out = write_manifest(Path(listing.where).parent)
    if not listing.samples:
        raise UserError(f"{listing.where}: no usable images{told and f'; {told}; rename them, or {way_out}'}")
    if too_many(listing.count_left_out, listing.count, max_left_out):
        raise UserError(
            f"{listing.where}: of {listing.count:,} images, {told}; rename them, {way_out}, or leave them out: "
            f"{allow(listing.count_left_out, listing.count)}"
        )
    if told:
        logger.warning("%s: of %s images, %s", listing.where, f"{listing.count:,}", told)
    return listing.samples


def queries_without_match(query: Iterable[Sample], gallery: Iterable[Sample]) -> list[Sample]:
    """The queries of which the gallery has no image by another camera: the evaluation leaves them out."""
    cameras_of: dict[int, set[int]] = {}
    for sample in gallery:
        cameras_of.setdefault(sample.identity, set()).add(sample.camera)
    return [sample for sample in query if not cameras_of.get(sample.identity, set()) - {sample.camera}]


def check_queries(where: str, query: Sequence[Sample], gallery: Sequence[Sample], max_left_out: float) -> None:
    """Raises UserError where more than the share `max_left_out` of the queries has no match, if any has one."""
    alone = len(queries_without_match(query, gallery))
    if alone < len(query) and too_many(alone, len(query), max_left_out):
        raise UserError(
            f"{where}: {alone:,} of {len(query):,} queries have no match, an image of their identity by another camera "
            f"in the gallery, so they would be left out; check identities and cameras; {allow(alone, len(query))}"
        )


def refuse_outside(where: str, path: str, roots: Iterable[str]) -> None:
    """Raises UserError, which begins with `where`, for an image that, links followed, lies below none of `roots`."""
    true = os.path.realpath(path)
    if not any(Path(true).is_relative_to(root) for root in roots):
        raise UserError(
            f"{where}: leads out of the data folder, to {printable(true)}; copy the image there, or allow such images "
            "with outside_images=true"
        )
