"""Embeddings -> the figures that people quote, as plain numbers with their names and intervals.

figures = summary(score(embedding_ND, query, gallery))
figures["mAP"], figures["intervals"]["mAP"]  # 0.85, [0.83, 0.87]
"""

# N images: queries, then gallery; C counted queries, F figures, D embedding width

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from data.sets.protocol import TestSet
from data.sets.samples import Sample
from reid_train.measure.intervals import bootstrap_intervals
from reid_train.measure.metrics import RetrievalMetrics, evaluate_distances, evaluate_retrieval
from reid_train.measure.rerank import rerank_distances

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
"""What each figure of a summary is called in tables."""
COUNTS = ("queries", "identities")
"""The labelled figures that are no shares."""


def score(
    embedding_ND: torch.Tensor, query: Sequence[Sample], gallery: Sequence[Sample], *, rerank: bool = False
) -> RetrievalMetrics:
    """Retrieval metrics of embeddings, the queries' first."""

    def labels(samples: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
        numbers = torch.tensor([(sample.identity, sample.camera) for sample in samples], device=embedding_ND.device)
        return numbers[:, 0], numbers[:, 1]

    query_QD, gallery_GD = embedding_ND[: len(query)], embedding_ND[len(query) :]
    sequences = sequences_of(query, gallery)
    if rerank:
        distances_QG = rerank_distances(query_QD, gallery_GD)
        return evaluate_distances(distances_QG, *labels(query), *labels(gallery), sequences=sequences)
    return evaluate_retrieval(query_QD, *labels(query), gallery_GD, *labels(gallery), sequences=sequences)


def sequences_of(query: Sequence[Sample], gallery: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The sequences of both sides, as the evaluator takes them; None where no query is of one."""
    if not any(sample.sequence for sample in query):
        return None
    of_query, of_gallery = (torch.tensor([sample.sequence for sample in side]) for side in (query, gallery))
    return of_query, of_gallery


def score_tests(
    embedding_ND: torch.Tensor, images: Sequence[Sample], tests: Sequence[TestSet], *, rerank: bool = False
) -> dict[str, Any]:
    """The figures of each test set, from the embeddings of `images`: those of the first as `summary` has them, its
    `protocol`, and where there are several `test_sets`, each one's figures and protocol by its name.

    Where a gallery is drawn several times each figure is the mean of the draws; `sd` has the standard deviation of each
    among the draws, and `draws` their number.
    """
    place_of = {sample: place for place, sample in enumerate(images)}
    of_tests: dict[str, dict[str, Any]] = {}
    for test in tests:
        rounds = []
        for query, gallery in test.rounds():
            places = torch.tensor([place_of[sample] for sample in (*query, *gallery)], device=embedding_ND.device)
            rounds.append(score(embedding_ND[places], query, gallery, rerank=rerank))
        of_tests[test.name] = {**summary_of_draws(rounds), "protocol": test.protocol}
    first = next(iter(of_tests.values()))
    return {**first, "test_sets": of_tests} if len(tests) > 1 else first


def summary_of_draws(rounds: Sequence[RetrievalMetrics]) -> dict[str, Any]:
    """`summary` of the mean over draws with as many queries each; an interval resamples identities, with all draws."""
    if len(rounds) == 1:
        return summary(rounds[0])
    figures = [summary(metrics) for metrics in rounds]
    shares = [name for name in LABELS if name not in COUNTS]
    values_RF = np.array([[of_round[name] for name in shares] for of_round in figures])
    queries_F = [query_figures(metrics) for metrics in rounds]
    pooled_CF = np.concatenate([np.stack([f.double().numpy() for f in one.values()], axis=1) for one in queries_F])
    bounds_F2 = bootstrap_intervals(pooled_CF, np.concatenate([metrics.identity.numpy() for metrics in rounds]))
    return {
        **dict(zip(shares, values_RF.mean(axis=0).tolist(), strict=True)),
        **{name: figures[0][name] for name in COUNTS},
        "intervals": None if bounds_F2 is None else dict(zip(shares, bounds_F2.tolist(), strict=True)),
        "draws": len(rounds),
        "sd": dict(zip(shares, values_RF.std(axis=0, ddof=1).tolist(), strict=True)),
    }


def query_figures(metrics: RetrievalMetrics) -> dict[str, torch.Tensor]:
    """Each counted query's part in the figures people quote, by their names."""
    return {
        "mAP": metrics.average_precision,
        "mAP_trapezoid": metrics.trapezoid_average_precision,
        **{f"rank{rank}": metrics.first_match_rank <= rank for rank in (1, 5, 10)},
        "mINP": metrics.inverse_negative_penalty,
    }


def summary(metrics: RetrievalMetrics) -> dict[str, Any]:
    """The figures of LABELS as plain numbers, shares between 0 and 1.

    `intervals` has the 95 % interval [low, high] of each share over identities; None where there is one identity alone.
    """
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
