"""The evaluator against numbers that published evaluators gave, hand-worked cases and a plain loop."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.system.errors import UserError
from reid_train.measure.metrics import CMC_RANKS, RetrievalMetrics, evaluate_distances, evaluate_retrieval

VECTORS = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())["retrieval"]


def sides(case):
    """The six tensors that evaluate_retrieval takes, from a case of vectors.json."""
    return [
        torch.tensor(case[f"{side}_{what}"])
        for side in ("query", "gallery")
        for what in ("features", "identities", "cameras")
    ]


def random_sides(
    seed, queries=40, gallery=300, identities=12, cameras=4, width=16, distractors=0.3, query_identities=12
):
    """Clustered features; queries of identities beyond `identities` match nothing."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(max(identities, query_identities) + 1, width, generator=generator)

    def side(count, up_to):
        identity = torch.randint(1, up_to + 1, (count,), generator=generator)
        camera = torch.randint(1, cameras + 1, (count,), generator=generator)
        return identity, camera

    query_identity, query_camera = side(queries, query_identities)
    gallery_identity, gallery_camera = side(gallery, identities)
    gallery_identity[torch.rand(gallery, generator=generator) < distractors] = 0
    query = centres[query_identity] + 2 * torch.randn(queries, width, generator=generator)
    features = centres[gallery_identity] + 2 * torch.randn(gallery, width, generator=generator)
    return [query, query_identity, query_camera, features, gallery_identity, gallery_camera]


def plain_loop(distances, query_identities, query_cameras, gallery_identities, gallery_cameras):
    """One query after another by argsort; among equal distances the images of other identities come first."""
    figures = []
    for row, identity, camera in zip(
        np.asarray(distances), query_identities.tolist(), query_cameras.tolist(), strict=True
    ):
        same = gallery_identities.numpy() == identity
        kept = ~(same & (gallery_cameras.numpy() == camera))
        order = np.lexsort((same[kept], row[kept]))
        good = same[kept][order]
        if not good.any():
            continue
        precision = np.cumsum(good) / np.arange(1, len(good) + 1)
        trapezoid, old_recall, old_precision, hits = 0.0, 0.0, 1.0, 0
        for position, hit in enumerate(good, start=1):
            hits += int(hit)
            trapezoid += (hits / good.sum() - old_recall) * (old_precision + hits / position) / 2
            old_recall, old_precision = hits / good.sum(), hits / position
        ranks = np.flatnonzero(good) + 1
        figures.append((precision[good].mean(), trapezoid, good.sum() / ranks[-1], ranks[0], identity))
    return [np.array(column) for column in zip(*figures, strict=True)]


def assert_agrees(metrics: RetrievalMetrics, expected, tolerance=1e-12):
    precision, trapezoid, penalty, first, identity = expected
    assert metrics.queries == len(precision)
    np.testing.assert_allclose(metrics.average_precision, precision, atol=tolerance)
    np.testing.assert_allclose(metrics.trapezoid_average_precision, trapezoid, atol=tolerance)
    np.testing.assert_allclose(metrics.inverse_negative_penalty, penalty, atol=tolerance)
    np.testing.assert_array_equal(metrics.first_match_rank, first)
    np.testing.assert_array_equal(metrics.identity, identity)
    assert metrics.mAP == pytest.approx(precision.mean(), abs=tolerance)
    assert metrics.mAP_trapezoid == pytest.approx(trapezoid.mean(), abs=tolerance)
    assert metrics.mINP == pytest.approx(penalty.mean(), abs=tolerance)
    cmc = [(first <= k).mean() for k in range(1, CMC_RANKS + 1)]
    np.testing.assert_allclose(metrics.cmc, cmc, atol=tolerance)


def cosine_distances(query, gallery):
    return 1 - torch.nn.functional.normalize(query.float()) @ torch.nn.functional.normalize(gallery.float()).T


def distances_and_labels(given):
    query, query_identities, query_cameras, gallery, gallery_identities, gallery_cameras = given
    return (
        cosine_distances(query, gallery),
        query_identities,
        query_cameras,
        gallery_identities,
        gallery_cameras,
    )


