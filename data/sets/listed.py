"""Sets whose text files list the images of each split, of which some have several test sets.

    for entry in reader.entries(place, QUERY, "800"):
        entry.name, entry.identity

A kind of set is a ListedReader: it says which test sets are there, and what its lists say.
"""

import os
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from data.sets.layouts import NoSplit, Reader, listed_names
from data.sets.listing import (
    GALLERY,
    MAX_LEFT_OUT,
    QUERY,
    TRAIN,
    Listing,
    check_queries,
    refuse_outside,
    some_samples,
)
from data.sets.protocol import TestSet
from data.sets.samples import Sample
from data.system.errors import UserError, printable


class Entry(NamedTuple):
    """An image in a list."""

    name: str
    """Its path from the set's folder."""
    identity: int
    camera: int | None
    """None where it is not told: the image is left out."""


@dataclass(frozen=True, kw_only=True)
class ListedReader(Reader):
    """A set whose text files list its images."""

    draws: int = 0
    """How many random galleries are drawn for a test; 0: there is a gallery."""
    remark: str = ""
    """What a user should know about how the set is read."""

    @abstractmethod
    def test_names(self, place: Path) -> list[str]:
        """The test sets that are there, in the order of a report; [""] where there can only be one."""

    @abstractmethod
    def entries(self, place: Path, split: str, test: str) -> Iterable[Entry]:
        """What the lists say of a split; `test` is the test set, "" for training. Raises UserError."""

    def identity_names(self, samples: Iterable[Sample]) -> Mapping[int, str]:
        """Identity -> what the set calls it, where that is no number of its own."""
        return {}

    def list_split(self, place: Path, split: str, *, outside_images: bool = False) -> Listing:
        """The images of a split, of all test sets together. Raises UserError where a list or an image is missing, and
        for an image outside of the folder, unless `outside_images` allows that."""
        tests = [""] if split == TRAIN else self.test_names(place)
        if not tests:
            raise NoSplit(f"{place}: no list of test images")
        return self._list(place, split, tests, outside_images)

    def test_images(self, place: Path) -> dict[str, list[Sample]]:
        found: dict[str, list[Sample]] = {}
        for name in filter(None, self.test_names(place)):
            with suppress(UserError):
                found[name] = [s for split in (QUERY, GALLERY) for s in self._list(place, split, [name], True).samples]
        return found

    def read_test_sets(
        self, place: Path, *, outside_images: bool = False, max_left_out: float = MAX_LEFT_OUT
    ) -> list[TestSet]:
        tests: list[TestSet] = []
        for name in self.test_names(place):
            listings = [self._list(place, split, [name], outside_images) for split in (QUERY, GALLERY)]
            query, gallery = (some_samples(listing, max_left_out) for listing in listings)
            check_queries(listings[0].where, query, gallery, max_left_out)
            tests.append(TestSet(query, gallery, name=name, draws=self.draws, remark=self.remark))
        if not tests:
            raise NoSplit(f"{place}: no list of test images")
        return tests

    def _list(self, place: Path, split: str, tests: list[str], outside_images: bool) -> Listing:
        root = str(place.resolve())
        entries = dict.fromkeys(entry for test in tests for entry in self.entries(place, split, test))
        listing = Listing(f"{place} ({' '.join([split, *tests]).strip()})", [], {}, [], remark=self.remark)
        missing = []
        for name, identity, camera in entries:
            path = f"{root}{os.sep}{name}"
            if not os.path.isfile(path):  # noqa: PTH113 - a Path for each of 400,000 images takes seconds
                missing.append(path)
            elif camera is None:
                listing.left_out.setdefault(NO_CAMERA, []).append(printable(path))
            else:
                if not outside_images and (".." in name or os.path.islink(path)):  # noqa: PTH114
                    refuse_outside(path, path, [root])
                listing.samples.append(Sample(path, identity, camera))
        if missing:
            first = printable(missing[0])
            raise UserError(f"{place}: {len(missing)} listed images are not there, the first is {first}")
        listing.samples.sort()
        return replace(listing, identity_names=self.identity_names(listing.samples))


NO_CAMERA = "as no list tells the camera"


def matched_lines(file: Path, pattern: re.Pattern[str], form: str) -> Iterator[re.Match[str]]:
    """The lines of a list, but for empty ones. Raises UserError where there is no such file, and for a line that the
    pattern does not match whole; `form` shows a right one."""
    lines = listed_names(file)
    if lines is None:
        raise NoSplit(f"{file}: no such list of images")
    for line in lines:
        match = pattern.fullmatch(line)
        if match is None:
            raise UserError(f"{file}: the line {printable(line[:80])!r} is not of the form {form!r}")
        yield match
