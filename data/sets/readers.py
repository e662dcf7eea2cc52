"""Finds the data set that a path means, and reads its training or its test images, never both at once.

samples = read_train("data")  # of the one data set in that folder
"""

import os
from pathlib import Path
from typing import Literal

from data.sets.cuhk03_np import CUHK03_NP
from data.sets.dukemtmc import DUKEMTMC
from data.sets.folders import FOLDERS
from data.sets.layouts import Reader
from data.sets.listing import MAX_LEFT_OUT, TRAIN, is_foreign, write_manifest
from data.sets.manifest import MANIFEST
from data.sets.market1501 import MARKET1501
from data.sets.msmt17 import MSMT17, MSMT17_TRAIN
from data.sets.names import name_reader
from data.sets.protocol import TestSet
from data.sets.samples import Sample
from data.sets.vehicleid import VEHICLEID
from data.sets.veri import VERI
from data.sets.veri_wild import VERI_WILD
from data.system.errors import UserError, printable

DatasetName = Literal[
    "market1501",
    "veri",
    "dukemtmc",
    "cuhk03_np",
    "msmt17",
    "msmt17_train",
    "vehicleid",
    "veri_wild",
    "manifest",
    "folders",
]
"""What the setting `dataset` may be."""
_PUBLISHED: tuple[Reader, ...] = (
    MARKET1501, VERI, DUKEMTMC, CUHK03_NP, MSMT17, MSMT17_TRAIN, VEHICLEID, VERI_WILD
)  # fmt: skip
READERS = {reader.name: reader for reader in (*_PUBLISHED, MANIFEST, FOLDERS)}
MAXIMUM_SHOWN = 300
"""How many letters of a path a message repeats."""


class NoDataset(UserError):
    """A folder that is there and holds no data set."""


def find_dataset(data_dir: str | Path, dataset: str | None = None) -> tuple[str, Path]:
    """The reader's name and the folder (or CSV file) that `data_dir` means.

    `data_dir` may be the set itself or its parent. `dataset` names the reader; None detects it.
    Raises UserError when nothing (NoDataset), or more than one set, is found.
    """
    root = Path(os.path.expanduser(data_dir))  # noqa: PTH111 - Path's raises for users that there are not
    shown = printable(str(root)[:MAXIMUM_SHOWN])
    if dataset is not None and dataset not in READERS:
        raise UserError(f"dataset {dataset!r} is none of {', '.join(READERS)}")
    if not os.path.exists(root):  # noqa: PTH110 - Path's raises for names that no file can have
        here = "" if root.is_absolute() else f" in {Path.cwd()}"
        raise UserError(f"data_dir {shown}: no such folder{here}; point data_dir at the data set or its parent folder")
    readers = [READERS[dataset]] if dataset else [reader for reader in READERS.values() if not reader.only_named]
    try:
        strong = [reader for reader in readers if not reader.weak]
        found = _places(root, strong) or _places(root, [reader for reader in readers if reader.weak])
    except OSError as error:
        raise UserError(f"data_dir {shown}: cannot be read: {error.filename}: {error.strerror}") from error
    if not found and dataset and (place := READERS[dataset].place_without_sign(root)):
        return dataset, place
    if not found:
        empty = " is empty:" if root.is_dir() and not any(root.iterdir()) else ""
        signs = ", ".join(reader.sign for reader in readers)
        raise NoDataset(f"data_dir {shown}{empty} holds no data set; looked for {signs}; or {write_manifest(shown)}")
    if len(found) > 1:
        listed = ", ".join(f"{place.name} ({name})" for name, place in found)
        raise UserError(f"data_dir {shown} holds several data sets: {listed}; point at one or set dataset")
    return found[0]


