"""Weights -> features -> retrieval metrics.

python -m reid_train.evaluate --checkpoint DIR --data-dir DIR [--flip-tta] [--rerank]

Where the checkpoint lies in a study's folder, the study counts the evaluation.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.system.errors import UserError, exit_on_user_error
from data.system.options import add_cache_options, add_image_options, cache_options, image_options

if TYPE_CHECKING:
    import torch

    from data.pixels.cache import Pixels
    from data.sets.samples import Sample
    from reid_train.frozen import FrozenFeatures
    from reid_train.measure.metrics import RetrievalMetrics
    from reid_train.model.network import ReIDModel

EVALUATION_BATCH = 128
"""Images a forward pass without gradients."""


def extract_features(
    model: "ReIDModel",
    pixels: "Pixels",
    samples: "Sequence[Sample]",
    *,
    device: "torch.device",
    precision: "torch.dtype",
    flip_tta: bool = False,
    frozen: "FrozenFeatures | None" = None,
) -> "torch.Tensor":
    """Features before the BNNeck (images x D, float32, on `device`); `model.neck` turns them into embeddings.

    With `flip_tta` each is the mean of the picture's and its mirror image's. With `frozen` nothing is read but that.
    Leaves the model in evaluation mode.
    """
    import torch

    model.eval()
    parts = []
    with torch.inference_mode(), torch.autocast(device.type, precision, enabled=precision != torch.float32):
        for start in range(0, len(samples), EVALUATION_BATCH):
            paths = [sample.path for sample in samples[start : start + EVALUATION_BATCH]]
            if frozen is not None:
                parts.append(model.routed(frozen.of(paths))[0].float())
                continue
            images = torch.from_numpy(pixels.read(paths)).permute(0, 3, 1, 2).to(device, non_blocking=True)
            features = model.features(images).float()
            if flip_tta:
                features = (features + model.features(images.flip(3)).float()) / 2
            parts.append(features)
    return torch.cat(parts)


def score(
    embeddings: "torch.Tensor", query: "Sequence[Sample]", gallery: "Sequence[Sample]", *, rerank: bool = False
) -> "RetrievalMetrics":
    """Retrieval metrics of embeddings, (query + gallery) x D, the queries' first."""
    import torch

    from reid_train.measure.metrics import evaluate_distances, evaluate_retrieval

    def labels(samples: "Sequence[Sample]") -> "tuple[torch.Tensor, torch.Tensor]":
        numbers = torch.tensor([(sample.identity, sample.camera) for sample in samples], device=embeddings.device)
        return numbers[:, 0], numbers[:, 1]

    of_query, of_gallery = embeddings[: len(query)], embeddings[len(query) :]
    if rerank:
        from reid_train.measure.rerank import rerank_distances

        return evaluate_distances(rerank_distances(of_query, of_gallery), *labels(query), *labels(gallery))
    return evaluate_retrieval(of_query, *labels(query), of_gallery, *labels(gallery))


def evaluate_checkpoint(
    checkpoint: str | Path,
    query: "Sequence[Sample]",
    gallery: "Sequence[Sample]",
    *,
    flip_tta: bool = False,
    rerank: bool = False,
    device: str = "auto",
    num_threads: int | None = None,
    cache_dir: Path | None = None,
    limit_bytes: int | None = None,
) -> "RetrievalMetrics":
    """Evaluates the model of a checkpoint folder on query and gallery images. Raises UserError."""
    import torch

    from data.pixels.cache import open_pixels
    from reid_train.checkpoint import load_network
    from reid_train.device import choose_device, choose_precision

    model, loaded = load_network(checkpoint)
    config = loaded.config
    if num_threads:
        torch.set_num_threads(num_threads)
    where = choose_device(device)
    model.to(where).to(memory_format=torch.channels_last)
    samples = [*query, *gallery]
    pixels = open_pixels(
        samples,
        height=config.image_height,
        width=config.image_width,
        cache_dir=cache_dir,
        limit_bytes=limit_bytes,
    )
    precision = choose_precision(config.precision, where)
    features = extract_features(model, pixels, samples, device=where, precision=precision, flip_tta=flip_tta)
    with torch.inference_mode():
        return score(model.neck(features), query, gallery, rerank=rerank)


def query_figures(metrics: "RetrievalMetrics") -> dict[str, "torch.Tensor"]:
    """Each counted query's part in the figures people quote, by their names."""
    return {
        "mAP": metrics.average_precision,
        "mAP_trapezoid": metrics.trapezoid_average_precision,
        **{f"rank{rank}": metrics.first_match_rank <= rank for rank in (1, 5, 10)},
        "mINP": metrics.inverse_negative_penalty,
    }


