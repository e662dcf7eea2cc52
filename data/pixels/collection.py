"""All images of a place, with what their data set knows of them: a data set, any folder, or a list of paths.

found = read_collection("data/VeRi")
found.names[0], found.labels[0]  # "image_query/0002_c002_00030600_0.jpg", Label(identity=2, camera=2, split="query")
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data.pixels.bad_images import OnBadImage, leave_out_bad
from data.pixels.gallery import Label, images_below, labels_of
from data.sets.layouts import Reader
from data.sets.listing import GALLERY, MAX_LEFT_OUT, QUERY, TRAIN, USUAL_SUFFIXES, some_samples
from data.sets.readers import NoDataset, find_reader, reader_above
from data.system.errors import UserError

LIST_SUFFIXES = (".txt", ".lst", ".list")
"""Endings of files with a path in each line."""
MAXIMUM_LIST_BYTES = 2**30


class Collection(NamedTuple):
    """Images in an order: a data set's by split, otherwise by path; those of a list as it has them."""

    paths: list[str]
    """Absolute paths."""
    names: list[str]
    """The same, relative to the place; of a list, as it has them."""
    labels: list[Label | None]
    """What is known of each; None for an image that belongs to no data set."""
    left_out: list[str]
    """Images that cannot be decoded."""

    @property
    def shows_test_images(self) -> bool:
        """Whether some of them are known to be queries or to lie in a gallery."""
        return any(label is not None and label.split != TRAIN for label in self.labels)


def read_collection(
    place: str | Path,
    dataset: str | None = None,
    *,
    splits: Sequence[str] = (TRAIN, QUERY, GALLERY),
    name_pattern: str | None = None,
    outside_images: bool = False,
    max_left_out: float = MAX_LEFT_OUT,
    on_bad_image: OnBadImage = "stop",
    cache_dir: Path | None = None,
) -> Collection:
    """The images of these splits of the data set at `place`, as find_dataset finds it; all images below a folder
    without one; or those whose paths a text file lists, a line each, relative to its folder.

    `dataset` names the reader; None detects it. `name_pattern` is as in find_reader. Raises UserError, also where
    there are no images.
    """
    place = Path(place)
    labels: dict[str, Label] = {}
    if place.suffix.lower() in LIST_SUFFIXES and place.is_file():
        names = _listed(place)
        paths = [str(place.parent.absolute() / name) for name in names]
    else:
        try:
            reader, root = find_reader(place, dataset, name_pattern)
            found = dict.fromkeys(_of_dataset(reader, root, splits, outside_images, max_left_out))
            labels = labels_of(reader, root)
            root = root if root.is_dir() else root.parent
        except NoDataset:
            if dataset is not None:
                raise
            root, above = place, reader_above(place)
            found = dict.fromkeys(images_below(place, outside_images))
            labels = labels_of(*above) if above else {}
        paths = list(found)
        names = [os.path.relpath(path, os.path.realpath(root)) for path in paths]
    left_out = leave_out_bad(paths, on_bad_image, cache_dir=cache_dir)
    kept = [index for index, path in enumerate(paths) if path not in left_out]
    if not kept:
        why = "none can be decoded" if left_out else f"no images ({', '.join(USUAL_SUFFIXES)}, ...)"
        raise UserError(f"{place}: {why}")
    return Collection(
        [paths[index] for index in kept],
        [names[index] for index in kept],
        [labels.get(os.path.realpath(paths[index])) if labels else None for index in kept],
        sorted(left_out),
    )


def _of_dataset(
    reader: Reader, root: Path, splits: Sequence[str], outside_images: bool, max_left_out: float
) -> list[str]:
    listings = [reader.list_split(root, split, outside_images=outside_images) for split in splits]
    return [sample.path for listing in listings for sample in some_samples(listing, max_left_out)]


def _listed(file: Path) -> list[str]:
    try:
        if file.stat().st_size > MAXIMUM_LIST_BYTES:
            raise UserError(f"{file}: larger than 1 GiB; give a shorter list")
        lines = file.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    return [line.strip() for line in lines if line.strip()]
