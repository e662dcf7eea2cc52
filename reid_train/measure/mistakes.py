"""Which queries, cameras and identities a model gets wrong.

    told = find_mistakes(query, gallery)  # each a Side of embeddings and labels
    told.metrics.average_precision, told.wrong_at_1, camera_pairs(query, gallery)

All figures are those of the evaluator (reid_train/measure/metrics.py), with one rule more: where a single camera took
all images, only the query's own image is left out of its ranking. The evaluation would leave nothing to find there.
"""

# Q queries, G gallery images, N either, C counted queries, R rows: queries of one chunk, D embedding width

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from data.sets.samples import Sample, name_of
from reid_train.measure.metrics import RetrievalMetrics, evaluate_retrieval, full_float32

CHUNK_BYTES = 64 * 2**20
"""Similarities that are held at a time."""
MOST_CAMERAS = 64
"""Of more cameras, pairs are not compared: their table would be nobody's to read."""


class Side(NamedTuple):
    """Query or gallery images."""

    embedding_ND: torch.Tensor
    """Of unit length."""
    identity_N: torch.Tensor
    camera_N: torch.Tensor
    """What the evaluation goes by: images of the query's identity with the query's number are left out."""
    shown_camera_N: torch.Tensor
    """The camera itself."""
    sequence_N: torch.Tensor
    """0: of none."""

    def in_sequence_of(self, sequences: torch.Tensor) -> torch.Tensor:
        """Which of these images are left out for queries of these sequences (R or R x 1), whomever they show."""
        return (self.sequence_N == sequences) & (sequences > 0)


class CameraPair(NamedTuple):
    """Queries by one camera among the gallery images of another."""

    query: int
    gallery: int
    queries: int
    """Those that have a match there."""
    rank1: float
    mAP: float


class Mistakes(NamedTuple):
    """Each counted query's figures, and whom it was taken for."""

    metrics: RetrievalMetrics
    wrong_at_1: dict[int, int]
    """Query -> the gallery image that comes first, where that is of another identity."""


def sides(embedding_ND: torch.Tensor, query: Sequence[Sample], gallery: Sequence[Sample]) -> tuple[Side, Side]:
    """Both sides, from embeddings whose first are the queries'."""
    samples = [*query, *gallery]
    shown = [sample.camera for sample in samples]
    cameras = shown
    if len(set(shown)) == 1:
        number_of = {name: number for number, name in enumerate(dict.fromkeys(name_of(s.path) for s in samples))}
        cameras = [number_of[name_of(sample.path)] for sample in samples]
    device = embedding_ND.device
    columns = ([s.identity for s in samples], cameras, shown, [s.sequence for s in samples])
    whole = Side(embedding_ND, *(torch.tensor(numbers, device=device) for numbers in columns))
    return Side(*(part[: len(query)] for part in whole)), Side(*(part[len(query) :] for part in whole))


def find_mistakes(query: Side, gallery: Side) -> Mistakes:
    """Raises UserError where no query has a match."""
    metrics = _evaluate(query, gallery)
    wrong_C = metrics.query_index[metrics.first_match_rank > 1]
    return Mistakes(metrics, dict(zip(wrong_C.tolist(), _nearest_other(query, gallery, wrong_C), strict=True)))


def camera_pairs(query: Side, gallery: Side) -> list[CameraPair]:
    """Each query camera with each gallery camera that has matches for it, the worst first.

    The order is by the upper end of rank 1's 95 % interval, so that a pair with two queries, both wrong, does not come
    before one with forty queries, thirty of them wrong.
    """
    cameras = torch.cat([query.shown_camera_N, gallery.shown_camera_N]).unique()
    if len(cameras) > MOST_CAMERAS or (cameras < 0).any():  # below 0: none are known
        return []
    found = []
    for camera in gallery.shown_camera_N.unique().tolist():
        among = Side(*(part[gallery.shown_camera_N == camera] for part in gallery))
        if not _any_match(query, among):
            continue
        metrics = _evaluate(query, among)
        of_query_C = query.shown_camera_N.cpu()[metrics.query_index]
        for of_query in of_query_C.unique().tolist():
            rows_C = of_query_C == of_query
            rank1 = (metrics.first_match_rank[rows_C] == 1).double().mean().item()
            precision = metrics.average_precision[rows_C].mean().item()
            found.append(CameraPair(of_query, camera, int(rows_C.sum()), rank1, precision))
    return sorted(found, key=lambda pair: (round(_upper(pair), 9), pair.mAP, pair.query, pair.gallery))


def _upper(pair: CameraPair) -> float:
    """The upper end of the 95 % interval of rank 1 (Wilson 1927)."""
    z, n = 1.96, pair.queries
    middle, width = pair.rank1 + z**2 / (2 * n), z * math.sqrt(pair.rank1 * (1 - pair.rank1) / n + z**2 / (4 * n**2))
    return (middle + width) / (1 + z**2 / n)


def ranking(query: Side, gallery: Side, place: int) -> tuple[np.ndarray, np.ndarray]:
    """The gallery's images in the order of one query's ranking, and their similarities; as the evaluation, without
    images of its own identity and camera, and of two that are as close the wrong one first."""
    with full_float32(query.embedding_ND.device):
        similarity_G = (gallery.embedding_ND @ query.embedding_ND[place]).cpu().numpy()
    right_G = (gallery.identity_N == query.identity_N[place]).cpu().numpy()
    left_out_G = right_G & (gallery.camera_N == query.camera_N[place]).cpu().numpy()
    left_out_G |= gallery.in_sequence_of(query.sequence_N[place]).cpu().numpy()
    order_G = np.lexsort((right_G, -similarity_G))
    order_G = order_G[~left_out_G[order_G]]
    return order_G, similarity_G[order_G]


def _evaluate(query: Side, gallery: Side) -> RetrievalMetrics:
    sequences = (query.sequence_N.cpu(), gallery.sequence_N) if query.sequence_N.any() else None
    return evaluate_retrieval(*query[:3], *gallery[:3], sequences=sequences)


def _any_match(query: Side, gallery: Side) -> bool:
    """Whether a query has a match: what the evaluator raises UserError without."""
    there = {*zip(gallery.identity_N.tolist(), gallery.camera_N.tolist(), strict=True)}
    cameras_of: dict[int, set[int]] = {}
    for identity, camera in there:
        cameras_of.setdefault(identity, set()).add(camera)
    labels = zip(query.identity_N.tolist(), query.camera_N.tolist(), strict=True)
    return any(cameras_of.get(identity, set()) - {camera} for identity, camera in labels)


def _nearest_other(query: Side, gallery: Side, query_C: torch.Tensor) -> list[int]:
    """The nearest gallery image of another identity, of each of these queries."""
    found: list[int] = []
    for places_R in query_C.split(max(1, CHUNK_BYTES // (4 * len(gallery.embedding_ND)))):
        rows_R = places_R.to(query.embedding_ND.device)
        with full_float32(rows_R.device):
            similarity_RG = query.embedding_ND[rows_R] @ gallery.embedding_ND.T
        own_RG = query.identity_N[rows_R, None] == gallery.identity_N
        own_RG |= gallery.in_sequence_of(query.sequence_N[rows_R, None])
        found += similarity_RG.masked_fill_(own_RG, -torch.inf).argmax(dim=1).tolist()
    return found
