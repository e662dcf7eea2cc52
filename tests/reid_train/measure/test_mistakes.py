"""Mistakes of queries, cameras and identities against plain loops, with one camera and with ties."""

import numpy as np
import pytest
import torch

from data.sets.samples import Sample
from reid_train.measure import mistakes
from reid_train.measure.mistakes import CameraPair, camera_pairs, find_mistakes, ranking, sides


def drawn(identities=7, each=5, cameras=4, queries=12, distractors=3, seed=0):
    """Samples of query and gallery, and embeddings around a point for each identity."""
    rng = np.random.default_rng(seed)
    samples = [
        Sample(f"/data/{identity}_{number}.jpg", identity, int(rng.integers(1, cameras + 1)))
        for identity in range(1, identities + 1)
        for number in range(each)
    ]
    rng.shuffle(samples)
    samples = [Sample(*sample) for sample in samples]
    samples = [Sample(path, int(identity), int(camera)) for path, identity, camera, _ in samples]
    samples += [Sample(f"/data/0_{number}.jpg", 0, 1 + number % cameras) for number in range(distractors)]
    centres = rng.normal(size=(identities + 1, 6))
    embedding_ND = np.stack([centres[sample.identity] + 1.3 * rng.normal(size=6) for sample in samples])
    embedding_ND /= np.linalg.norm(embedding_ND, axis=1, keepdims=True)
    return torch.from_numpy(embedding_ND).float(), samples[:queries], samples[queries:]


def plain_ranking(embedding_ND, query, gallery, place, keep=lambda sample: True):
    """Gallery places, the closest first, as the protocol ranks them."""
    similar = (embedding_ND[len(query) :] @ embedding_ND[place]).tolist()
    own = query[place]
    there = [i for i, g in enumerate(gallery) if (g.identity, g.camera) != (own.identity, own.camera) and keep(g)]
    return sorted(there, key=lambda i: (-similar[i], gallery[i].identity == own.identity))


def precision(order, own, gallery):
    """AP, or None without a match."""
    hits = [rank for rank, i in enumerate(order, 1) if gallery[i].identity == own.identity]
    return sum(n / rank for n, rank in enumerate(hits, 1)) / len(hits) if hits else None


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_precisions_wrong_answers_and_rank_lists_are_those_of_a_plain_loop(seed):
    embedding_ND, query, gallery = drawn(seed=seed)
    of_query, of_gallery = sides(embedding_ND, query, gallery)
    found = find_mistakes(of_query, of_gallery)
    expected, wrong = {}, {}
    for place, own in enumerate(query):
        order = plain_ranking(embedding_ND, query, gallery, place)
        if (ap := precision(order, own, gallery)) is not None:
            expected[place] = ap
            if gallery[order[0]].identity != own.identity:
                wrong[place] = order[0]
        ranked, similarity = ranking(of_query, of_gallery, place)
        assert ranked.tolist() == order and (np.diff(similarity) <= 0).all()
    assert found.metrics.query_index.tolist() == sorted(expected)
    assert found.metrics.average_precision.tolist() == pytest.approx([expected[place] for place in sorted(expected)])
    assert found.wrong_at_1 == wrong and wrong


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_pair_of_cameras_is_an_evaluation_among_the_gallery_images_of_one(seed):
    embedding_ND, query, gallery = drawn(queries=20, seed=seed)
    expected = {}
    for place, own in enumerate(query):
        for camera in {g.camera for g in gallery}:
            order = plain_ranking(embedding_ND, query, gallery, place, lambda g, c=camera: g.camera == c)
            if (ap := precision(order, own, gallery)) is not None:
                first = gallery[order[0]].identity == own.identity
                expected.setdefault((own.camera, camera), []).append((ap, first))
    pairs = camera_pairs(*sides(embedding_ND, query, gallery))
    assert {(p.query, p.gallery) for p in pairs} == set(expected) and all(p.query != p.gallery for p in pairs)
    for pair in pairs:
        rows = np.array(expected[pair.query, pair.gallery], dtype=float)
        assert (pair.queries, pair.mAP, pair.rank1) == (len(rows), *map(pytest.approx, rows.mean(axis=0)))


def test_a_pair_with_few_queries_comes_after_one_that_many_show_to_be_bad(monkeypatch):
    pairs = [CameraPair(1, 2, 2, 0.0, 0.1), CameraPair(1, 3, 40, 0.25, 0.2), CameraPair(2, 3, 40, 0.9, 0.9)]
    ordered = sorted(pairs, key=mistakes._upper)
    assert [(pair.query, pair.gallery) for pair in ordered] == [(1, 3), (1, 2), (2, 3)]
    # Wilson's interval of 10 of 40, by the formula's published values: 0.142 to 0.402.
    assert mistakes._upper(pairs[1]) == pytest.approx(0.402, abs=0.001)


def test_where_one_camera_took_all_only_the_own_image_is_left_out():
    embedding_ND, query, gallery = drawn(cameras=1, distractors=0, queries=5)
    gallery = [*gallery, Sample("/data/gallery/" + query[0].path.rsplit("/", 1)[1], *query[0][1:])]
    embedding_ND = torch.cat([embedding_ND, embedding_ND[:1]])
    of_query, of_gallery = sides(embedding_ND, query, gallery)
    found = find_mistakes(of_query, of_gallery)
    assert found.metrics.queries == len(query)
    order, similarity = ranking(of_query, of_gallery, 0)
    assert len(order) == len(gallery) - 1 and len(gallery) - 1 not in order and similarity[0] < 0.9999
    (pair,) = camera_pairs(of_query, of_gallery)
    assert (pair.query, pair.gallery, pair.queries) == (1, 1, len(query))
    assert pair.mAP == pytest.approx(found.metrics.mAP)


def test_of_two_images_as_close_the_wrong_one_comes_first():
    _, query, gallery = drawn()
    point = torch.zeros(len(query) + len(gallery), 3)
    point[:, 0] = 1
    of_query, of_gallery = sides(point, query, gallery)
    found = find_mistakes(of_query, of_gallery)
    assert set(found.wrong_at_1) == set(found.metrics.query_index.tolist()), "nothing is told apart"
    order, _ = ranking(of_query, of_gallery, 0)
    right = [gallery[i].identity == query[0].identity for i in order]
    assert right == sorted(right)


def test_no_wrong_answers_at_all():
    _, query, gallery = drawn(distractors=0)
    embedding_ND = torch.zeros(len(query) + len(gallery), 10)
    for place, sample in enumerate([*query, *gallery]):
        embedding_ND[place, sample.identity] = 1
    of_query, of_gallery = sides(embedding_ND, query, gallery)
    found = find_mistakes(of_query, of_gallery)
    assert found.wrong_at_1 == {} and found.metrics.mAP == 1
    assert all(pair.rank1 == pair.mAP == 1 for pair in camera_pairs(of_query, of_gallery))


def test_chunks_give_the_same_and_many_cameras_are_not_compared(monkeypatch):
    embedding_ND, query, gallery = drawn()
    both = sides(embedding_ND, query, gallery)
    whole = find_mistakes(*both).wrong_at_1
    monkeypatch.setattr(mistakes, "CHUNK_BYTES", 1)
    assert find_mistakes(*both).wrong_at_1 == whole
    monkeypatch.setattr(mistakes, "MOST_CAMERAS", 3)
    assert camera_pairs(*both) == []
