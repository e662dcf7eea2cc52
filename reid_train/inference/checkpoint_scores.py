"""How well a model retrieves, a checkpoint's or an exported file's: on query and gallery images, and on the validation
images of its training.

metrics = evaluate_checkpoint("results/sample/best", query, gallery, flip_tta=True)
summary(metrics)["mAP"]  # reid_train/measure/scores.py
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from data.pixels.cache import Pixels, open_pixels
from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.wording import open_console
from reid_train.checkpoints.checkpoint import WEIGHTS, load_network, recorded_digest
from reid_train.inference.exported import ExportedEmbedder, GivenInput, is_exported
from reid_train.measure.features import BATCH, as_images, extract_features
from reid_train.measure.metrics import RetrievalMetrics
from reid_train.measure.scores import COUNTS, LABELS, score
from reid_train.model.device import choose_device, choose_precision, place, precision_in_use
from reid_train.training.inputs import Pictures
from reid_train.training.validation import retrieve


def evaluate_checkpoint(
    checkpoint: str | Path,
    query: Sequence[Sample],
    gallery: Sequence[Sample],
    *,
    flip_tta: bool = False,
    rerank: bool = False,
    device: str = "auto",
    num_threads: int | None = None,
    cache_dir: Path | None = None,
    limit_bytes: int | None = None,
    given: GivenInput | None = None,
) -> RetrievalMetrics:
    """Evaluates the model of a checkpoint folder, or of an exported file, on query and gallery images.

    `given` says of a foreign file's input what it does not say itself. Raises UserError.
    """
    if num_threads:
        torch.set_num_threads(num_threads)
    cache: dict[str, Any] = {"cache_dir": cache_dir, "limit_bytes": limit_bytes}
    if is_exported(checkpoint):
        exported = ExportedEmbedder(checkpoint, device=device, given=given)
        return evaluate_exported(exported, query, gallery, flip_tta=flip_tta, rerank=rerank, **cache)
    model, loaded = load_network(checkpoint)
    config = loaded.config
    where = choose_device(device)
    place(model, where)
    samples = [*query, *gallery]
    pixels = open_pixels(samples, height=config.image_height, width=config.image_width, **cache)
    precision = precision_in_use(config.precision, where)
    feature_ND = extract_features(model, pixels, samples, device=where, precision=precision, flip_tta=flip_tta)
    with torch.inference_mode():
        return score(model.neck(feature_ND), query, gallery, rerank=rerank)


def evaluate_exported(
    model: ExportedEmbedder,
    query: Sequence[Sample],
    gallery: Sequence[Sample],
    *,
    flip_tta: bool = False,
    rerank: bool = False,
    cache_dir: Path | None = None,
    limit_bytes: int | None = None,
) -> RetrievalMetrics:
    """`evaluate_checkpoint` of an exported file that is open."""
    samples = [*query, *gallery]
    size = {"height": model.image_height, "width": model.image_width}
    pixels = open_pixels(samples, **size, cache_dir=cache_dir, limit_bytes=limit_bytes)
    embedding_ND = torch.cat(
        [
            model.of_images(as_images(pixels.read([sample.path for sample in batch])), flip_tta=flip_tta)
            for batch in (samples[start : start + BATCH] for start in range(0, len(samples), BATCH))
        ]
    )
    return score(embedding_ND, query, gallery, rerank=rerank)


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
    """The figures as a table, in percent."""
    table = Table(title=title)
    table.add_column("metric")
    table.add_column("test", justify="right")
    table.add_column("95 % interval", justify="right")
    intervals = figures["intervals"] or {}
    for key, label in LABELS.items():
        value = str(figures[key]) if key in COUNTS else f"{100 * figures[key]:.2f} %"
        table.add_row(label, value, " to ".join(f"{100 * bound:.2f}" for bound in intervals.get(key, ())))
    open_console().print(table)
