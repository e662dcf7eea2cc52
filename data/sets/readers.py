"""Finds the data set that a path means, and reads its training or its test images: never both at once."""

import os
from pathlib import Path
from types import ModuleType

from data.sets import manifest, market1501, veri
from data.sets.samples import Sample
from data.system.errors import UserError, printable

READERS: dict[str, ModuleType] = {"market1501": market1501, "veri": veri, "manifest": manifest}
MAXIMUM_SHOWN = 300
"""Letters of a path that a message repeats."""


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
        raise UserError(f"data_dir {shown}: no such folder; point data_dir at the data set or its parent folder")
    names = [dataset] if dataset else list(READERS)
    try:
        places = [root, *(sorted(child for child in root.iterdir() if child.is_dir()) if root.is_dir() else [])]
        here = [(name, root) for name in names if READERS[name].is_here(root)]
        found = here or [(name, place) for place in places for name in names if READERS[name].is_here(place)]
    except OSError as error:
        raise UserError(f"data_dir {shown}: cannot be read: {error.filename}: {error.strerror}") from error
    if len(found) == 1:
        return found[0]
    if dataset == "manifest" and not found:
        return dataset, manifest.find_manifest(root)
    if found:
        listed = ", ".join(f"{place.name} ({name})" for name, place in found)
        raise UserError(f"data_dir {shown} holds several data sets: {listed}; point at one or set dataset")
    kinds = [f"{FOLDERS['train']}/ ({name})" for name in names if (FOLDERS := getattr(READERS[name], "FOLDERS", None))]
    empty = " is empty:" if root.is_dir() and not any(root.iterdir()) else ""
    raise NoDataset(f"data_dir {shown}{empty} holds no data set; looked for {', '.join([*kinds, 'manifest.csv'])}")


def read_train(data_dir: str | Path, dataset: str | None = None, *, outside_images: bool = False) -> list[Sample]:
    """The training images of the data set at `data_dir`.

    Those that lie outside of its folder (by a link, or a manifest's path) raise UserError without `outside_images`.
    """
    name, place = find_dataset(data_dir, dataset)
    samples: list[Sample] = READERS[name].read_train(place, outside_images=outside_images)
    return samples


def read_test(
    data_dir: str | Path, dataset: str | None = None, *, outside_images: bool = False
) -> tuple[list[Sample], list[Sample]]:
    """Query and gallery images of the data set at `data_dir`; `outside_images` as in `read_train`."""
    name, place = find_dataset(data_dir, dataset)
    query, gallery = READERS[name].read_test(place, outside_images=outside_images)
    return query, gallery
