"""Any flat folder of images whose names tell identity and camera: the setting `name_pattern`.

    reader = name_reader(r"(?P<camera>gate|yard)-(?P<identity>[a-z]+[0-9]+)")  # gate-van12 (3).jpg

Identities and cameras may be any text, as in a manifest. Identities are held out for the test (data/sets/rows.py).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from data.sets.layouts import Reader, images_in
from data.sets.listing import NO_NAME, Listing, refuse_outside
from data.sets.rows import Row, list_rows
from data.system.errors import UNPRINTABLE, UserError, printable

GROUPS = ("identity", "camera")


@dataclass(frozen=True, kw_only=True)
class NameReader(Reader):
    """Reads the images directly in a folder."""

    pattern: re.Pattern[str]
    """Matches the beginning of a file's name; has the group `identity` and, where cameras are known, `camera`."""

    @property
    def sign(self) -> str:
        return "images (name_pattern)"

    def is_here(self, place: Path) -> bool:
        return place.is_dir()

    def list_split(self, place: Path, split: str, *, outside_images: bool = False) -> Listing:
        root, links = place.resolve(), images_in(place)
        rows, unmatched = [], []
        for name in sorted(links):
            match = self.pattern.match(name)
            told = match.groupdict() if match else {}
            if not told.get("identity") or UNPRINTABLE.search(name):
                unmatched.append(printable(str(root / name)))
            else:
                rows.append(Row(name, told["identity"], told.get("camera") or "", where=name))

        def path_of(row: Row) -> str:
            path = str(root / row.name)
            if links[row.name] and not outside_images:
                refuse_outside(path, path, [str(root)])
            return path

        listing = list_rows(rows, split, str(place), path_of)
        if unmatched:
            listing.left_out[NO_NAME] = unmatched
        return listing


def name_reader(name_pattern: str) -> NameReader:
    """The reader of a folder whose images are named so. Raises UserError."""
    try:
        pattern = re.compile(name_pattern, re.ASCII)
    except re.error as error:
        raise UserError(f"name_pattern {name_pattern!r:.200} is no regular expression: {error}") from None
    if "identity" not in pattern.groupindex or not {*pattern.groupindex} <= {*GROUPS}:
        raise UserError(
            f"name_pattern {name_pattern!r:.200} must have the group identity, may have camera and no other: "
            r"(?P<identity>\w+)_(?P<camera>\d+), for example"
        )
    return NameReader(name="name_pattern", title="names that tell identity and camera", pattern=pattern)
