"""VeRi-776: image_train, image_query and image_test, named like 0001_c001_00016450_0.jpg.

Where name_train.txt, name_query.txt and name_test.txt lie beside the folders, only the images they list count
(Liu et al., ICME 2016). Some copies hold 37,746 training images of 575 identities, published are 37,778 of 576.
"""

import re
from pathlib import Path

from data.listing import GALLERY, QUERY, TRAIN, Listing, list_folder, samples_of
from data.samples import Sample

FOLDERS = {TRAIN: "image_train", QUERY: "image_query", GALLERY: "image_test"}
NAME_LISTS = {TRAIN: "name_train.txt", QUERY: "name_query.txt", GALLERY: "name_test.txt"}
NAME = re.compile(r"(?P<identity>\d+)_c(?P<camera>\d+)_")
PUBLISHED = {TRAIN: (37_778, 576), QUERY: (1_678, 200), GALLERY: (11_579, 200)}
"""Images and identities as published."""


def is_here(directory: Path) -> bool:
    """Whether `directory` is laid out like VeRi-776."""
    return (directory / FOLDERS[TRAIN]).is_dir()


def list_split(directory: Path, split: str) -> Listing:
    """Everything in one split: "train", "query" or "gallery"."""
    name_list = directory / NAME_LISTS[split]
    names = None
    if name_list.is_file():
        lines = name_list.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        names = [line.strip() for line in lines if line.strip()]
    return list_folder(directory / FOLDERS[split], NAME, names=names)


def read_train(directory: Path) -> list[Sample]:
    """The training images. Raises UserError when the folder is missing or holds none."""
    return samples_of(list_split(directory, TRAIN))


def read_test(directory: Path) -> tuple[list[Sample], list[Sample]]:
    """Query and gallery images. Raises UserError when a folder is missing or holds none."""
    return samples_of(list_split(directory, QUERY)), samples_of(list_split(directory, GALLERY))