def summary(metrics: "RetrievalMetrics") -> dict[str, Any]:
    """The figures people quote, as plain numbers of 1: mAP by both rules, CMC ranks, mINP; queries, their identities.

    `intervals` has the 95 % interval [low, high] of each over identities; None where there is one identity alone.
    """
    import numpy as np

    from reid_train.measure.intervals import bootstrap_intervals

    of_queries = query_figures(metrics)
    figures_CF = np.stack([figure_C.double().numpy() for figure_C in of_queries.values()], axis=1)
    bounds_F2 = bootstrap_intervals(figures_CF, metrics.identity.numpy())
    return {
        "mAP": metrics.mAP,
        "mAP_trapezoid": metrics.mAP_trapezoid,
        **{f"rank{rank}": float(metrics.cmc[rank - 1]) for rank in (1, 5, 10)},
        "mINP": metrics.mINP,
        "queries": metrics.queries,
        "identities": len(metrics.identity.unique()),
        "intervals": None if bounds_F2 is None else dict(zip(of_queries, bounds_F2.tolist(), strict=True)),
    }


LABELS = {
    "mAP": "mAP (mean of precisions)",
    "mAP_trapezoid": "mAP (trapezoid rule)",
    "rank1": "CMC rank 1",
    "rank5": "CMC rank 5",
    "rank10": "CMC rank 10",
    "mINP": "mINP",
    "queries": "queries with a match",
    "identities": "identities of these queries",
}
COUNTS = ("queries", "identities")
"""The labelled figures that are no shares."""


def print_summary(figures: dict[str, Any], title: str) -> None:
    """The figures as a table, in percent."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    table.add_column("metric")
    table.add_column("test", justify="right")
    table.add_column("95 % interval", justify="right")
    intervals = figures["intervals"] or {}
    for key, label in LABELS.items():
        value = str(figures[key]) if key in COUNTS else f"{100 * figures[key]:.2f} %"
        table.add_row(label, value, " to ".join(f"{100 * bound:.2f}" for bound in intervals.get(key, ())))
    Console().print(table)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m reid_train.evaluate", description="Evaluates a checkpoint on the query and gallery images."
    )
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="checkpoint folder, e.g. results/NAME/best")
    parser.add_argument("--data-dir", required=True, metavar="DIR", help="the data set or its parent folder")
    parser.add_argument("--dataset", choices=("market1501", "veri", "manifest"), help="the reader; default: detected")
    parser.add_argument("--flip-tta", action="store_true", help="mean of the picture's and its mirror image's features")
    parser.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking (k1 20, k2 6, lambda 0.3)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    add_image_options(parser)
    add_cache_options(parser)
    parser.add_argument("--out", metavar="FILE", help="JSON file; default: evaluation.json in the checkpoint's folder")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    from data.pixels.bad_images import describe_left_out, usable_test
    from data.system.files import write_json
    from reid_train.looks import describe_count, read_test_metrics, record_evaluation, study_of

    folder = Path(arguments.checkpoint)
    if not folder.exists():
        raise UserError(f"--checkpoint {folder}: no such folder")
    query, gallery, left_out = usable_test(
        arguments.data_dir, arguments.dataset, **image_options(arguments), cache_dir=arguments.cache_dir
    )
    if left_out:
        print(describe_left_out(left_out, "test"), flush=True)
    figures = summary(
        evaluate_checkpoint(
            folder,
            query,
            gallery,
            flip_tta=arguments.flip_tta,
            rerank=arguments.rerank,
            device=arguments.device,
            **cache_options(arguments),
        )
    )
    out = Path(arguments.out) if arguments.out else (folder if folder.is_dir() else folder.parent) / "evaluation.json"
    settings = {"data_dir": arguments.data_dir, "flip_tta": arguments.flip_tta, "rerank": arguments.rerank}
    settings |= {"images_left_out": [Path(path).name for path in left_out]} if left_out else {}
    ways = [*(["flipped too"] if arguments.flip_tta else []), *(["re-ranked"] if arguments.rerank else [])]
    title = ", ".join([f"{folder} on {arguments.data_dir}", *ways])
    study = study_of(folder)
    if study is not None:
        record_evaluation(study, f"evaluate, {title}")
    print_summary(figures, title)
    if study is not None:
        print(f"test images: {describe_count(read_test_metrics(study)['evaluations'])}")
    try:
        write_json(out, {**figures, **settings})
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}; choose another --out") from error
    print(f"written to {out}")


if __name__ == "__main__":
    main()
