"""k-reciprocal re-ranking: images that are among each other's nearest are closer than their features say.

Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017, as
torchreid computes it, without its N x N arrays: distances are made for a chunk of images at a time and only the
nearest are kept, and every image's code is a row of a sparse matrix.

It looks at the whole gallery at once: a number with re-ranking is no measure of one picture's search.
"""

# Q queries, G gallery images, N = Q + G all images (queries first), D embedding width, K nearest kept,
# R rows of one chunk, M images it meets, E stored entries of a sparse matrix

import warnings

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from data.system.errors import UserError
from reid_train.measure.metrics import MEMORY_BYTES, full_float32, inverse_norms

CHUNKS = 8
"""Chunks of images at least, however much memory there is: each chunk skips the distances already made."""


@torch.no_grad()
def rerank_distances(
    query_features: Tensor,
    gallery_features: Tensor,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    memory_bytes: int = MEMORY_BYTES,
) -> Tensor:
    """Final distances (Q, G) of queries and gallery, float32 in [0, 1], on the features' device; smaller is closer.

        final = (1 - lambda_value) jaccard + lambda_value d,    d(i, j) = |x_i - x_j|^2 / max_j |x_i - x_j|^2

    with x the L2-normalised features (Q, D) and (G, D). jaccard (the paper's eq. 10) compares two images' codes:
    weights exp(-d) on an image's k-reciprocal neighbours (k1; eq. 2 to 6), averaged over its k2 nearest (eq. 11).
    Score them with `metrics.evaluate_distances`. A gallery with fewer than k1 images is its own neighbourhood.

    Deviations from torchreid, none of which moves a result but where distances tie: an image is always its own
    nearest, also where duplicates are at distance 0, and sums are taken in another order.

    memory_bytes bounds what is needed at a time beyond the float32 features of all images, the result and the
    sparse codes (about 1 kB an image).

    Raises UserError where queries or gallery are empty, widths differ, features are not finite, or k1 or k2 is
    below 1 or lambda_value outside [0, 1].
    """
    _check(query_features, gallery_features, k1, k2, lambda_value)
    queries, images = len(query_features), len(query_features) + len(gallery_features)
    features_ND = torch.cat([query_features.float(), gallery_features.float()])
    block = max(1, memory_bytes // (8 * features_ND.shape[1]))
    with full_float32(features_ND.device):
        for side, part_ND in (("query", features_ND[:queries]), ("gallery", features_ND[queries:])):
            part_ND *= inverse_norms(side, part_ND, block)[:, None]
        chunk = max(1, min(memory_bytes // (12 * images), images // CHUNKS))
        nearest_NK, farthest_N, distances_QG = _nearest(features_ND, queries, min(max(k1 + 1, k2), images), chunk)
        codes_NN = _codes(features_ND, nearest_NK, farthest_N, k1)
    if k2 > 1:
        codes_NN = _adjacency(nearest_NK[:, :k2]) @ codes_NN / min(k2, images)
    distances_QG *= lambda_value
    _add_jaccard(distances_QG, codes_NN, 1 - lambda_value, max(1, memory_bytes // 48))
    return distances_QG


def _check(query_features: Tensor, gallery_features: Tensor, k1: int, k2: int, lambda_value: float) -> None:
    if not len(query_features) or not len(gallery_features):
        raise UserError(
            f"{len(query_features)} queries and {len(gallery_features)} gallery images: re-ranking needs both"
        )
    if query_features.shape[1] != gallery_features.shape[1]:
        raise UserError(
            f"query features are {query_features.shape[1]} wide, gallery features {gallery_features.shape[1]}:"
            " take both from the same model"
        )
    if k1 < 1 or k2 < 1:
        raise UserError(f"re-ranking with k1={k1} and k2={k2}: both count neighbours, at least 1")
    if not 0 <= lambda_value <= 1:
        raise UserError(f"re-ranking with lambda_value={lambda_value}: it is a share, from 0 to 1")


def _nearest(features_ND: Tensor, queries: int, keep: int, chunk: int) -> tuple[np.ndarray, Tensor, Tensor]:
    """Each image's nearest, itself first (N, K); its largest squared distance (N,); and d (Q, G).

    Distances are symmetric, so each chunk of images meets itself and those after it only, and a pair's distance
    counts for both.
    """
    images = len(features_ND)
    distances_QG = features_ND.new_empty(queries, images - queries)
    farthest_N = features_ND.new_full((images,), torch.finfo(torch.float32).tiny)
    known_NK = features_ND.new_full((images, keep), torch.inf)
    nearest_NK = torch.zeros(images, keep, dtype=torch.int32, device=features_ND.device)
    for start in range(0, images, chunk):
        stop = min(start + chunk, images)
        distance_RM = torch.mm(features_ND[start:stop], features_ND[start:].T).mul_(-2).add_(2).clamp_(min=0)
        farthest_N[start:stop] = farthest_N[start:stop].maximum(distance_RM.amax(dim=1))
        farthest_N[start:] = farthest_N[start:].maximum(distance_RM.amax(dim=0))
        if start < queries:
            distances_QG[start:stop] = distance_RM[: queries - start, queries - start :]
        distance_RM.fill_diagonal_(-1)
        _keep_nearest(known_NK[start:stop], nearest_NK[start:stop], distance_RM, start)
        _keep_nearest(known_NK[stop:], nearest_NK[stop:], distance_RM[:, stop - start :].T, start)
    distances_QG /= farthest_N[:queries, None]
    return nearest_NK.cpu().numpy(), farthest_N, distances_QG


def _keep_nearest(known_RK: Tensor, nearest_RK: Tensor, distance_RM: Tensor, first: int) -> None:
    """Keeps in place the nearest of those known so far and of the M images from `first` on."""
    keep = known_RK.shape[1]
    distance_RK, place_RK = distance_RM.topk(min(keep, distance_RM.shape[1]), dim=1, largest=False)
    distance_RL = torch.cat([known_RK, distance_RK], dim=1)
    image_RL = torch.cat([nearest_RK, place_RK.int() + first], dim=1)
    distance_RK, place_RK = distance_RL.topk(keep, dim=1, largest=False)
    known_RK.copy_(distance_RK)
    nearest_RK.copy_(image_RL.gather(1, place_RK))


def _adjacency(neighbours_NK: np.ndarray) -> sparse.csr_array:
    """(N, N), 1 where the column is a neighbour of the row."""
    images, keep = neighbours_NK.shape
    starts = np.arange(0, images * keep + 1, keep, dtype=np.int32)
    ones = np.ones(images * keep, dtype=np.float32)
    matrix = sparse.csr_array((ones, neighbours_NK.flatten(), starts), shape=(images, images))
    matrix.sort_indices()
    return matrix


def _codes(features_ND: Tensor, nearest_NK: np.ndarray, farthest_N: Tensor, k1: int) -> sparse.csr_array:
    """The k-reciprocal codes (N, N), rows that sum to 1: eq. 6, on the expanded neighbourhoods of eq. 3 and 4.

    A reciprocal neighbour brings its own reciprocal neighbours (of k1 / 2) along where more than two thirds of
    them are reciprocal neighbours of the image already.
    """
    near = _adjacency(nearest_NK[:, : k1 + 1])
    nearer = _adjacency(nearest_NK[:, : round(k1 / 2) + 1])
    mutual, mutual_half = (matrix.multiply(matrix.T).tocsr() for matrix in (near, nearer))
    shared = (mutual @ mutual_half.T).multiply(mutual).tocsr()
    brought = 3 * shared.data > 2 * np.diff(mutual_half.indptr)[shared.indices]
    shared.data = brought.astype(np.float32)
    shared.eliminate_zeros()
    codes = (mutual + shared @ mutual_half).tocsr()
    codes.sort_indices()
    distance_E = _pair_distances(features_ND, codes)
    row_E = np.repeat(np.arange(len(nearest_NK)), np.diff(codes.indptr))
    codes.data = np.exp(-distance_E / farthest_N.cpu().numpy()[row_E])
    codes.data /= np.add.reduceat(codes.data, codes.indptr[:-1])[row_E]
    return codes


def _pair_distances(features_ND: Tensor, pattern: sparse.csr_array) -> np.ndarray:
    """Squared distances (E,) of the pairs of images that the (N, N) pattern names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        pairs_NN = torch.sparse_csr_tensor(
            torch.from_numpy(pattern.indptr),
            torch.from_numpy(pattern.indices),
            torch.zeros(pattern.nnz),
            size=pattern.shape,
            check_invariants=False,
        ).to(features_ND.device)
    products_NN = torch.sparse.sampled_addmm(pairs_NN, features_ND, features_ND.T, beta=0)
    return products_NN.values().mul(-2).add(2).clamp(min=0).cpu().numpy()


def _add_jaccard(distances_QG: Tensor, codes_NN: sparse.csr_array, share: float, chunk_entries: int) -> None:
    """Adds share x (1 - overlap / (2 - overlap)) in place: codes sum to 1, so the union is 2 less the overlap.

    overlap(q, g) = sum_j min(code_q(j), code_g(j)). Only the j on which a query has weight are visited, and of
    those only the gallery images that have weight there too.
    """
    queries, gallery = distances_QG.shape
    query_codes = codes_NN[:queries]
    by_column = codes_NN[queries:].tocsc()
    visits_E = np.diff(by_column.indptr)[query_codes.indices]
    visits_before_E = np.concatenate([[0], np.cumsum(visits_E)])
    cost_Q = gallery * np.arange(1, queries + 1) + visits_before_E[query_codes.indptr[1:]]
    start = 0
    while start < queries:
        spent = cost_Q[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(cost_Q, spent + chunk_entries, side="right")))
        entries = slice(query_codes.indptr[start], query_codes.indptr[stop])
        visits = visits_E[entries]
        first = by_column.indptr[query_codes.indices[entries]] - (
            visits_before_E[entries] - visits_before_E[entries.start]
        )
        place = np.repeat(first, visits) + np.arange(visits.sum())
        row_E = np.repeat(np.arange(stop - start), np.diff(query_codes.indptr[start : stop + 1]))
        smaller = np.minimum(np.repeat(query_codes.data[entries], visits), by_column.data[place])
        cell = np.repeat(row_E * gallery, visits) + by_column.indices[place]
        overlap = np.bincount(cell, smaller, minlength=(stop - start) * gallery).reshape(stop - start, gallery)
        jaccard = torch.from_numpy(share * (1 - overlap / (2 - overlap))).float()
        distances_QG[start:stop] += jaccard.to(distances_QG.device)
        start = stop
