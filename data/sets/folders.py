"""A folder for each identity: {train,test}/ID/*, or ID/* alone; with query and gallery in place of test where they are.

    cats/train/tom/1.jpg
    cats/test/kitty/7.jpg

The splits' folders are train (or train_all, which then holds all training images; else val belongs to them, too), query
and gallery, or test: query and gallery at once. This is how layumi's baseline (Person_reID_baseline_pytorch) prepares
all its data sets. Without such folders identities are held out for the test (data/sets/rows.py).

An identity is its folder's name, as in a manifest: `-1` is left out, `0000` is a distractor. The camera is the number
after `_c` in a file's name (0001_c2_33.jpg) where every name of the training images, or of the test images, has one;
else each image has a camera of its own.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from data.sets.layouts import NoSplit, Reader, folders_in, images_in, images_in_folders
from data.sets.listing import DISTRACTOR, GALLERY, IN_FOLDERS, QUERY, TRAIN, Listing, is_image, refuse_outside
from data.sets.rows import Row, list_rows
from data.system.errors import UNPRINTABLE, printable

TRAIN_FOLDERS = ("train_all", "train")
TEST_FOLDERS: Mapping[str, tuple[str, ...]] = {"query": (QUERY,), "gallery": (GALLERY,), "test": (QUERY, GALLERY)}
"""Folder -> the splits that its images are in."""
CAMERA = re.compile(r"_c(\d{1,18})", re.ASCII)
NO_TEXT = "as their paths hold what no terminal shows"
BESIDE = "as they lie in no identity's folder"


class IdentityFolders(Reader):
    """Reads a folder for each identity."""

    @property
    def sign(self) -> str:
        return f"folders train/ID and test/ID, or ID ({self.name})"

    def is_here(self, place: Path) -> bool:
        if not place.is_dir():
            return False
        if any(_holds_identities(place / name) for name in TRAIN_FOLDERS):
            return True
        return not images_in(place) and _holds_identities(place, least=2)

    def folders_in(self, place: Path) -> list[Path]:
        if not _split_folders(place, TRAIN):
            return []
        if (place / "test").is_dir() and not (place / QUERY).is_dir():
            return [place / "test"]
        return [place / QUERY, place / GALLERY]

    def place_without_sign(self, root: Path) -> Path | None:
        return root if _holds_identities(root) else None

    def list_split(self, place: Path, split: str, *, outside_images: bool = False) -> Listing:
        """The images directly in the identities' folders. Raises UserError for a link that leads out of the set,
        unless `outside_images` allows that."""
        root, linked = place.resolve(), set[str]()
        folders = _split_folders(place, split)
        if not folders and _split_folders(place, QUERY if split == TRAIN else TRAIN):
            raise NoSplit(f"{place}: no folder {'train' if split == TRAIN else f'{split} or test'}")
        rows: list[Row] = []
        left_out: dict[str, list[str]] = {}
        for folder, splits in (folders or {"": None}).items():
            told = left_out if splits is None or split in splits else {}
            rows += _rows_in(root / folder, root, splits, told, linked)
        if rows and all(CAMERA.search(_file_name(row)) for row in rows):
            rows = [row._replace(camera=_camera(row)) for row in rows]
        rows += _other_identities(place, folders)

        def path_of(row: Row) -> str:
            path = str(root / row.name)
            if row.name in linked and not outside_images:
                refuse_outside(path, path, [str(root)])
            return path

        where = next((folder for folder, splits in folders.items() if splits and split in splits), "")
        listing = list_rows(rows, split, str(place / where), path_of)
        listing.left_out.update(left_out)
        return listing


def _holds_identities(folder: Path, least: int = 1) -> bool:
    """Whether at least so many of its folders hold images."""
    found = 0
    for name in folders_in(folder) if folder.is_dir() else ():
        with os.scandir(folder / name) as entries:
            found += any(is_image(entry.name) for entry in entries)
        if found >= least:
            return True
    return False


def _split_folders(place: Path, split: str) -> dict[str, tuple[str, ...] | None]:
    """Folder -> the splits of its images, of those that hold a side's images (training or test); none where the set
    has no folders for splits."""
    if split == TRAIN:
        names = ["train_all"] if (place / "train_all").is_dir() else ["train", "val"]
        there = [name for name in names if (place / name).is_dir()]
        return dict.fromkeys(there, (TRAIN,)) if there != ["val"] else {}
    names = [name for name in TEST_FOLDERS if (place / name).is_dir()]
    if QUERY in names and GALLERY in names and "test" in names:
        names.remove("test")
    return {name: TEST_FOLDERS[name] for name in names}


def _other_identities(place: Path, read: Mapping[str, object]) -> list[Row]:
    """A row for each identity of the splits that are not read: an identity has the same number in all."""
    if not read:
        return []
    every = {**_split_folders(place, TRAIN), **_split_folders(place, QUERY)}
    others = [name for folder in every if folder not in read for name in folders_in(place / folder)]
    return [Row(name, _identity(name), splits=()) for name in others]


def _rows_in(
    folder: Path, root: Path, splits: tuple[str, ...] | None, left_out: dict[str, list[str]], linked: set[str]
) -> list[Row]:
    """A row for each image in the folders of a folder. Adds what is no identity's to `left_out`, and to `linked` the
    names of images that are links."""
    rows: list[Row] = []
    if beside := images_in(folder):
        left_out.setdefault(BESIDE, []).extend(printable(str(folder / name)) for name in sorted(beside))
    for identity in folders_in(folder):
        if deeper := images_in_folders(folder / identity):
            left_out.setdefault(IN_FOLDERS, []).extend(deeper)
        for file, is_link in sorted(images_in(folder / identity).items()):
            path = folder / identity / file
            if UNPRINTABLE.search(identity + file):
                left_out.setdefault(NO_TEXT, []).append(printable(str(path)))
                continue
            name = path.relative_to(root).as_posix()
            rows.append(Row(name, _identity(identity), splits=splits, where=name))
            if is_link:
                linked.add(name)
    return rows


def _identity(folder: str) -> str:
    return str(DISTRACTOR) if folder == "0000" else folder


def _file_name(row: Row) -> str:
    return row.name.rpartition("/")[2]


def _camera(row: Row) -> str:
    match = CAMERA.search(_file_name(row))
    assert match
    return match[1]


FOLDERS = IdentityFolders(name="folders", title="a folder for each identity", weak=True)
