"""How well a model retrieves, a checkpoint's or an exported file's: on query and gallery images, and on the validation
images of its training.

figures = evaluate_tests("results/sample/best", read_test_sets("data/VeRi"), flip_tta=True)
figures["mAP"]  # reid_train/measure/scores.py
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from data.pixels.cache import Pixels, open_pixels
from data.sets.protocol import TestSet, images_of
from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.wording import open_console
from reid_train.checkpoints.checkpoint import WEIGHTS, load_network, recorded_digest
from reid_train.inference.exported import ExportedEmbedder, GivenInput, is_exported
from reid_train.measure.features import BATCH, as_images, extract_features
from reid_train.measure.metrics import RetrievalMetrics
from reid_train.measure.scores import COUNTS, LABELS, score, score_tests
from reid_train.model.device import choose_device, choose_precision, place, precision_in_use
from reid_train.training.inputs import Pictures
from reid_train.training.validation import retrieve


def evaluate_tests(
    checkpoint: str | Path, tests: Sequence[TestSet], *, rerank: bool = False, **how: Any
) -> dict[str, Any]:
    """The figures of the model of a checkpoint folder, or of an exported file, as `score_tests` gives them. `how` is as
    in `embed_for_scores`. Raises UserError."""
    images = images_of(tests)
    embedding_ND = embed_for_scores(checkpoint, images, **how)
    with torch.inference_mode():
        return score_tests(embedding_ND, images, tests, rerank=rerank)


def evaluate_checkpoint(
    checkpoint: str | Path, query: Sequence[Sample], gallery: Sequence[Sample], *, rerank: bool = False, **how: Any
) -> RetrievalMetrics:
    """The metrics of one query and one gallery; the rest as in `evaluate_tests`."""
    embedding_ND = embed_for_scores(checkpoint, [*query, *gallery], **how)
    with torch.inference_mode():
        return score(embedding_ND, query, gallery, rerank=rerank)


def embed_for_scores(
    checkpoint: str | Path,
    images: Sequence[Sample],
    *,
    flip_tta: bool = False,
    device: str = "auto",
    num_threads: int | None = None,
    cache_dir: Path | None = None,
    limit_bytes: int | None = None,
    given: GivenInput | None = None,
) -> torch.Tensor:
    """Embeddings (N x D) by the model of a checkpoint folder, or of an exported file.

    `given` says of a foreign file's input what it does not say itself. Raises UserError.
    """
    if num_threads:
        torch.set_num_threads(num_threads)
    cache: dict[str, Any] = {"cache_dir": cache_dir, "limit_bytes": limit_bytes}
    if is_exported(checkpoint):
        exported = ExportedEmbedder(checkpoint, device=device, given=given)
        return embed_with_exported(exported, images, flip_tta=flip_tta, **cache)
    model, loaded = load_network(checkpoint)
    config = loaded.config
    where = choose_device(device)
    place(model, where)
    pixels = open_pixels(images, height=config.image_height, width=config.image_width, **cache)
    precision = precision_in_use(config.precision, where)
    feature_ND = extract_features(model, pixels, images, device=where, precision=precision, flip_tta=flip_tta)
    with torch.inference_mode():
        return model.neck(feature_ND)


def embed_with_exported(
    model: ExportedEmbedder,
    images: Sequence[Sample],
    *,
    flip_tta: bool = False,
    cache_dir: Path | None = None,
    limit_bytes: int | None = None,
) -> torch.Tensor:
    """`embed_for_scores` by an exported file that is open."""
    size = {"height": model.image_height, "width": model.image_width}
    pixels = open_pixels(images, **size, cache_dir=cache_dir, limit_bytes=limit_bytes)
    return torch.cat(
        [
            model.of_images(as_images(pixels.read([image.path for image in batch])), flip_tta=flip_tta)
            for batch in (images[start : start + BATCH] for start in range(0, len(images), BATCH))
        ]
    )


def weights_of(checkpoint: str | Path) -> str | None:
    """The digest of its weights that a checkpoint states; None of an exported file."""
    place = Path(checkpoint)
    return recorded_digest(place / WEIGHTS if place.is_dir() else place)


def validation_metrics(folder: str | Path, data: TrainingData, pixels: Pixels) -> RetrievalMetrics:
    """Each validation query's figures, by the checkpoint in `folder`, computed as its configuration says."""
    model, loaded = load_network(folder)
    config = loaded.config
    device = choose_device(config.device)
    pixels = pixels.at(config.image_height, config.image_width)
    inputs = Pictures(pixels, device, choose_precision(config.precision, device))
    with torch.inference_mode():
        return retrieve(model.to(device), data, inputs)[1]


def print_summary(figures: dict[str, Any], title: str) -> None:
    """The figures of each test set as a table, in percent, and the protocol."""
    for name, of_test in figures.get("test_sets", {"": figures}).items():
        table = Table(title=f"{title}, test set {name}" if name else title)
        table.add_column("metric")
        table.add_column("test", justify="right")
        if "sd" in of_test:
            table.add_column("sd of the draws", justify="right")
        table.add_column("95 % interval", justify="right")
        intervals = of_test["intervals"] or {}
        for key, label in LABELS.items():
            value = str(of_test[key]) if key in COUNTS else f"{100 * of_test[key]:.2f} %"
            spread = [f"{100 * of_test['sd'][key]:.2f}" if key in of_test["sd"] else ""] if "sd" in of_test else []
            table.add_row(label, value, *spread, " to ".join(f"{100 * bound:.2f}" for bound in intervals.get(key, ())))
        open_console().print(table)
        if "protocol" in of_test:
            open_console().print(f"protocol: {of_test['protocol']}", soft_wrap=True)
