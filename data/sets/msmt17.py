"""MSMT17 (Wei et al., CVPR 2018): list_{train,val,query,gallery}.txt beside the images of training and test.

    0000/0000_000_01_0303morning_0015_0.jpg 0

The images lie in train and test (MSMT17_V1) or in mask_train_v2 and mask_test_v2 (MSMT17_V2). A name's third field is
the camera. Test identities are numbered from 0 anew: here training identities are 1 more than in the lists, and test
identities 10,001 more. Two protocols are published: training on train + val (`msmt17`), and on train (`msmt17_train`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from data.sets.listed import Entry, ListedReader, matched_lines
from data.sets.listing import GALLERY, QUERY, TRAIN
from data.sets.samples import Sample

LINE = re.compile(
    r"(?P<path>(?:[^\s/]+/)*[^\s_/]+_[^\s_/]+_(?P<camera>\d{1,18})_[^\s/]+)\s+(?P<identity>\d{1,9})", re.ASCII
)
FORM = "0000/0000_000_01_0303morning_0015_0.jpg 0"
IMAGES = {TRAIN: ("train", "mask_train_v2"), "test": ("test", "mask_test_v2")}
FIRST_TEST = 10_000
"""What is added to a test identity: more than there are training identities."""


@dataclass(frozen=True, kw_only=True)
class Msmt17Reader(ListedReader):
    """Reads MSMT17 with one of its two training sets."""

    training: tuple[str, ...]
    """The lists whose images are trained on."""

    @property
    def sign(self) -> str:
        return f"list_train.txt ({self.name})"

    def is_here(self, place: Path) -> bool:
        return all((place / f"list_{name}.txt").is_file() for name in self.training)

    def test_names(self, place: Path) -> list[str]:
        return [""]

    def entries(self, place: Path, split: str, test: str) -> Iterable[Entry]:
        side, lists = (TRAIN, self.training) if split == TRAIN else ("test", (split,))
        folder = next((name for name in IMAGES[side] if (place / name).is_dir()), IMAGES[side][0])
        first = 1 if split == TRAIN else 1 + FIRST_TEST
        for name in lists:
            for match in matched_lines(place / f"list_{name}.txt", LINE, FORM):
                yield Entry(f"{folder}/{match['path']}", first + int(match["identity"]), int(match["camera"]))

    def identity_names(self, samples: Iterable[Sample]) -> Mapping[int, str]:
        """As the lists have them."""
        return {identity: str((identity - 1) % FIRST_TEST) for identity in {sample.identity for sample in samples}}


_TEST = {QUERY: (11_659, 3_060), GALLERY: (82_161, 3_060)}
MSMT17 = Msmt17Reader(
    name="msmt17",
    title="MSMT17",
    training=(TRAIN, "val"),
    remark="training images are those of list_train and list_val",
    published={"MSMT17, train + val": {TRAIN: (32_621, 1_041), **_TEST}},
)
MSMT17_TRAIN = Msmt17Reader(
    name="msmt17_train",
    title="MSMT17, without val",
    training=(TRAIN,),
    only_named=True,
    remark="training images are those of list_train alone",
)
