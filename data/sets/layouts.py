"""What a data set looks like on disk, and the one way in which every kind of set is read.

A kind of data set is a Reader. Where each split has a folder, and files' names tell identity and camera, it is a few
lines:

    YARD = FolderReader(
        name="yard",
        title="Yard-12",
        folders={TRAIN: "yard_train", QUERY: "yard_query", GALLERY: "yard_gallery"},
        pattern=re.compile(r"(?P<identity>[0-9]{4})_c(?P<camera>[0-9])_"),
    )

A set is recognised by the folder of its training images and, where two kinds share that name, by its files' names.
Other kinds derive from Reader, as data/sets/manifest.py does. A new one gets its line in data/sets/readers.py.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from data.sets.listing import (
    GALLERY,
    IN_FOLDERS,
    MAX_LEFT_OUT,
    NO_NAME,
    QUERY,
    TRAIN,
    Listing,
    check_queries,
    is_foreign,
    is_image,
    refuse_outside,
    some_samples,
)
from data.sets.protocol import TestSet
from data.sets.samples import Sample
from data.system.errors import UNPRINTABLE, UserError, printable


@dataclass(frozen=True, kw_only=True)
class Reader(ABC):
    """One kind of data set."""

    name: str
    """What the setting `dataset` calls it."""
    title: str
    """What people call it."""
    only_named: bool = False
    """Whether it is meant only where the setting `dataset` names it: another kind has the same sign."""
    weak: bool = False
    """Whether other folders look like such a set, too: it is looked for where no other kind is found, and what lies in
    a folder of it does not show it."""
    published: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    """What was published in this layout (Market-1501, say) -> split -> images and identities; junk is left out, a
    gallery's distractors count as an identity. A test set's name (800) may stand for a split."""

    @property
    @abstractmethod
    def sign(self) -> str:
        """What shows that a folder holds such a set, for messages."""

    @abstractmethod
    def is_here(self, place: Path) -> bool:
        """Whether `place` holds such a set."""

    def names_fit(self, place: Path) -> bool:
        """Whether the images in `place`, which has this kind's sign, are named as this kind's are."""
        return True

    @abstractmethod
    def list_split(self, place: Path, split: str, *, outside_images: bool = False) -> Listing:
        """Everything in one split ("train", "query" or "gallery"). Raises UserError where it cannot be read."""

    def folders_in(self, place: Path) -> list[Path]:
        """The folders that hold the splits; none where the splits have no folders of their own."""
        return []

    def place_without_sign(self, root: Path) -> Path | None:
        """Where such a set is in `root`, which shows no sign of it, when the user says that there is one."""
        return None

    def read_train(
        self, place: Path, *, outside_images: bool = False, max_left_out: float = MAX_LEFT_OUT
    ) -> list[Sample]:
        """The training images. Raises UserError when they cannot be read, there are none, or more than the share
        `max_left_out` of them would be left out."""
        return some_samples(self.list_split(place, TRAIN, outside_images=outside_images), max_left_out)

    def read_test_sets(
        self, place: Path, *, outside_images: bool = False, max_left_out: float = MAX_LEFT_OUT
    ) -> list[TestSet]:
        """What a model is tested on, in the order of its report; most sets have one. Raises UserError when query or
        gallery cannot be read, there are no images in one of the two, or more than the share `max_left_out` of the
        images, or of the queries for want of a match, would be left out."""
        listings = [self.list_split(place, split, outside_images=outside_images) for split in (QUERY, GALLERY)]
        query, gallery = (some_samples(listing, max_left_out) for listing in listings)
        check_queries(listings[0].where, query, gallery, max_left_out)
        return [TestSet(query, gallery, remark=listings[0].remark)]

    def test_images(self, place: Path) -> dict[str, list[Sample]]:
        """The images of each test set by its name, where there are several and they can be read."""
        return {}

    def read_test(
        self, place: Path, *, outside_images: bool = False, max_left_out: float = MAX_LEFT_OUT
    ) -> tuple[list[Sample], list[Sample]]:
        """Query and gallery images, of all test sets together. Raises UserError as read_test_sets."""
        tests = self.read_test_sets(place, outside_images=outside_images, max_left_out=max_left_out)
        query = dict.fromkeys(sample for test in tests for sample in test.query)
        return list(query), list(dict.fromkeys(sample for test in tests for sample in test.gallery))


@dataclass(frozen=True, kw_only=True)
class FolderReader(Reader):
    """A set with a folder for each split, in which the files' names tell identity and camera."""

    folders: Mapping[str, str]
    """Split -> its folder's name."""
    pattern: re.Pattern[str]
    """Matches the beginning of a file's name; has the groups `identity` and `camera`."""
    junk_identity: int | None = None
    """The identity of images that the protocol drops."""
    name_lists: Mapping[str, str] = field(default_factory=dict)
    """Split -> a text file beside the folders. Where that is there, only the images whose names it lists count."""

    @property
    def sign(self) -> str:
        return f"{self.folders[TRAIN]}/ ({self.name})"

    def is_here(self, place: Path) -> bool:
        return (place / self.folders[TRAIN]).is_dir()

    def names_fit(self, place: Path) -> bool:
        names = images_in(place / self.folders[TRAIN])
        return sum(self.pattern.match(name) is not None for name in names) > len(names) / 2

    def folders_in(self, place: Path) -> list[Path]:
        return [place / folder for folder in self.folders.values()]

    def list_split(self, place: Path, split: str, *, outside_images: bool = False) -> Listing:
        """The images directly in the split's folder, sorted by name.

        The folder may be a link. Raises UserError where it is missing, where a listed name is not in it, and for a link
        that leads out of it and of `place`, unless `outside_images` allows that.
        """
        folder = place / self.folders[split]
        links = images_in(folder)
        listed = listed_names(place / self.name_lists[split]) if split in self.name_lists else None
        names = sorted(links if listed is None else set(listed))
        if missing := [name for name in names if name not in links]:
            first = printable(missing[0])
            raise UserError(
                f"{folder}: {len(missing)} listed images are not there, the first is {first}; copy them there"
            )
        listing = Listing(str(folder), [], {}, [])
        root = str(folder.resolve())
        for name in names:
            path = f"{root}{os.sep}{name}"
            match = self.pattern.match(name)
            if match is None or UNPRINTABLE.search(name):
                listing.left_out.setdefault(f"{NO_NAME} in the way of {self.title}", []).append(printable(path))
            elif int(match["identity"]) == self.junk_identity:
                listing.junk.append(path)
            else:
                if links[name] and not outside_images:
                    refuse_outside(path, path, [root, str(folder.parent.resolve())])
                listing.samples.append(Sample(path, int(match["identity"]), int(match["camera"])))
        if deeper := images_in_folders(folder):
            listing.left_out[IN_FOLDERS] = deeper
        if unlisted := sorted(links.keys() - set(names)):
            why = f"as {self.name_lists[split]} does not list them"
            listing.left_out[why] = [printable(str(folder / name)) for name in unlisted]
        return listing


class NoSplit(UserError):
    """A split whose folder is not there, as in a set without test images."""


def images_in(folder: Path) -> dict[str, bool]:
    """Names of the image files directly in a folder -> whether they are links."""
    if not folder.is_dir():
        raise NoSplit(f"{folder}: no such folder")
    with _readable(folder), os.scandir(folder) as entries:
        return {entry.name: entry.is_symlink() for entry in entries if is_image(entry.name)}


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted."""
    with _readable(folder), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not is_foreign(entry.name))


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Raises UserError for a folder that the system does not let us read."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error


def images_in_folders(folder: Path) -> list[str]:
    """The image files in the folders of a folder, at any depth, sorted."""
    found: list[str] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_foreign(name)]
        if Path(place) != folder:
            found += [printable(os.path.join(place, name)) for name in names if is_image(name)]  # noqa: PTH118
    return sorted(found)


def listed_names(name_list: Path) -> list[str] | None:
    """The names in a text file, one a line; None where there is no such file."""
    if not name_list.is_file():
        return None
    try:
        lines = name_list.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{name_list}: cannot be read: {error.strerror}") from error
    return [line.strip() for line in lines if line.strip()]
