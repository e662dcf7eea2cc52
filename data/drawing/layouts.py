"""The official folder layouts in which data sets can be drawn."""

from typing import NamedTuple


class Layout(NamedTuple):
    """Folders and names of an official data set."""

    train: str
    query: str
    gallery: str
    max_cameras: int
    """The highest camera number that a name can hold."""
    unlabelled: float
    """Distractors, as a share of the gallery's labelled images; there are as many junk images."""
    lists: dict[str, str]
    """Text file -> the folder whose names it lists."""


LAYOUTS = {
    "market1501": Layout("bounding_box_train", "query", "bounding_box_test", 9, 0.1, {}),
    "veri": Layout(
        "image_train",
        "image_query",
        "image_test",
        999,
        0.0,
        {"name_train.txt": "image_train", "name_query.txt": "image_query", "name_test.txt": "image_test"},
    ),
}
