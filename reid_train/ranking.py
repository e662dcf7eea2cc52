"""A gallery's images in the order of their similarity to a picture. Imports no torch.

ranked, same_camera = rank("mine.jpg", query_D, gallery, gallery_ND)
ranked[0].path, ranked[0].similarity, ranked[0].right
"""

# N images of the gallery, D embedding width

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.pixels.gallery import Gallery, Label


class Ranked(NamedTuple):
    """An image of the gallery."""

    path: str
    similarity: float
    """Cosine with the query, -1 to 1."""
    label: Label | None
    right: bool | None
    """Whether it shows the query's identity; None where that of either is not known."""


def rank(query: str | Path, query_D: np.ndarray, gallery: Gallery, gallery_ND: np.ndarray) -> tuple[list[Ranked], int]:
    """The gallery's images, the most similar first, and how many of the query's own identity and camera are left out.

    The query's own file is left out too, and so are, as in the evaluation, other images of its identity by its camera.
    """
    own, true = gallery.label(query), Path(query).resolve()
    ranked, same_camera = [], 0
    for path, similarity in zip(gallery.images, gallery_ND @ query_D, strict=True):
        label = gallery.label(path)
        right = own.identity == label.identity if own and label else None
        if Path(path).resolve() == true:
            continue
        if right and own and label and own.camera == label.camera:
            same_camera += 1
        else:
            ranked.append(Ranked(path, float(similarity), label, right))
    return sorted(ranked, key=lambda image: -image.similarity), same_camera
