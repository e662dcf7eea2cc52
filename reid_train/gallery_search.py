"""Searches a gallery for a picture's likes, says what was found, and has the study count it.

ranked, same_camera = search("results/sample/best", "mine.jpg", read_gallery("data/sample"))
"""

from collections.abc import Sequence
from pathlib import Path

from data.pixels.decoding import UnreadableImage
from data.pixels.digests import SKIP
from data.pixels.gallery import Gallery
from data.sets.listing import TRAIN
from data.system.errors import UserError
from reid_train.embed import embed_cached, load_model
from reid_train.evaluation_count import describe_count, read_test_metrics, record_evaluation, study_of
from reid_train.ranking import Ranked, rank


def search(
    checkpoint: str, image: str, gallery: Gallery, *, device: str = "auto", cache_dir: Path | None = None
) -> tuple[list[Ranked], int]:
    """`rank` of the image by the checkpoint's model; prints a line about what was embedded for it."""
    model = load_model(checkpoint, device=device)
    try:
        gallery_ND, computed = embed_cached(model, gallery.images, cache_dir)
    except UnreadableImage as error:
        raise UserError(f"{error}; {SKIP}") from error
    images = len(gallery.images)
    print(f"gallery: {images} images, {computed} embedded now, {images - computed} known before", flush=True)
    return rank(image, model.embed([image])[0], gallery, gallery_ND)


def count_search(checkpoint: str, image: str, gallery: str, shown: Sequence[Ranked]) -> list[str]:
    """Has the checkpoint's study count a list that tells right from wrong on test images; a line about the count."""
    study = study_of(checkpoint)
    tested = any(row.right is not None and row.label and row.label.split != TRAIN for row in shown)
    if study is None or not tested:
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
