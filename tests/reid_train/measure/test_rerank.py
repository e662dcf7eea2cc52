"""k-reciprocal re-ranking against published numbers and a plain reading of the paper."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.system.errors import UserError
from reid_train.measure.metrics import evaluate_distances
from reid_train.measure.rerank import rerank_distances

VECTORS = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())["retrieval"]


@pytest.mark.parametrize("case", VECTORS)
def test_agrees_with_torchreid(case):
    distances = rerank_distances(torch.tensor(case["query_features"]), torch.tensor(case["gallery_features"]))
    labels = ("query_identities", "query_cameras", "gallery_identities", "gallery_cameras")
    metrics = evaluate_distances(distances, *(torch.tensor(case[label]) for label in labels))
    expected = case["expected"]["rerank_k1_20_k2_6_lambda_0p3"]
    assert metrics.cmc[0] == pytest.approx(expected["rank1"], abs=1e-5)
    assert metrics.mAP == pytest.approx(expected["mAP"], abs=1e-5)


def reciprocal(nearest, image, count):
    """The paper's R(p, k): those of the image's nearest that have it among theirs."""
    return {int(other) for other in nearest[image, :count] if image in nearest[other, :count]}


def plain_rerank(query, gallery, k1, k2, lambda_value):
    """The paper with sets and dense float64 arrays."""
    features = np.concatenate([query, gallery]).astype(np.float64)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    distance = np.square(features[:, None] - features[None]).sum(axis=2)
    distance /= distance.max(axis=1, keepdims=True)
    nearest = np.argsort(distance, axis=1)
    codes = np.zeros_like(distance)
    for image in range(len(features)):
        core = reciprocal(nearest, image, k1 + 1)
        neighbours = set(core)
        for other in core:
            candidates = reciprocal(nearest, other, round(k1 / 2) + 1)
            if len(candidates & core) > 2 / 3 * len(candidates):
                neighbours |= candidates
        chosen = sorted(neighbours)
        codes[image, chosen] = np.exp(-distance[image, chosen])
        codes[image] /= codes[image].sum()
    codes = np.stack([codes[nearest[image, :k2]].mean(axis=0) for image in range(len(features))])
    query_codes, gallery_codes = codes[: len(query), None], codes[None, len(query) :]
    jaccard = 1 - np.minimum(query_codes, gallery_codes).sum(axis=2) / np.maximum(query_codes, gallery_codes).sum(
        axis=2
    )
    return (1 - lambda_value) * jaccard + lambda_value * distance[: len(query), len(query) :]


def clustered(seed, queries=25, gallery=120, identities=10, width=12):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(identities, width, generator=generator)
    identity = torch.randint(identities, (queries + gallery,), generator=generator)
    features = centres[identity] + 0.8 * torch.randn(queries + gallery, width, generator=generator)
    return features[:queries], features[queries:]


@pytest.mark.parametrize(
    ("k1", "k2", "lambda_value"), [(20, 6, 0.3), (7, 3, 0.0), (5, 1, 0.5), (1, 1, 0.3), (4, 9, 1.0)]
)
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_a_plain_reading_of_the_paper(seed, k1, k2, lambda_value):
    query, gallery = clustered(seed)
    distances = rerank_distances(query, gallery, k1=k1, k2=k2, lambda_value=lambda_value)
    expected = plain_rerank(query.numpy(), gallery.numpy(), k1, k2, lambda_value)
    assert distances.dtype == torch.float32
    np.testing.assert_allclose(distances, expected, atol=1e-5)


@pytest.mark.parametrize("gallery_size", [3, 9])
def test_fewer_images_than_neighbours(gallery_size):
    query, gallery = clustered(4, queries=2, gallery=gallery_size, identities=2)
    expected = plain_rerank(query.numpy(), gallery.numpy(), 20, 6, 0.3)
    np.testing.assert_allclose(rerank_distances(query, gallery), expected, atol=1e-5)


@pytest.mark.parametrize("memory_bytes", [1, 50_000])
def test_memory_setting_changes_nothing_but_the_chunks(memory_bytes):
    query, gallery = clustered(5)
    whole = rerank_distances(query, gallery)
    torch.testing.assert_close(rerank_distances(query, gallery, memory_bytes=memory_bytes), whole, rtol=0, atol=1e-6)


def test_length_of_a_feature_does_not_matter():
    query, gallery = clustered(6)
    torch.testing.assert_close(
        rerank_distances(4 * query, gallery / 2), rerank_distances(query, gallery), rtol=0, atol=1e-6
    )


def test_half_precision_features():
    query, gallery = (features.half() for features in clustered(7))
    torch.testing.assert_close(
        rerank_distances(query, gallery), rerank_distances(query.float(), gallery.float()), rtol=0, atol=0
    )


@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (1, 1)])
def test_duplicates_leave_every_image_its_own_nearest(k1, k2):
    distances = rerank_distances(torch.ones(3, 4), torch.ones(40, 4), k1=k1, k2=k2)
    assert ((distances >= 0) & (distances <= 1)).all()


def test_inputs_are_left_unchanged():
    query, gallery = clustered(8)
    before = query.clone(), gallery.clone()
    rerank_distances(query, gallery)
    assert torch.equal(query, before[0])
    assert torch.equal(gallery, before[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k1": 0}, "k1=0 and k2=6"),
        ({"k2": 0}, "k1=20 and k2=0"),
        ({"lambda_value": 1.2}, "lambda_value=1.2"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        rerank_distances(*clustered(9), **settings)


def test_features_that_cannot_be_ranked_say_why():
    query, gallery = clustered(10)
    with pytest.raises(UserError, match="0 queries and 120 gallery images"):
        rerank_distances(query[:0], gallery)
    with pytest.raises(UserError, match="12 wide, gallery features 11"):
        rerank_distances(query, gallery[:, :-1])
    gallery[3, 2] = torch.nan
    with pytest.raises(UserError, match="1 of 120 gallery features are not finite"):
        rerank_distances(query, gallery)
