"""Test sets with several draws, and without cameras, against plain loops."""

import pytest
import torch

from data.sets.protocol import TestSet, images_of
from data.sets.samples import Sample
from reid_train.measure.mistakes import find_mistakes, ranking, sides
from reid_train.measure.scores import score_tests


@pytest.fixture
def images() -> list[Sample]:
    """30 images of 10 identities; no cameras are known."""
    return [Sample(f"/{number:02d}.jpg", number % 10 + 1, -1 - number) for number in range(30)]


@pytest.fixture
def embedding_ND(images: list[Sample]) -> torch.Tensor:
    """Images of an identity are somewhat alike."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.randn(11, 8, generator=generator)
    noise = torch.randn(len(images), 8, generator=generator)
    return torch.nn.functional.normalize(centre[[s.identity for s in images]] + noise)


def test_leave_one_out_rank_1_is_a_plain_argmax(images: list[Sample], embedding_ND: torch.Tensor) -> None:
    figures = score_tests(embedding_ND, images, [TestSet(images, images)])
    similarity_NN = embedding_ND @ embedding_ND.T
    similarity_NN.fill_diagonal_(-2)
    nearest = similarity_NN.argmax(dim=1).tolist()
    right = [images[place].identity == sample.identity for place, sample in zip(nearest, images, strict=True)]
    assert figures["rank1"] == pytest.approx(sum(right) / 30) and 0 < sum(right) < 30
    assert figures["queries"] == 30 and "draws" not in figures
    assert "no cameras" in figures["protocol"]


def test_ten_draws_are_the_mean_of_a_plain_loop(images: list[Sample], embedding_ND: torch.Tensor) -> None:
    test = TestSet(images, images, draws=10)
    figures = score_tests(embedding_ND, images, [test])
    rank1, precision = [], []
    for _, gallery in test.rounds():
        inside = {sample.path for sample in gallery}
        ranks = []
        for place, sample in enumerate(images):
            if sample.path in inside:
                continue
            order = sorted(gallery, key=lambda other: -float(embedding_ND[place] @ embedding_ND[images.index(other)]))
            ranks.append(1 + [other.identity for other in order].index(sample.identity))
        assert len(ranks) == 20
        rank1.append(sum(rank == 1 for rank in ranks) / 20)
        precision.append(sum(1 / rank for rank in ranks) / 20)
    assert figures["rank1"] == pytest.approx(sum(rank1) / 10)
    assert figures["mAP"] == pytest.approx(sum(precision) / 10)
    mean = sum(precision) / 10
    assert figures["sd"]["mAP"] == pytest.approx((sum((p - mean) ** 2 for p in precision) / 9) ** 0.5)
    assert (figures["draws"], figures["queries"], figures["identities"]) == (10, 20, 10)
    low, high = figures["intervals"]["mAP"]
    assert low < figures["mAP"] < high


def plain_loop(images: list[Sample], embedding_ND: torch.Tensor) -> tuple[list[float], list[bool]]:
    """AP and rank 1 of each image, with its sequence left out, whomever it shows."""
    precisions, first = [], []
    for place, query in enumerate(images):
        order = sorted(range(len(images)), key=lambda other: -float(embedding_ND[place] @ embedding_ND[other]))
        others = [images[other] for other in order if images[other].sequence != query.sequence]
        ranks = [rank for rank, other in enumerate(others, start=1) if other.identity == query.identity]
        precisions.append(sum(number / rank for number, rank in enumerate(ranks, start=1)) / len(ranks))
        first.append(ranks[0] == 1)
    return precisions, first


def test_a_querys_sequence_is_left_out_whomever_it_shows(images: list[Sample], embedding_ND: torch.Tensor) -> None:
    images = [s._replace(camera=1 + n // 6, sequence=1 + n // 6) for n, s in enumerate(images)]
    figures = score_tests(embedding_ND, images, [TestSet(images, images)])
    precisions, first = plain_loop(images, embedding_ND)
    assert figures["mAP"] == pytest.approx(sum(precisions) / 30)
    assert figures["rank1"] == pytest.approx(sum(first) / 30)
    query, gallery = sides(torch.cat([embedding_ND, embedding_ND]), images, images)
    told = find_mistakes(query, gallery)
    assert told.metrics.mAP == pytest.approx(figures["mAP"])
    assert sorted(told.wrong_at_1) == [place for place, right in enumerate(first) if not right]
    for place, wrong in told.wrong_at_1.items():
        order_G, _ = ranking(query, gallery, place)
        assert order_G[0] == wrong and all(images[other].sequence != images[place].sequence for other in order_G)


def test_without_sequences_only_the_identitys_images_by_its_camera_are_left_out(
    images: list[Sample], embedding_ND: torch.Tensor
) -> None:
    of_sequences = [s._replace(camera=1 + n // 6, sequence=1 + n // 6) for n, s in enumerate(images)]
    of_cameras = [s._replace(sequence=0) for s in of_sequences]
    with_them, without = (score_tests(embedding_ND, s, [TestSet(s, s)])["mAP"] for s in (of_sequences, of_cameras))
    assert with_them > without


def test_each_test_set_has_its_figures_and_the_first_ones_come_first(
    images: list[Sample], embedding_ND: torch.Tensor
) -> None:
    small, large = TestSet(images[:5], images[10:], name="5"), TestSet(images[:10], images[10:], name="10")
    assert images_of([small, large]) == [*images[:5], *images[10:], *images[5:10]]
    figures = score_tests(embedding_ND, images, [small, large])
    assert [of_test["queries"] for of_test in figures["test_sets"].values()] == [5, 10]
    assert list(figures["test_sets"]) == ["5", "10"] and figures["queries"] == 5
    alone = score_tests(embedding_ND, images, [large])
    assert figures["test_sets"]["10"] == alone and "test_sets" not in alone
