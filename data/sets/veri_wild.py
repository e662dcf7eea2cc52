"""VERI-Wild (Lou et al., CVPR 2019): images/V/I.jpg, and lists with lines `V/I` (vehicle, image) in train_test_split.

train_list.txt (else train_list_start0.txt) is the training; test_3000.txt, test_5000.txt and test_10000.txt are the
galleries of three test sets, each with queries in test_3000_query.txt and so on. vehicle_info.txt, beside the lists or
in the set's folder, tells the cameras: `V/I;camera;...`. There are 174.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from data.sets.listed import Entry, ListedReader, matched_lines
from data.sets.listing import QUERY, TRAIN
from data.system.errors import UserError

LINE = re.compile(r"(?P<vehicle>\d{1,18})/(?P<image>[^\s/;]+?)(?:\.jpg)?(?:\s.*)?", re.ASCII)
INFO = re.compile(r"(?P<vehicle>\d{1,18})/(?P<image>[^\s/;]+?)(?:\.jpg)?;\s*(?P<camera>\d{1,18})\s*(?:;.*)?", re.ASCII)
LISTS = "train_test_split"
TRAINING = ("train_list.txt", "train_list_start0.txt")
TESTS = ("3000", "5000", "10000")


class VeriWildReader(ListedReader):
    """Reads VERI-Wild."""

    @property
    def sign(self) -> str:
        return f"images/ and {LISTS}/ ({self.name})"

    def is_here(self, place: Path) -> bool:
        return (place / "images").is_dir() and any((place / LISTS / name).is_file() for name in TRAINING)

    def test_names(self, place: Path) -> list[str]:
        return [name for name in TESTS if (place / LISTS / f"test_{name}.txt").is_file()]

    def entries(self, place: Path, split: str, test: str) -> Iterable[Entry]:
        if split == TRAIN:
            file = next((name for name in TRAINING if (place / LISTS / name).is_file()), TRAINING[0])
        else:
            file = f"test_{test}{'_query' if split == QUERY else ''}.txt"
        cameras = _cameras(place)
        for match in matched_lines(place / LISTS / file, LINE, "00001/000001"):
            image = f"{match['vehicle']}/{match['image']}"
            yield Entry(f"images/{image}.jpg", int(match["vehicle"]), cameras.get(image))


def _cameras(place: Path) -> dict[str, int]:
    """Vehicle/image -> camera."""
    for file in (place / LISTS / "vehicle_info.txt", place / "vehicle_info.txt"):
        if file.is_file():
            lines = matched_lines(file, re.compile(f"{INFO.pattern}|.*", re.ASCII), "")
            return {f"{m['vehicle']}/{m['image']}": int(m["camera"]) for m in lines if m["vehicle"]}
    raise UserError(f"{place / LISTS / 'vehicle_info.txt'}: no such file, and it tells the cameras; copy it there")


VERI_WILD = VeriWildReader(
    name="veri_wild",
    title="VERI-Wild",
    published={
        "VERI-Wild": {
            TRAIN: (277_797, 30_671),
            "3000": (41_861, 3_000),
            "5000": (69_389, 5_000),
            "10000": (138_517, 10_000),
        }
    },
)
