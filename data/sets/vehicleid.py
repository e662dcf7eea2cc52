"""VehicleID (Liu et al., CVPR 2016): image/N.jpg, and train_test_split/train_list.txt with lines `0001234 5678`, image
and vehicle; test_list_800.txt, test_list_1600.txt and test_list_2400.txt are three test sets.

No cameras are known. In a test one random image of each vehicle is the gallery and all others are queries; the result
is the mean of ten draws. Papers also report another protocol, whose figures are far higher: do not compare the two.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from data.sets.listed import Entry, ListedReader, matched_lines
from data.sets.listing import TRAIN
from data.sets.samples import own_camera

LINE = re.compile(r"(?P<image>[^\s/\\]+)\s+(?P<identity>\d{1,18})", re.ASCII)
LISTS = "train_test_split"
TESTS = ("800", "1600", "2400")


class VehicleIdReader(ListedReader):
    """Reads VehicleID."""

    @property
    def sign(self) -> str:
        return f"image/ and {LISTS}/ ({self.name})"

    def is_here(self, place: Path) -> bool:
        return (place / "image").is_dir() and (place / LISTS / "train_list.txt").is_file()

    def test_names(self, place: Path) -> list[str]:
        return [name for name in TESTS if (place / LISTS / f"test_list_{name}.txt").is_file()]

    def entries(self, place: Path, split: str, test: str) -> Iterable[Entry]:
        file = "train_list.txt" if split == TRAIN else f"test_list_{test}.txt"
        for match in matched_lines(place / LISTS / file, LINE, "0001234 5678"):
            name = f"image/{match['image'].removesuffix('.jpg')}.jpg"
            yield Entry(name, int(match["identity"]), own_camera(name))


VEHICLEID = VehicleIdReader(
    name="vehicleid",
    title="VehicleID",
    draws=10,
    published={
        "VehicleID": {TRAIN: (113_346, 13_164), "800": (6_493, 800), "1600": (13_377, 1_600), "2400": (19_777, 2_400)}
    },
)
