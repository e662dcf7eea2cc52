"""VeRi-776: image_train, image_query and image_test, named like 0001_c001_00016450_0.jpg.

Where name_train.txt, name_query.txt and name_test.txt lie beside the folders, only the images they list count
(Liu et al., ICME 2016). Some copies hold 37,746 training images of 575 identities, published are 37,778 of 576.
"""

import re
from pathlib import Path

from data.sets.listing import GALLERY, QUERY, TRAIN, Listing, list_folder, samples_of
from data.sets.samples import Sample
from data.system.errors import UserError

FOLDERS = {TRAIN: "image_train", QUERY: "image_query", GALLERY: "image_test"}
NAME_LISTS = {TRAIN: "name_train.txt", QUERY: "name_query.txt", GALLERY: "name_test.txt"}
NAME = re.compile(r"(?P<identity>\d{1,18})_c(?P<camera>\d{1,18})_", re.ASCII)
PUBLISHED = {TRAIN: (37_778, 576), QUERY: (1_678, 200), GALLERY: (11_579, 200)}
"""Images and identities as published."""


def is_here(directory: Path) -> bool:
    """Whether `directory` is laid out like VeRi-776."""
    return (directory / FOLDERS[TRAIN]).is_dir()


def list_split(directory: Path, split: str, *, outside_images: bool = False) -> Listing:
    """Everything in one split: "train", "query" or "gallery"."""
    name_list = directory / NAME_LISTS[split]
    names = None
    if name_list.is_file():
        try:
            lines = name_list.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        except OSError as error:
            raise UserError(f"{name_list}: cannot be read: {error.strerror}") from error
        names = [line.strip() for line in lines if line.strip()]
    return list_folder(directory / FOLDERS[split], NAME, names=names, outside_images=outside_images)


def read_train(directory: Path, *, outside_images: bool = False) -> list[Sample]:
    """The training images. Raises UserError when the folder is missing or holds none."""
    return samples_of(list_split(directory, TRAIN, outside_images=outside_images))


def read_test(directory: Path, *, outside_images: bool = False) -> tuple[list[Sample], list[Sample]]:
    """Query and gallery images. Raises UserError when a folder is missing or holds none."""
    query, gallery = (list_split(directory, split, outside_images=outside_images) for split in (QUERY, GALLERY))
    return samples_of(query), samples_of(gallery)