def find_reader(
    data_dir: str | Path, dataset: str | None = None, name_pattern: str | None = None
) -> tuple[Reader, Path]:
    """The reader, and the folder (or CSV file) that `data_dir` means: `find_dataset`'s or, with `name_pattern`, the one
    of a flat folder whose images are named so. Raises UserError."""
    if name_pattern is None:
        name, place = find_dataset(data_dir, dataset)
        return READERS[name], place
    if dataset is not None:
        raise UserError(f"name_pattern and dataset={dataset} exclude one another; leave one of them out")
    place = Path(os.path.expanduser(data_dir))  # noqa: PTH111 - Path's raises for users that there are not
    if not os.path.isdir(place):  # noqa: PTH112 - Path's raises for names that no file can have
        raise UserError(
            f"data_dir {printable(str(place)[:MAXIMUM_SHOWN])}: no such folder, whose names name_pattern reads"
        )
    return name_reader(name_pattern), place


def _places(root: Path, readers: list[Reader]) -> list[tuple[str, Path]]:
    """The sets that `root` is or, where it is none, those that its children are: the reader's name and the place."""
    if here := readers_at(root, readers):
        return [(reader.name, root) for reader in here]
    children = sorted(child for child in root.iterdir() if child.is_dir()) if root.is_dir() else []
    children = [child for child in children if not is_foreign(child.name)]
    return [(reader.name, child) for child in children for reader in readers_at(child, readers)]


def reader_above(place: Path) -> tuple[Reader, Path] | None:
    """The data set in which something lies, as far as a folder's sign shows one: its reader and its place."""
    strong = [reader for reader in READERS.values() if not reader.weak and not reader.only_named]
    above = Path(os.path.realpath(place)).parents  # resolve() raises for a link to itself
    return next(((reader, root) for root in above for reader in readers_at(root, strong)), None)


def readers_at(place: Path, readers: list[Reader]) -> list[Reader]:
    """Those whose sign `place` shows: where there are several, the manifest, which its owner wrote for these images;
    else those whose names its images have, else the first."""
    here = [reader for reader in readers if reader.is_here(place)]
    if MANIFEST in here:
        return [MANIFEST]
    return here if len(here) < 2 else [reader for reader in here if reader.names_fit(place)] or here[:1]


def read_train(
    data_dir: str | Path,
    dataset: str | None = None,
    *,
    name_pattern: str | None = None,
    outside_images: bool = False,
    max_left_out: float = MAX_LEFT_OUT,
) -> list[Sample]:
    """The training images of the data set at `data_dir`.

    `name_pattern` is as in find_reader. `outside_images` allows images outside of its folder, led to by a link or a
    manifest's path. `max_left_out` (0 to 1) is the largest share of a split's images that may be left out as the reader
    does not understand them, and of the queries as they have no match; a single one is warned of. Raises UserError.
    """
    reader, place = find_reader(data_dir, dataset, name_pattern)
    return reader.read_train(place, outside_images=outside_images, max_left_out=max_left_out)


def read_test(
    data_dir: str | Path,
    dataset: str | None = None,
    *,
    name_pattern: str | None = None,
    outside_images: bool = False,
    max_left_out: float = MAX_LEFT_OUT,
) -> tuple[list[Sample], list[Sample]]:
    """Query and gallery images of the data set at `data_dir`; the rest as in `read_train`."""
    reader, place = find_reader(data_dir, dataset, name_pattern)
    return reader.read_test(place, outside_images=outside_images, max_left_out=max_left_out)


def read_test_sets(
    data_dir: str | Path,
    dataset: str | None = None,
    *,
    name_pattern: str | None = None,
    outside_images: bool = False,
    max_left_out: float = MAX_LEFT_OUT,
) -> list[TestSet]:
    """What a model is tested on, of the data set at `data_dir`; the rest as in `read_train`."""
    reader, place = find_reader(data_dir, dataset, name_pattern)
    return reader.read_test_sets(place, outside_images=outside_images, max_left_out=max_left_out)


def describe_dataset(data_dir: str | Path, dataset: str | None = None, name_pattern: str | None = None) -> str:
    """What a user should know about how the data set is read, in a line; "" where nothing is particular."""
    reader, place = find_reader(data_dir, dataset, name_pattern)
    return reader.list_split(place, TRAIN, outside_images=True).remark
