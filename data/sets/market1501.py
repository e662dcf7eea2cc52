"""Market-1501: bounding_box_train, query and bounding_box_test, named like 0002_c1s1_000451_03.jpg.

Official protocol (Zheng et al., ICCV 2015): identity -1 is junk and is dropped, identity 0 is a distractor
and stays in the gallery; the camera is read from the name. gt_bbox and gt_query are not used.
"""

import re
from pathlib import Path

from data.sets.listing import GALLERY, QUERY, TRAIN, Listing, list_folder, samples_of
from data.sets.samples import Sample

FOLDERS = {TRAIN: "bounding_box_train", QUERY: "query", GALLERY: "bounding_box_test"}
NAME = re.compile(r"(?P<identity>-1|\d{4})_c(?P<camera>\d)s\d+_\d+_\d+", re.ASCII)
PUBLISHED = {TRAIN: (12_936, 751), QUERY: (3_368, 750), GALLERY: (15_913, 751)}
"""Images and identities (the gallery's with 0) as published, junk left out."""


def is_here(directory: Path) -> bool:
    """Whether `directory` is laid out like Market-1501."""
    return (directory / FOLDERS[TRAIN]).is_dir()


def list_split(directory: Path, split: str, *, outside_images: bool = False) -> Listing:
    """Everything in one split: "train", "query" or "gallery"."""
    return list_folder(directory / FOLDERS[split], NAME, junk_identity=-1, outside_images=outside_images)


def read_train(directory: Path, *, outside_images: bool = False) -> list[Sample]:
    """The training images. Raises UserError when the folder is missing or holds none."""
    return samples_of(list_split(directory, TRAIN, outside_images=outside_images))


def read_test(directory: Path, *, outside_images: bool = False) -> tuple[list[Sample], list[Sample]]:
    """Query and gallery images. Raises UserError when a folder is missing or holds none."""
    query, gallery = (list_split(directory, split, outside_images=outside_images) for split in (QUERY, GALLERY))
    return samples_of(query), samples_of(gallery)
