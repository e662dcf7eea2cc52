"""Looks for a picture's likes in a gallery: a ranked table and a picture of it.

python -m reid_train.query --checkpoint DIR --gallery DIR --image FILE [--top 10]

Where the checkpoint lies in a study's folder and the picture tells right from wrong on test images, the study counts
it as an evaluation.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from data.system.errors import UserError, exit_on_user_error, printable
from data.system.options import add_image_options, image_options

if TYPE_CHECKING:
    import numpy as np

    from data.pixels.gallery import Gallery, Label


class Ranked(NamedTuple):
    """An image of the gallery, as near to the query as its place in the list says."""

    path: str
    similarity: float
    """Cosine, -1 to 1."""
    label: "Label | None"
    right: bool | None
    """Whether it shows the query's identity; None where that of either is not known."""


def rank(
    query: str | Path, query_D: "np.ndarray", gallery: "Gallery", gallery_ND: "np.ndarray"
) -> tuple[list[Ranked], int]:
    """The gallery's images, the most similar first, and how many of the query's own identity and camera are left out.

    Left out are also the query's own file, and what the evaluation leaves out: images by the camera that took it.
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


def print_ranking(ranked: Sequence[Ranked], title: str, folder: str) -> None:
    """The table, of paths from `folder`; identities, cameras and what is right only where they are known."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(title)))
    table.add_column("rank", justify="right")
    table.add_column("similarity", justify="right")
    known = any(image.label for image in ranked)
    for heading in ("identity", "camera", "right") if known else ():
        table.add_column(heading, justify="right")
    table.add_column("image", overflow="fold")
    for place, image in enumerate(ranked, start=1):
        label = image.label
        of_label = ["", "", ""]
        if label:
            right = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[image.right]
            of_label = [str(label.identity), str(label.camera), right]
        name = escape(printable(os.path.relpath(image.path, os.path.realpath(folder))))
        table.add_row(str(place), f"{image.similarity:.4f}", *(of_label if known else ()), name)
    Console().print(table)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m reid_train.query", description="Ranks a gallery's images by their similarity to a picture."
    )
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="checkpoint folder, e.g. results/NAME/best")
    parser.add_argument("--gallery", required=True, metavar="DIR", help="any folder of images, or a data set")
    parser.add_argument("--image", required=True, metavar="FILE", help="the picture whose likes are looked for")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="images that are shown; default: 10")
    parser.add_argument("--dataset", choices=("market1501", "veri", "manifest"), help="the reader; default: detected")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    add_image_options(parser)
    parser.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="where embeddings are kept; default: reid-tuning/pixels in $XDG_CACHE_HOME or ~/.cache",
    )
    parser.add_argument("--out", metavar="FILE", help="PNG file; default: results/query/NAME OF IMAGE.png")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    if arguments.top < 1:
        raise UserError(f"--top {arguments.top}: at least 1")
    from data.pixels.bad_images import describe_left_out
    from data.pixels.decoding import load_image
    from data.pixels.gallery import read_gallery

    load_image(arguments.image)  # before the gallery is embedded
    gallery = read_gallery(
        arguments.gallery, arguments.dataset, **image_options(arguments), cache_dir=arguments.cache_dir
    )
    if gallery.left_out:
        print(describe_left_out(gallery.left_out, "gallery"), flush=True)
    ranked, same_camera = look(arguments, gallery)
    if not ranked:
        raise UserError(f"gallery {arguments.gallery}: holds nothing that {arguments.image} can be compared with")
    shown, own = ranked[: arguments.top], gallery.label(arguments.image)
    counted = count_look(arguments.checkpoint, arguments.image, arguments.gallery, shown)
    known = f" (identity {own.identity}, camera {own.camera})" if own else ""
    print_ranking(shown, f"{Path(arguments.image).name}{known} in {arguments.gallery}", arguments.gallery)
    for line in _remarks(ranked, shown, same_camera, counted):
        print(line)
    from reid_train.plots import plot_ranking

    out = Path(arguments.out or f"results/query/{Path(arguments.image).stem}.png")
    try:
        plot_ranking(arguments.image, own, shown, out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}; choose another --out") from error
    print(printable(f"rank list: {out}"))


def look(arguments: argparse.Namespace, gallery: "Gallery") -> tuple[list[Ranked], int]:
    """`rank` of the command's image, with a line about what was embedded for it."""
    from data.pixels.decoding import UnreadableImage
    from data.pixels.digests import SKIP
    from reid_train.embed import embed_cached, load_model

    model = load_model(arguments.checkpoint, device=arguments.device)
    try:
        gallery_ND, computed = embed_cached(model, gallery.images, arguments.cache_dir)
    except UnreadableImage as error:
        raise UserError(f"{error}; {SKIP}") from error
    images = len(gallery.images)
    print(f"gallery: {images} images, {computed} embedded now, {images - computed} known before", flush=True)
    return rank(arguments.image, model.embed([arguments.image])[0], gallery, gallery_ND)


def count_look(checkpoint: str, image: str, gallery: str, shown: Sequence[Ranked]) -> str | None:
    """Has the checkpoint's study count a list that tells right from wrong on test images; gives what it has counted."""
    from data.sets.listing import TRAIN
    from reid_train.looks import describe_count, read_test_metrics, record_evaluation, study_of

    study = study_of(checkpoint)
    tested = any(row.right is not None and row.label and row.label.split != TRAIN for row in shown)
    if study is None or not tested:
        return None
    record_evaluation(study, f"query, {image} in {gallery}")
    return f"test images: {describe_count(read_test_metrics(study)['evaluations'])}"


def _remarks(ranked: Sequence[Ranked], shown: Sequence[Ranked], same_camera: int, counted: str | None) -> list[str]:
    lines = []
    if any(image.right is not None for image in shown):
        right, there = (sum(image.right is True for image in images) for images in (shown, ranked))
        lines.append(f"{right} of these {len(shown)} show the same identity, of {there} in the gallery")
    if same_camera:
        lines.append(f"left out, as in the evaluation: {same_camera} of the same identity and camera")
    return [*lines, *([counted] if counted else [])]


if __name__ == "__main__":
    main()
