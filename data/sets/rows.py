"""A set that is a list of images: who is on each, by which camera, in which splits; any of the last two may be unknown.

    listing = list_rows(rows, TRAIN, "data/cats", path_of=lambda row: row.name)

Where no row tells a split, a fifth of the identities is held out for the test, drawn by a fixed seed: the same images
on every machine. All test images are then gallery, and those that have a match are queries, too.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from data.sets.listing import DISTRACTOR, GALLERY, QUERY, TRAIN, Listing
from data.sets.samples import Box, Sample, own_camera, with_box
from data.system.errors import UserError

JUNK = -1
"""The identity of images that are left out."""
NOBODY = {"0": DISTRACTOR, "-1": JUNK, "unknown": JUNK}
"""Identities with a meaning; `unknown` is how wildlife-datasets calls an animal that nobody has named."""
TEST_SHARE = 0.2
TEST_SEED = 0


class Row(NamedTuple):
    """An image, as the data set has it."""

    name: str
    """Its path from the set's folder."""
    identity: str
    camera: str = ""
    """"" where none is known."""
    splits: tuple[str, ...] | None = None
    """The splits that it is in; None where the set does not tell. A test image may be query and gallery at once."""
    sequence: str = ""
    """"" where it is from none; else `camera` says the same."""
    box: Box | None = None
    """The part of the picture that is meant; None: the whole picture."""
    where: str = ""
    """Where this is written, for messages: FILE:LINE."""


def list_rows(rows: Sequence[Row], split: str, where: str, path_of: Callable[[Row], str]) -> Listing:
    """The images of one split. `path_of` gives a row's absolute path, or raises UserError. Raises UserError for an
    image that is twice in the split."""
    identities = numbers([row.identity for row in rows], NOBODY)
    cameras = numbers([row.camera for row in rows if row.camera])
    sequences = {text: number for number, text in enumerate(sorted({row.sequence for row in rows} - {""}), start=1)}
    rows, remark = with_splits(rows)
    listing = Listing(
        where,
        [],
        {},
        [],
        identity_names=_names(identities),
        camera_names=_names(cameras),
        remark=remark,
        split_is_drawn=bool(remark),
    )
    first: dict[str, Row] = {}
    for row in rows:
        if split not in (row.splits or ()):
            continue
        path = with_box(path_of(row), row.box)
        if (earlier := first.setdefault(path, row)) is not row:
            line = earlier.where.rpartition(":")[2]
            raise UserError(f"{row.where}: {row.name} is listed for {split} in line {line} already; keep one line")
        camera = cameras[row.camera] if row.camera else own_camera(with_box(row.name, row.box))
        if (identity := identities[row.identity]) == JUNK:
            listing.junk.append(path)
        else:
            listing.samples.append(Sample(path, identity, camera, sequences.get(row.sequence, 0)))
    listing.samples.sort()
    return listing


def numbers(texts: Sequence[str], special: Mapping[str, int] | None = None) -> dict[str, int]:
    """Text -> number: its own value where all are different whole numbers, else its place in sorted order, from 1.

    The texts in `special` have the number that it gives.
    """
    special = {text: special[text.lower()] for text in set(texts) if text.lower() in special} if special else {}
    distinct = sorted(set(texts) - special.keys())
    # int() would also take 1_2 for 12, and more digits than a tensor's numbers have. Cameras below 0 are none.
    if all(re.fullmatch(r"[0-9]{1,18}", text) for text in distinct):
        values = {text: int(text) for text in distinct}
        if len({*values.values(), *special.values()}) == len(values) + len(set(special.values())):
            return special | values
    return special | {text: number for number, text in enumerate(distinct, start=1)}


def _names(numbers: Mapping[str, int]) -> dict[int, str]:
    """Number -> text, where they differ."""
    return {number: text for text, number in numbers.items() if text != str(number) and number != JUNK}


def with_splits(rows: Sequence[Row]) -> tuple[Sequence[Row], str]:
    """The rows with their splits, and a remark where these had to be drawn."""
    if any(row.splits is not None for row in rows):
        return rows, ""
    views: dict[str, set[str]] = defaultdict(set)  # identity -> cameras, or images without a camera
    for row in rows:
        views[row.identity].add(row.camera or with_box(row.name, row.box))
    people = [identity for identity in views if identity.lower() not in NOBODY]
    matched = sorted((identity for identity in people if len(views[identity]) > 1), key=_order)
    tested = set(matched[: max(1, round(TEST_SHARE * len(matched)))])
    remark = (
        f"no split is given: {len(tested):,} of {len(people):,} identities are held out for the test, "
        f"drawn with seed {TEST_SEED}; all their images are query and gallery"
    )
    return [row._replace(splits=_drawn(row.identity, tested)) for row in rows], remark


def _drawn(identity: str, tested: set[str]) -> tuple[str, ...]:
    if NOBODY.get(identity.lower()) == DISTRACTOR:
        return (GALLERY,)
    return (QUERY, GALLERY) if identity in tested else (TRAIN,)


def _order(identity: str) -> bytes:
    """A sort key that is random in the seed and the same on every machine."""
    return hashlib.sha256(f"{TEST_SEED}:test:{identity}".encode()).digest()