def assert_same(one: RetrievalMetrics, other: RetrievalMetrics):
    for field in dataclasses.fields(RetrievalMetrics):
        torch.testing.assert_close(getattr(one, field.name), getattr(other, field.name), rtol=0, atol=0)


@pytest.mark.parametrize("case", VECTORS)
def test_agrees_with_published_evaluators(case):
    metrics = evaluate_retrieval(*sides(case))
    expected = case["expected"]
    assert metrics.queries == expected["queries_with_a_match"]
    assert metrics.cmc[:10] == pytest.approx(expected["cmc"], abs=1e-6)
    assert metrics.mAP == pytest.approx(expected["mAP"], abs=1e-6)
    assert metrics.mINP == pytest.approx(expected["mINP"], abs=1e-6)
    assert metrics.mAP_trapezoid == pytest.approx(expected["mAP_trapezoid"], abs=1e-6)


def hand_worked(distances, gallery_identities, gallery_cameras):
    """One query of identity 7 under camera 1."""
    return evaluate_distances(
        torch.tensor([distances]),
        torch.tensor([7]),
        torch.tensor([1]),
        torch.tensor(gallery_identities),
        torch.tensor(gallery_cameras),
    )


def test_hand_worked_case():
    # By distance: 7 under camera 1 (left out), 0, 7, 5, 7: matches at the ranks 2 and 4.
    metrics = hand_worked([0.3, 0.5, 0.1, 0.2, 0.4], [7, 7, 7, 0, 5], [2, 3, 1, 1, 2])
    assert metrics.mAP == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert metrics.mAP_trapezoid == pytest.approx(((0 / 1 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2)
    assert metrics.mINP == pytest.approx(2 / 4)
    assert metrics.cmc[:5] == (0.0, 1.0, 1.0, 1.0, 1.0)
    assert metrics.first_match_rank.tolist() == [2]


def test_everything_right_scores_one():
    metrics = hand_worked([0.1, 0.2, 0.3, 0.4], [7, 7, 0, 5], [2, 3, 1, 1])
    assert (metrics.mAP, metrics.mAP_trapezoid, metrics.mINP) == (1.0, 1.0, 1.0)
    assert metrics.cmc == (1.0,) * CMC_RANKS


def test_a_match_comes_after_the_others_that_are_just_as_close():
    # 0.2: 7, 5, 7; the 5 takes rank 1, the matches 2 and 3, whatever the gallery's order.
    for order in ([7, 5, 7], [7, 7, 5], [5, 7, 7]):
        metrics = hand_worked([0.2, 0.2, 0.2], order, [2, 2, 2])
        assert metrics.mAP == pytest.approx((1 / 2 + 2 / 3) / 2)
        assert metrics.first_match_rank.tolist() == [2]


def test_a_collapsed_model_scores_its_worst():
    given = random_sides(0)
    given[0], given[3] = torch.ones_like(given[0]), torch.ones_like(given[3])
    metrics = evaluate_retrieval(*given)
    assert metrics.cmc[CMC_RANKS - 1] == 0.0
    assert_agrees(metrics, plain_loop(*distances_and_labels(given)))


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_plain_loop(seed):
    given = random_sides(seed, query_identities=15)
    metrics = evaluate_retrieval(*given)
    assert 0 < metrics.queries < 40
    assert_agrees(metrics, plain_loop(*distances_and_labels(given)))


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_plain_loop_where_distances_tie(seed):
    distances, *labels = distances_and_labels(random_sides(seed, query_identities=15))
    distances = (distances * 8).round()
    assert_agrees(evaluate_distances(distances, *labels), plain_loop(distances, *labels))


def test_one_query():
    given = random_sides(3, queries=1)
    assert_agrees(evaluate_retrieval(*given), plain_loop(*distances_and_labels(given)))


def test_a_gallery_smaller_than_the_cmc():
    given = random_sides(4, gallery=20, identities=3, query_identities=3)
    metrics = evaluate_retrieval(*given)
    assert len(metrics.cmc) == CMC_RANKS
    assert set(metrics.cmc[20:]) == {1.0}
    assert_agrees(metrics, plain_loop(*distances_and_labels(given)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_compared_in_float32(dtype):
    given = random_sides(5)
    given[0], given[3] = given[0].to(dtype), given[3].to(dtype)
    metrics = evaluate_retrieval(*given)
    assert_agrees(metrics, plain_loop(*distances_and_labels(given)))


def test_autocast_and_reduced_precision_do_not_reach_the_similarities():
    given = random_sides(6)
    expected = evaluate_retrieval(*given)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_same(evaluate_retrieval(*given), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("memory_bytes", [1, 3_000, 20_000, 10**9])
def test_memory_setting_changes_nothing_but_the_chunks(memory_bytes):
    given = random_sides(7, query_identities=15)
    distances, *labels = distances_and_labels(given)
    assert_agrees(evaluate_retrieval(*given, memory_bytes=memory_bytes), plain_loop(*distances_and_labels(given)))
    assert_same(
        evaluate_distances(distances, *labels, memory_bytes=memory_bytes),
        evaluate_distances(distances, *labels),
    )


def test_order_of_the_gallery_changes_nothing():
    distances, query_identities, query_cameras, *gallery = distances_and_labels(random_sides(8))
    distances = (distances * 8).round()
    shuffled = torch.randperm(distances.shape[1], generator=torch.Generator().manual_seed(0))
    assert_same(
        evaluate_distances(
            distances[:, shuffled], query_identities, query_cameras, *(label[shuffled] for label in gallery)
        ),
        evaluate_distances(distances, query_identities, query_cameras, *gallery),
    )


def test_distractors_lower_the_score_and_stay_unmatched():
    given = random_sides(9, distractors=0.5)
    real = given[4] != 0
    without = evaluate_retrieval(*given[:3], *(tensor[real] for tensor in given[3:]))
    assert evaluate_retrieval(*given).mAP < without.mAP


def test_inputs_are_left_unchanged():
    given = random_sides(10)
    distances, *labels = distances_and_labels(given)
    kept, kept_distances = [tensor.clone() for tensor in given], distances.clone()
    evaluate_retrieval(*given)
    evaluate_distances(distances, *labels)
    assert all(torch.equal(*pair) for pair in zip(kept, given, strict=True))
    assert torch.equal(kept_distances, distances)


def test_query_index_names_the_counted_queries():
    given = random_sides(11, query_identities=15)
    metrics = evaluate_retrieval(*given)
    assert torch.equal(given[1][metrics.query_index], metrics.identity)
    assert (metrics.query_index.diff() > 0).all()


def spoiled(change):
    given = random_sides(12)
    change(given)
    return given


def without_gallery(given):
    given[3:] = [tensor[:0] for tensor in given[3:]]


def without_queries(given):
    given[:3] = [tensor[:0] for tensor in given[:3]]


def without_matches(given):
    given[1] = given[1] + 100


def one_camera(given):
    given[2], given[5] = torch.ones_like(given[2]), torch.ones_like(given[5])


def fewer_cameras(given):
    given[5] = given[5][:-1]


def narrower_gallery(given):
    given[3] = given[3][:, :-1]


def broken_queries(given):
    given[0][[2, 5], 0] = torch.tensor([torch.nan, torch.inf])


def broken_gallery(given):
    given[3][7] = -torch.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_gallery, "the gallery is empty"),
        (without_queries, "the query is empty"),
        (without_matches, "none of the 40 queries has a match"),
        (one_camera, "none of the 40 queries has a match"),
        (fewer_cameras, "the gallery has 300 images, 300 identities and 299 cameras"),
        (narrower_gallery, "query features are 16 wide, gallery features 15"),
        (broken_queries, "2 of 40 query features are not finite"),
        (broken_gallery, "1 of 300 gallery features are not finite"),
    ],
)
def test_what_cannot_be_scored_says_why(change, message):
    with pytest.raises(UserError, match=message):
        evaluate_retrieval(*spoiled(change))


def test_distances_that_are_not_finite_are_refused():
    distances, *labels = distances_and_labels(random_sides(13))
    distances[4, 2] = torch.nan
    with pytest.raises(UserError, match="the distances of 1 queries are not finite"):
        evaluate_distances(distances, *labels)
