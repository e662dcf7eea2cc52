"""What an 8-bit model loses and gains against the float32 one: embeddings, mAP on validation identities, size, time.

report = compare(ExportedEmbedder("model.onnx"), ExportedEmbedder("model-int8.onnx"), images, data)
for line in report.lines(most_loss=0.01):
    print(line)
"""

# N images, Q queries, D embedding width

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from data.pixels.decoding import decode
from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.threads import in_threads
from reid_train.inference.exported import ExportedEmbedder
from reid_train.measure.features import as_images
from reid_train.measure.intervals import bootstrap_intervals
from reid_train.measure.scores import score

MOST_IMAGES = 2000
"""Validation images that are embedded twice; of more, those of the first identities are."""
PASSES, WARM_UP = 30, 3


class Loss(NamedTuple):
    """The mAP on validation identities."""

    before: float
    after: float
    interval: tuple[float, float] | None
    """95 % of before - after, over identities; None with one identity."""
    identities: int
    seen: int
    """How many of these identities the model was trained on: of them the mAP tells little."""


class Report(NamedTuple):
    """One comparison."""

    bytes: tuple[int, int]
    """Of the files, before and after; so with the other pairs."""
    images: int
    mean_difference: float
    """1 - cosine of an image's two embeddings."""
    largest_difference: float
    loss: Loss | None
    """None where the validation images are not there."""
    passes_ms: tuple[list[float], list[float]]
    """Each pass of one image."""

    def lines(self, most_loss: float) -> list[str]:
        """The report for people; the last line warns where the mAP falls by more than `most_loss`."""
        before, after = (f"{size / 1e6:.1f} MB" for size in self.bytes)
        lines = [
            f"size   {before} before, {after} after",
            f"1 - cosine of the embeddings before and after, {self.images} images: mean {self.mean_difference:.2g}, "
            f"largest {self.largest_difference:.2g}",
        ]
        if self.loss is not None:
            lines += _lines_of_loss(self.loss)
        was, now = (_milliseconds(passes) for passes in self.passes_ms)
        threads = torch.get_num_threads()
        lines.append(
            f"time   one image on this CPU, {threads} thread{'s' * (threads > 1)}, median of {len(self.passes_ms[0])} "
            f"passes by turns (the middle half): {was} before, {now} after"
        )
        if self.loss is not None and self.loss.before - self.loss.after > most_loss:
            lines.append(
                f"warning: the mAP falls by {self.loss.before - self.loss.after:.3f}, more than {most_loss:g} "
                "(--most-loss): keep the float32 file, calibrate with more pictures, or try the other way of --int8"
            )
        return lines

    def as_record(self) -> dict[str, object]:
        """For the file's description."""
        loss = self.loss
        return {
            "mean_difference": self.mean_difference,
            "largest_difference": self.largest_difference,
            "validation": None if loss is None else {"mAP_float32": loss.before, "mAP_int8": loss.after},
        }


def compare(
    before: ExportedEmbedder,
    after: ExportedEmbedder,
    files: tuple[Path, Path],
    images: Sequence[str],
    data: TrainingData | None,
    trained_on: Sequence[int] = (),
) -> Report:
    """Compares on the validation images of `data`, where they are there, else on `images`."""
    query, gallery = ([], []) if data is None else some_of(data)
    paths = [sample.path for sample in (*query, *gallery)] or list(images)
    one_ND, other_ND = (torch.from_numpy(model.embed(paths)) for model in (before, after))
    difference_N = 1 - (one_ND.double() * other_ND.double()).sum(dim=1)
    loss = None
    if query:
        was, now = (score(embedding_ND, query, gallery) for embedding_ND in (one_ND, other_ND))
        fall_Q1 = (was.average_precision - now.average_precision).double().numpy()[:, None]
        bounds = bootstrap_intervals(fall_Q1, was.identity.numpy())
        identities = {sample.identity for sample in gallery}
        interval = None if bounds is None else (float(bounds[0, 0]), float(bounds[0, 1]))
        loss = Loss(was.mAP, now.mAP, interval, len(identities), len(identities.intersection(trained_on)))
    return Report(
        (files[0].stat().st_size, files[1].stat().st_size),
        len(paths),
        difference_N.mean().item(),
        difference_N.max().item(),
        loss,
        _by_turns(before, after, paths[0]),
    )


def some_of(data: TrainingData) -> tuple[list[Sample], list[Sample]]:
    """Validation queries and gallery, of as many identities as make at most MOST_IMAGES images, but of one at least."""
    counts: dict[int, int] = {}
    for sample in (*data.query, *data.gallery):
        counts[sample.identity] = counts.get(sample.identity, 0) + 1
    sums = dict(zip(counts, np.cumsum(list(counts.values())), strict=True))
    chosen = {identity for identity, total in sums.items() if total <= max(MOST_IMAGES, counts[next(iter(counts))])}
    query, gallery = ([sample for sample in side if sample.identity in chosen] for side in (data.query, data.gallery))
    return query, gallery


def calibration_batches(model: ExportedEmbedder, images: Sequence[str], size: int = 8) -> list[np.ndarray]:
    """The images as the file takes them, in batches."""
    pixels = list(in_threads(lambda path: decode(path, model.image_height, model.image_width), images))
    parts = (pixels[start : start + size] for start in range(0, len(pixels), size))
    return [model.wanted.of(as_images(np.stack(part)).contiguous()).numpy() for part in parts]


def _by_turns(before: ExportedEmbedder, after: ExportedEmbedder, path: str) -> tuple[list[float], list[float]]:
    pixels = decode(path, before.image_height, before.image_width)
    image = as_images(pixels[None].copy()).contiguous()
    passes = list[float](), list[float]()
    for number in range(WARM_UP + PASSES):
        for model, found in zip((before, after), passes, strict=True):
            begin = time.perf_counter()
            model.of_images(image)
            if number >= WARM_UP:
                found.append(1000 * (time.perf_counter() - begin))
    return passes


def _milliseconds(passes: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(passes, n=4)
    return f"{middle:.1f} ms ({low:.1f} to {high:.1f})"


def _lines_of_loss(loss: Loss) -> list[str]:
    interval = (
        "" if loss.interval is None else f" (95 % over identities: {loss.interval[0]:.3f} to {loss.interval[1]:.3f})"
    )
    lines = [
        f"mAP    on {loss.identities} validation identities, not the test images: {loss.before:.3f} before, "
        f"{loss.after:.3f} after, before minus after {loss.before - loss.after:.3f}{interval}"
    ]
    if loss.seen:
        lines.append(
            f"       it was trained on {loss.seen} of these {loss.identities} identities: it tells little of others"
        )
    return lines
