"""Searches a gallery for a picture's likes: a ranking as a table and as a picture, counted by the model's study.

ranked, same_camera, threshold = search("results/sample/best", "mine.jpg", read_gallery("data/sample"))
ranked[0].path, ranked[0].similarity, ranked[0].right
"""

# N images of the gallery, D embedding width

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from data.pixels.decoding import UnreadableImage, load_image
from data.pixels.digests import SKIP
from data.pixels.gallery import Gallery, Label
from data.sets.listing import TRAIN
from data.system.errors import UserError, printable
from data.system.wording import open_console
from reid_train.inference.embedder import embed_cached, open_model
from reid_train.inference.evaluation_count import (
    describe_count,
    read_test_metrics,
    record_evaluation,
    study_tested_on,
)
from reid_train.inference.threshold import Threshold, false_ones
from reid_train.training.plots import STYLE, save_figure

FRAMES = {True: "#16a34a", False: "#dc2626", None: "#9ca3af"}
"""Frame of an image that shows the query's identity, another one, or one that is not known."""
RANKS_A_ROW = 10
LETTERS = 24
"""How much of an identity's name is written above an image."""
THUMBNAIL = 256
"""Pixels of an image's longer side."""


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
        right = own.identity == label.identity if own and label and not own.is_distractor else None
        if Path(path).resolve() == true:
            continue
        if right and own and label and own.camera == label.camera:
            same_camera += 1
        else:
            ranked.append(Ranked(path, float(similarity), label, right))
    return sorted(ranked, key=lambda image: -image.similarity), same_camera


def search(
    checkpoint: str | Path, image: str, gallery: Gallery, *, device: str = "auto", cache_dir: Path | None = None
) -> tuple[list[Ranked], int, Threshold | None]:
    """`rank` of the image by the checkpoint's model, and the model's thresholds; prints a line about what was embedded
    for it."""
    model = open_model(checkpoint, device=device)
    try:
        gallery_ND, computed = embed_cached(model, gallery.images, cache_dir)
    except UnreadableImage as error:
        raise UserError(f"{error}; {SKIP}") from error
    images = len(gallery.images)
    print(f"gallery: {images} images, {computed} embedded now, {images - computed} known before", flush=True)
    return *rank(image, model.embed([image])[0], gallery, gallery_ND), model.threshold


def count_search(
    checkpoint: str, image: str, gallery: str, shown: Sequence[Ranked], cache_dir: Path | None = None
) -> list[str]:
    """Has the checkpoint's study count a list that tells right from wrong on its test images; a line about the
    count."""
    tested = [row.path for row in shown if row.right is not None and row.label and row.label.split != TRAIN]
    study = study_tested_on(checkpoint, tested, cache_dir)
    if study is None:
        return []
    record_evaluation(study, f"query, {image} in {gallery}")
    return [f"test images: {describe_count(read_test_metrics(study)['evaluations'])}"]


def remarks(ranked: Sequence[Ranked], shown: Sequence[Ranked], same_camera: int) -> list[str]:
    """How many of the shown images are right, and what was left out, as far as that is known."""
    lines = []
    if any(image.right is not None for image in shown):
        right, there = (sum(image.right is True for image in images) for images in (shown, ranked))
        lines.append(f"{right} of these {len(shown)} show the same identity, of {there} in the gallery")
    if same_camera:
        lines.append(f"left out, as in the evaluation: {same_camera} of the same identity and camera")
    return lines


def print_ranking(ranked: Sequence[Ranked], title: str, folder: str, threshold: Threshold | None = None) -> None:
    """The table, of paths from `folder`; identities, cameras, what is right and what is the same by the model's
    threshold only where they are known."""
    table = Table(title=printable(title))
    table.add_column("rank", justify="right")
    table.add_column("similarity", justify="right")
    if threshold:
        table.add_column("same")
    known = any(image.label for image in ranked)
    for heading in ("identity", "camera", "right") if known else ():
        table.add_column(heading, justify="right")
    table.add_column("image", overflow="fold")
    for place, image in enumerate(ranked, start=1):
        label = image.label
        of_label: list[str | Text] = ["", "", ""]
        if label:
            right = {True: Text("yes", "green"), False: Text("no", "red"), None: Text()}[image.right]
            of_label = [label.who.removeprefix("identity "), label.camera_shown, right]
        reached = threshold.reached(image.similarity) if threshold else None
        same = () if threshold is None else (false_ones(reached) if reached else "no",)
        name = printable(os.path.relpath(image.path, os.path.realpath(folder)))
        table.add_row(str(place), f"{image.similarity:.4f}", *same, *(of_label if known else ()), name)
    open_console().print(table)


class RankList(NamedTuple):
    """A query and what was ranked for it, to be drawn."""

    query: str | Path
    title: str
    ranked: Sequence[Ranked]


def plot_ranking(query: str | Path, label: Label | None, ranked: Sequence[Ranked], file: str | Path) -> None:
    """The query, and beside it the ranked images with their similarity; framed green where right and red where not."""
    plot_rank_lists([RankList(query, f"query{_identity(label)}", ranked)], file)


def plot_rank_lists(lists: Sequence[RankList], file: str | Path) -> None:
    """Several rank lists, one below the other; there must be one at least."""
    columns = 1 + min(max(len(one.ranked) for one in lists), RANKS_A_ROW)
    rows = [max(1, -(-len(one.ranked) // RANKS_A_ROW)) for one in lists]
    thumbnails = [[_thumbnail(path) for path in (one.query, *(image.path for image in one.ranked))] for one in lists]
    tallest = max(thumbnail.height / thumbnail.width for of_list in thumbnails for thumbnail in of_list)
    with matplotlib.rc_context(STYLE):
        size = (1.25 * columns, sum(rows) * (1.25 * min(tallest, 3) + 0.55))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(sum(rows), columns, squeeze=False)
        for panel in axes.flat:
            panel.set_axis_off()
        for number, (one, of_list) in enumerate(zip(lists, thumbnails, strict=True)):
            first = sum(rows[:number])
            _frame(axes[first, 0], of_list[0], "#111827", one.title)
            for place, (image, thumbnail) in enumerate(zip(one.ranked, of_list[1:], strict=True)):
                panel = axes[first + place // RANKS_A_ROW, 1 + place % RANKS_A_ROW]
                title = f"{place + 1}: {image.similarity:.3f}{_identity(image.label)}"
                _frame(panel, thumbnail, FRAMES[image.right], title)
        save_figure(figure, file)


def _identity(label: Label | None) -> str:
    return f"\n{label.who[:LETTERS]}" if label else ""


def _thumbnail(path: str | Path) -> Any:
    image = load_image(path)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return image


def _frame(panel: Axes, image: Any, colour: str, title: str) -> None:
    panel.set_axis_on()
    panel.grid(False)
    panel.set(xticks=[], yticks=[])
    panel.imshow(image)
    for spine in panel.spines.values():
        spine.set(visible=True, color=colour, linewidth=4)
    panel.set_title(title, fontsize=8, fontweight="normal", parse_math=False)
