"""THE evaluator: CMC, mAP by both rules and mINP, exact, in chunks of queries that a memory setting bounds.

Protocol (Market-1501 and VeRi-776; torchreid's and fast-reid's too): for each query the gallery images with
its identity AND its camera are left out, the rest are ranked by similarity, and those with its identity are
its matches. A query without a match is not counted. Identities are compared as they stand: Market-1501's
distractors (identity 0) stay in the gallery and match nothing, because no query bears 0; its junk (-1) must
have been dropped when the folder was read.

Ranks without ranking: every figure follows from the ranks of a query's matches, and its i-th closest match
has rank i + (images of other identities at least as close). So the images of the query's own identity are
blanked in its row, the row's values are sorted, and a binary search answers for each match: no argsort, no
cumulative sums.

Ties, decided by exact equality of similarities: a match comes after every image of another identity that is
just as close. The result then depends on no order of the gallery, and a collapsed model, for which everything
is equally close, scores its worst instead of what the gallery's order happens to give it.
"""

# Q queries, G gallery images, N either, D embedding width, C queries that have a match (the counted ones),
# R rows: counted queries of one chunk, B gallery images of one block, P most gallery images of one identity

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from data.system.errors import UserError

CMC_RANKS = 50
MEMORY_BYTES = 256 * 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalMetrics:
    """Retrieval quality: means over the C counted queries, and each one's figures (CPU tensors of length C).

    A query has n matches at the ranks r_1 < ... < r_n, counted from 1 without the images left out.
    """

    mAP: float
    """Mean of AP = 1/n sum_i i / r_i, the mean of the precision at each match; in (0, 1]."""
    mAP_trapezoid: float
    """Mean of AP by the original evaluation code's trapezoid rule, 1/n sum_i (before_i + i / r_i) / 2, where
    before_i = (i - 1) / (r_i - 1) is the precision just before the match, 1 at rank 1; in (0, mAP]."""
    mINP: float
    """Mean of n / r_n, matches over the rank of the last (Ye et al. 2021, arXiv 2001.04193); in (0, 1]."""
    cmc: tuple[float, ...]
    """cmc[k - 1] is rank-k: the share of queries with a match among the first k; in [0, 1], never falling.
    Always CMC_RANKS values, 1 past the end of a smaller gallery: every counted query has a match."""
    queries: int
    """C, how many queries had a match."""
    average_precision: Tensor
    """float64."""
    trapezoid_average_precision: Tensor
    """float64."""
    inverse_negative_penalty: Tensor
    """float64."""
    first_match_rank: Tensor
    """int64: r_1."""
    identity: Tensor
    """int64: what a bootstrap over identities resamples."""
    query_index: Tensor
    """int64, ascending: the counted query's place among those given."""


