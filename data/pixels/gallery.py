"""The images that a query is compared with: a data set's gallery, or any folder of images.

gallery = read_gallery("data/VeRi")
gallery.label(gallery.images[0])  # Label(identity=2, camera=3, split="gallery")
"""

import os
from pathlib import Path
from typing import NamedTuple

from data.pixels.bad_images import OnBadImage, leave_out_bad
from data.sets.layouts import Reader
from data.sets.listing import (
    DISTRACTOR,
    GALLERY,
    MAX_LEFT_OUT,
    QUERY,
    TRAIN,
    USUAL_SUFFIXES,
    is_foreign,
    is_image,
    refuse_outside,
    some_samples,
)
from data.sets.readers import NoDataset, find_reader, reader_above
from data.system.errors import UserError


class Label(NamedTuple):
    """What a data set knows about one of its images."""

    identity: int
    camera: int
    split: str
    """"train", "query" or "gallery"."""
    identity_name: str = ""
    """What the data set calls the identity, where that is no number of its own; so with the camera."""
    camera_name: str = ""

    @property
    def is_distractor(self) -> bool:
        """Whether it shows nobody whom the data set knows: two distractors need not be one person."""
        return self.identity == DISTRACTOR and self.split != TRAIN

    @property
    def who(self) -> str:
        """`identity 7`, as the data set's owner knows it, or `distractor`."""
        return "distractor" if self.is_distractor else f"identity {self.identity_name or self.identity}"

    @property
    def described(self) -> str:
        """`identity 7, camera 3`, as far as it is known."""
        return f"{self.who}, camera {self.camera_shown}" if self.camera_shown else self.who

    @property
    def camera_shown(self) -> str:
        """The camera, as the data set's owner knows it; "" where none is known."""
        return self.camera_name or (str(self.camera) if self.camera >= 0 else "")


class Gallery(NamedTuple):
    """The images to look through, and what their data set knows about all of its images."""

    images: list[str]
    """Absolute paths."""
    labels: dict[str, Label]
    """True path (links followed) -> label. Empty for a folder that is no data set and lies in none."""
    left_out: list[str]
    """Images that cannot be decoded."""

    def label(self, image: str | Path) -> Label | None:
        """What the gallery's data set knows about an image; None for an image from elsewhere."""
        return self.labels.get(os.path.realpath(image))


def read_gallery(
    folder: str | Path,
    dataset: str | None = None,
    *,
    name_pattern: str | None = None,
    outside_images: bool = False,
    max_left_out: float = MAX_LEFT_OUT,
    on_bad_image: OnBadImage = "stop",
    cache_dir: Path | None = None,
) -> Gallery:
    """The gallery of the data set in `folder`, as find_dataset finds it; all images below a folder without one, and all
    of a set that has no splits of its own.

    Labels are known for a data set, and for a folder in one (image_test, say). `dataset` names the reader; None
    detects it. Raises UserError, also where there are no images.
    """
    place = Path(folder)
    found: tuple[Reader, Path] | None
    try:
        found = reader, root = find_reader(place, dataset, name_pattern)
        listing = reader.list_split(root, GALLERY, outside_images=outside_images)
        images = [sample.path for sample in some_samples(listing, max_left_out)]
        if listing.split_is_drawn:
            training = reader.read_train(root, outside_images=outside_images, max_left_out=max_left_out)
            images = sorted({*images, *(sample.path for sample in training)})
    except NoDataset:
        if dataset is not None:
            raise
        found, images = reader_above(place), images_below(place, outside_images)
    left_out = leave_out_bad(images, on_bad_image, cache_dir=cache_dir)
    kept = [image for image in images if image not in left_out]
    if not kept:
        why = "none can be decoded" if left_out else f"no images ({', '.join(USUAL_SUFFIXES)}, ...)"
        raise UserError(f"gallery {place}: {why}")
    return Gallery(kept, labels_of(*found) if found else {}, sorted(left_out))


def images_below(folder: Path, outside_images: bool) -> list[str]:
    root, paths = folder.resolve(), list[str]()
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not is_foreign(name)]
        paths += [os.path.join(place, name) for name in names if is_image(name)]  # noqa: PTH118
    paths.sort()
    if not outside_images:
        for path in paths:
            refuse_outside(path, path, [str(root)])
    return paths


def labels_of(reader: Reader, root: Path) -> dict[str, Label]:
    """The labels of a data set's images, but for splits that cannot be read."""
    labels: dict[str, Label] = {}
    for split in (TRAIN, QUERY, GALLERY):
        try:
            listing = reader.list_split(root, split, outside_images=True)
        except UserError:
            continue
        people, cameras = listing.identity_names, listing.camera_names
        for path, identity, camera, _ in listing.samples:
            names = people.get(identity, ""), cameras.get(camera, "")
            labels[os.path.realpath(path)] = Label(identity, camera, split, *names)
    return labels