@torch.no_grad()
def evaluate_retrieval(
    query_features: Tensor,
    query_identities: Tensor,
    query_cameras: Tensor,
    gallery_features: Tensor,
    gallery_identities: Tensor,
    gallery_cameras: Tensor,
    *,
    sequences: tuple[Tensor, Tensor] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> RetrievalMetrics:
    """Ranks the gallery for each query by cosine similarity and scores it; protocol: head of the module.

    Features are (Q, D) and (G, D), of any floating type, on one device; they need not be normalised, and one
    of zeros is at similarity 0 to everything. Similarities are float32 whatever the features' type, without
    TF32 and autocast; features are converted block by block, so that a memory-mapped float16 gallery never
    exists in float32. Identities and cameras are integers, (Q,) and (G,), on any device.

    sequences are those of queries (Q,) and gallery (G,), 0 for none: the images of a query's sequence are left out of
    its ranking, whomever they show. Images of one identity and one sequence must have one camera.

    memory_bytes bounds what is allocated beyond the features, but for what it takes at least: a query's row
    (4 G bytes) and the labels' order (about 100 bytes an image). More of it: fewer passes over the gallery.

    Raises UserError where queries or gallery are empty, lengths or widths differ, features are not finite, or
    no query has a match.
    """
    _check_side("query", query_features, query_identities, query_cameras)
    _check_side("gallery", gallery_features, gallery_identities, gallery_cameras)
    width = query_features.shape[1]
    if gallery_features.shape[1] != width:
        raise UserError(
            f"query features are {width} wide, gallery features {gallery_features.shape[1]}:"
            " take both from the same model"
        )
    block = max(1, memory_bytes // 4 // (4 * width))
    with full_float32(query_features.device):
        query_scale_Q = inverse_norms("query", query_features, block)
        gallery_scale_G = inverse_norms("gallery", gallery_features, block)

        def similarity_rows(queries_R: Tensor) -> Tensor:
            query_RD = (query_features[queries_R] * query_scale_Q[queries_R, None]).float()
            similarity_RG = query_RD.new_empty(len(query_RD), len(gallery_features))
            for start in range(0, len(gallery_features), block):
                columns = slice(start, start + block)
                torch.mm(query_RD, gallery_features[columns].float().T, out=similarity_RG[:, columns])
            return _without_sequence(similarity_RG.mul_(gallery_scale_G), queries_R, sequences)

        labels = (query_identities, query_cameras, gallery_identities, gallery_cameras)
        truth = _truth(*(label.to(query_features.device) for label in labels))
        return _evaluate(similarity_rows, truth, 4 * len(gallery_features) + 8 * width, memory_bytes * 3 // 4)


@torch.no_grad()
def evaluate_distances(
    distances_QG: Tensor,
    query_identities: Tensor,
    query_cameras: Tensor,
    gallery_identities: Tensor,
    gallery_cameras: Tensor,
    *,
    sequences: tuple[Tensor, Tensor] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> RetrievalMetrics:
    """Scores given distances (Q, G), smaller is closer: those of re-ranking, for instance.

    Protocol, ties and errors are those of `evaluate_retrieval`. Distances are compared in their own type
    (float32 where it is a 16-bit one) and left unchanged.
    """
    _check_side("query", distances_QG, query_identities, query_cameras)
    _check_side("gallery", distances_QG.T, gallery_identities, gallery_cameras)
    wide_enough = torch.promote_types(distances_QG.dtype, torch.float32)

    def similarity_rows(queries_R: Tensor) -> Tensor:
        similarity_RG = distances_QG[queries_R].to(wide_enough).neg_()
        bad = int((~similarity_RG.isfinite().all(dim=1)).sum())
        if bad:
            raise UserError(f"the distances of {bad} queries are not finite: look at the features they come from")
        return _without_sequence(similarity_RG, queries_R, sequences)

    labels = (query_identities, query_cameras, gallery_identities, gallery_cameras)
    truth = _truth(*(label.to(distances_QG.device) for label in labels))
    return _evaluate(similarity_rows, truth, 2 * wide_enough.itemsize * distances_QG.shape[1], memory_bytes)


def _without_sequence(similarity_RG: Tensor, queries_R: Tensor, sequences: tuple[Tensor, Tensor] | None) -> Tensor:
    """The same tensor, with the images of each query's sequence farther away than all others."""
    if sequences is None:
        return similarity_RG
    query_R1, gallery_G = (
        side.to(similarity_RG.device) for side in (sequences[0][queries_R.cpu(), None], sequences[1])
    )
    return similarity_RG.masked_fill_((query_R1 == gallery_G) & (query_R1 > 0), -torch.inf)


@dataclass(frozen=True)
class _Truth:
    """Who matches whom. gallery_order_G sorts the gallery by identity, then camera: a query's own identity is
    a range of it, and the images left out are a range inside that."""

    gallery_order_G: Tensor
    identity_C: Tensor
    query_index_C: Tensor
    own_start_C: Tensor
    own_stop_C: Tensor
    left_out_start_C: Tensor
    left_out_stop_C: Tensor


def _truth(
    query_identities: Tensor, query_cameras: Tensor, gallery_identities: Tensor, gallery_cameras: Tensor
) -> _Truth:
    queries = len(query_identities)
    _, identity = torch.unique(torch.cat([query_identities, gallery_identities]), return_inverse=True)
    cameras, camera = torch.unique(torch.cat([query_cameras, gallery_cameras]), return_inverse=True)
    key = identity * len(cameras) + camera
    sorted_key_G, gallery_order_G = key[queries:].sort()
    first_key_Q = identity[:queries] * len(cameras)
    own_start_Q = torch.searchsorted(sorted_key_G, first_key_Q)
    own_stop_Q = torch.searchsorted(sorted_key_G, first_key_Q + len(cameras))
    left_out_start_Q = torch.searchsorted(sorted_key_G, key[:queries])
    left_out_stop_Q = torch.searchsorted(sorted_key_G, key[:queries], right=True)
    matches_Q = (own_stop_Q - own_start_Q) - (left_out_stop_Q - left_out_start_Q)
    counted_C = matches_Q.nonzero().squeeze(1)
    if not len(counted_C):
        raise UserError(
            f"none of the {queries} queries has a match, a gallery image of its identity from another camera:"
            " check how identities and cameras are read from the file names"
        )
    ranges = (own_start_Q, own_stop_Q, left_out_start_Q, left_out_stop_Q)
    return _Truth(
        gallery_order_G,
        query_identities[counted_C].long(),
        counted_C,
        *(bound_Q[counted_C] for bound_Q in ranges),
    )


def _evaluate(
    similarity_rows: Callable[[Tensor], Tensor], truth: _Truth, row_bytes: int, memory_bytes: int
) -> RetrievalMetrics:
    """Chunks of queries, each through similarity_rows ((R,) query indices -> (R, G), ours to overwrite)."""
    most_own = int((truth.own_stop_C - truth.own_start_C).max())
    device_type = truth.query_index_C.device.type
    sort_bytes = 0 if device_type == "cpu" else 20 * len(truth.gallery_order_G)
    chunk = max(1, memory_bytes // (row_bytes + sort_bytes + 64 * most_own))
    parts = []
    for start in range(0, len(truth.query_index_C), chunk):
        rows = slice(start, start + chunk)
        rank_RP, matches_R = _match_ranks(similarity_rows(truth.query_index_C[rows]), truth, rows, most_own)
        parts.append(_scores(rank_RP.cpu(), matches_R.cpu()))
    precision_C, trapezoid_C, penalty_C, first_C = (torch.cat(part) for part in zip(*parts, strict=True))
    found_within = torch.bincount(first_C.clamp(max=CMC_RANKS + 1), minlength=CMC_RANKS + 1).cumsum(0)
    return RetrievalMetrics(
        mAP=precision_C.mean().item(),
        mAP_trapezoid=trapezoid_C.mean().item(),
        mINP=penalty_C.mean().item(),
        cmc=tuple((found_within[1 : CMC_RANKS + 1].double() / len(first_C)).tolist()),
        queries=len(first_C),
        average_precision=precision_C,
        trapezoid_average_precision=trapezoid_C,
        inverse_negative_penalty=penalty_C,
        first_match_rank=first_C,
        identity=truth.identity_C.cpu(),
        query_index=truth.query_index_C.cpu(),
    )


def _match_ranks(similarity_RG: Tensor, truth: _Truth, rows: slice, most_own: int) -> tuple[Tensor, Tensor]:
    """Ranks (R, P) of each query's matches, ascending, meaningless past its number of matches (R,).

    Overwrites similarity_RG.
    """
    own_stop_R1 = truth.own_stop_C[rows, None]
    place_RP = truth.own_start_C[rows, None] + torch.arange(most_own, device=own_stop_R1.device)
    match_RP = place_RP < own_stop_R1
    match_RP &= (place_RP < truth.left_out_start_C[rows, None]) | (place_RP >= truth.left_out_stop_C[rows, None])
    own_RP = truth.gallery_order_G[place_RP.minimum(own_stop_R1 - 1)]
    match_similarity_RP = similarity_RG.gather(1, own_RP).masked_fill_(~match_RP, -torch.inf)
    match_similarity_RP = match_similarity_RP.sort(dim=1, descending=True).values
    similarity_RG.scatter_(1, own_RP, -torch.inf)
    farther_RP = torch.searchsorted(_sort_rows(similarity_RG), match_similarity_RP)
    others_RP = similarity_RG.shape[1] - farther_RP
    return others_RP + torch.arange(1, most_own + 1, device=others_RP.device), match_RP.sum(dim=1)


def _sort_rows(values_RG: Tensor) -> Tensor:
    """Each row's values ascending; in place on a CPU.

    There numpy's vectorised sort of values takes a tenth of torch.sort, which moves indices along.
    """
    if values_RG.device.type != "cpu":
        return values_RG.sort(dim=1).values
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part_RG: part_RG.numpy().sort(axis=1), values_RG.chunk(threads)))
    return values_RG


def _scores(rank_RP: Tensor, matches_R: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """AP, AP by the trapezoid rule, n / r_n and r_1, each (R,); the formulas stand at RetrievalMetrics."""
    place_P = torch.arange(1, rank_RP.shape[1] + 1)
    is_match_RP = place_P <= matches_R[:, None]
    precision_RP = place_P / rank_RP.double()
    before_RP = torch.where(rank_RP == 1, 1.0, (place_P - 1) / (rank_RP - 1).clamp(min=1).double())
    precision_R = (precision_RP * is_match_RP).sum(dim=1) / matches_R
    before_R = (before_RP * is_match_RP).sum(dim=1) / matches_R
    last_rank_R = rank_RP.gather(1, matches_R[:, None] - 1).squeeze(1)
    return precision_R, (precision_R + before_R) / 2, matches_R / last_rank_R.double(), rank_RP[:, 0]


def inverse_norms(side: str, features_ND: Tensor, block: int) -> Tensor:
    norm_N = torch.cat([torch.linalg.vector_norm(block_BD.float(), dim=1) for block_BD in features_ND.split(block)])
    finite = int(norm_N.isfinite().sum())
    if finite < len(norm_N):
        raise UserError(
            f"{len(norm_N) - finite} of {len(norm_N)} {side} features are not finite:"
            " the weights have diverged, or 16-bit arithmetic overflowed"
        )
    return norm_N.clamp(min=1e-12).reciprocal()


def _check_side(side: str, features_ND: Tensor, identities_N: Tensor, cameras_N: Tensor) -> None:
    images, identities, cameras = len(features_ND), len(identities_N), len(cameras_N)
    if not images == identities == cameras:
        raise UserError(
            f"the {side} has {images} images, {identities} identities and {cameras} cameras:"
            " each image needs one of both"
        )
    if not images:
        raise UserError(f"the {side} is empty: there is nothing to rank")


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """float32 products in float32: no TF32, no autocast, whatever training has set."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
