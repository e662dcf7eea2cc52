"""P x K batches on random data sets: what the docstrings promise, checked by counting."""

import math
import random
from collections import Counter

import numpy as np
import pytest

from data.pixels.sampler import check_batch, epoch_batches, steps_per_epoch
from data.system.errors import UserError

# P identities and K images of each in a batch


def random_labels(seed: int, identities: int) -> list[int]:
    """Identities with 1 to 40 images each, few with many, in no order."""
    rng = random.Random(seed)
    labels = [label for label in range(identities) for _ in range(min(40, int(rng.paretovariate(0.8))))]
    rng.shuffle(labels)
    return labels


CASES = [
    (seed, identities, p, k)
    for seed in range(4)
    for identities, p, k in [(2, 2, 2), (5, 5, 4), (9, 4, 4), (40, 8, 4), (40, 4, 16), (7, 2, 3), (200, 16, 1)]
]


def batches_of(labels: list[int], p: int, k: int, seed: int = 0, epoch: int = 0) -> list[list[int]]:
    return epoch_batches(labels, batch_size=p * k, images_per_identity=k, seed=seed, epoch=epoch)


def groups_of(batch: list[int], labels: list[int]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for index in batch:
        groups.setdefault(labels[index], []).append(index)
    return groups


@pytest.mark.parametrize(("seed", "identities", "p", "k"), CASES)
def test_each_batch_has_p_different_identities_by_k_images(seed: int, identities: int, p: int, k: int) -> None:
    labels = random_labels(seed, identities)
    for epoch in range(3):
        batches = batches_of(labels, p, k, seed, epoch)
        assert len(batches) == steps_per_epoch(len(labels), p * k) == math.ceil(len(labels) / (p * k))
        for batch in batches:
            assert all(type(index) is int for index in batch)
            assert [len(group) for group in groups_of(batch, labels).values()] == [k] * p


@pytest.mark.parametrize(("seed", "identities", "p", "k"), CASES)
def test_group_has_no_image_twice_unless_the_identity_has_too_few(seed: int, identities: int, p: int, k: int) -> None:
    labels = random_labels(seed, identities)
    images_of = Counter(labels)
    for epoch in range(3):
        for batch in batches_of(labels, p, k, seed, epoch):
            for label, group in groups_of(batch, labels).items():
                assert len(set(group)) == min(k, images_of[label])


def test_group_across_two_rounds_of_an_identity_has_no_image_twice() -> None:
    # 5 images in groups of 4: every second group begins with the rest of a round.
    labels = [0] * 5 + [1] * 5
    for epoch in range(50):
        for batch in batches_of(labels * 1, 2, 4, epoch=epoch):
            assert len(set(batch)) == 8


@pytest.mark.parametrize(("seed", "identities", "p", "k"), CASES)
def test_every_identity_appears_where_there_are_places_enough(seed: int, identities: int, p: int, k: int) -> None:
    labels = random_labels(seed, identities)
    batches = batches_of(labels, p, k, seed)
    seen = {labels[index] for batch in batches for index in batch}
    assert len(seen) == min(len(set(labels)), len(batches) * p)


def test_identities_left_out_for_lack_of_places_change_from_epoch_to_epoch() -> None:
    labels = [label for label in range(100) for _ in range(2)]  # 200 images: 13 batches of 4 x 4, 52 places
    seen = [{labels[i] for batch in batches_of(labels, 4, 4, epoch=e) for i in batch} for e in range(8)]
    assert all(len(labels_seen) == 52 for labels_seen in seen)
    assert len(set.union(*seen)) >= 98  # by chance 100 x (1 - 0.48^8) = 99.7


def test_identities_appear_in_proportion_to_their_images() -> None:
    labels = [0] * 80 + [1] * 40 + [2] * 40 + [3] * 20 + [4] * 20
    batches = batches_of(labels, 2, 4)  # 25 batches, 50 places: 20, 10, 10, 5, 5
    groups = Counter(labels[index] for batch in batches for index in batch)
    assert {label: count // 4 for label, count in groups.items()} == {0: 20, 1: 10, 2: 10, 3: 5, 4: 5}


@pytest.mark.parametrize(("seed", "identities", "p", "k"), CASES)
def test_groups_are_those_of_a_plain_loop(seed: int, identities: int, p: int, k: int) -> None:
    labels = random_labels(seed, identities)
    batches = batches_of(labels, p, k, seed)
    images_of = Counter(labels)
    slots = len(batches) * p
    if slots < len(images_of):
        return  # chosen by lot: the test of the identities left out
    tie = dict(zip(sorted(images_of), np.random.default_rng([seed, 0]).random(len(images_of)), strict=True))
    given = dict.fromkeys(sorted(images_of), 1)
    for _ in range(slots - len(given)):
        free = [label for label in given if given[label] < len(batches)]
        given[max(free, key=lambda label: (images_of[label] / k + tie[label] * 1e-3) / given[label])] += 1
    drawn = Counter(labels[index] for batch in batches for index in batch)
    assert {label: count // k for label, count in drawn.items()} == given


def test_identity_with_most_of_the_images_appears_at_most_once_a_batch() -> None:
    labels = [0] * 100 + [1, 2, 3]
    batches = batches_of(labels, 2, 2)
    assert all(len(groups_of(batch, labels)) == 2 for batch in batches)
    assert sum(0 in groups_of(batch, labels) for batch in batches) == len(batches)


def test_images_of_an_identity_take_turns() -> None:
    # 8 batches with 2 x 4 images each: 32 of identity 0 from its 10 images, so each 3 or 4 times.
    labels = [0] * 10 + [1] * 54
    for epoch in range(10):
        batches = batches_of(labels, 2, 4, epoch=epoch)
        seen = Counter(index for batch in batches for index in batch if labels[index] == 0)
        assert set(seen) == set(range(10))
        assert max(seen.values()) - min(seen.values()) <= 1


def test_batches_are_a_pure_function_of_seed_and_epoch() -> None:
    labels = random_labels(1, 40)
    for k in (4, None):
        options = {"batch_size": 16, "images_per_identity": k}
        all_batches = {
            (seed, epoch): epoch_batches(labels, seed=seed, epoch=epoch, **options)  # type: ignore[arg-type]
            for seed in range(3)
            for epoch in range(3)
        }
        again = epoch_batches(labels, seed=1, epoch=2, **options)  # type: ignore[arg-type]
        assert again == all_batches[1, 2]
        assert len({str(batches) for batches in all_batches.values()}) == 9


def test_labels_may_be_any_numbers() -> None:
    plain = batches_of([0, 0, 1, 1, 2, 2], 2, 2)
    assert batches_of([7, 7, 700, 700, 7000, 7000], 2, 2) == plain


@pytest.mark.parametrize("images", [1, 7, 8, 9, 100])
def test_without_k_every_image_comes_once_and_the_last_batch_is_filled_up(images: int) -> None:
    batches = epoch_batches([3] * images, batch_size=8, images_per_identity=None, seed=0, epoch=0)
    assert [len(batch) for batch in batches] == [8] * math.ceil(images / 8)
    drawn = [index for batch in batches for index in batch]
    assert sorted(drawn[:images]) == list(range(images))
    assert drawn[images:] == (drawn * 8)[: len(drawn) - images]
    assert images < 8 or drawn[:images] != list(range(images))


def fits(batch_size: int, k: int, identities: int) -> bool:
    return k >= 1 and batch_size % k == 0 and 2 <= batch_size // k <= identities


def test_check_batch_passes_exactly_what_fits() -> None:
    for batch_size in range(1, 40):
        for k in range(1, 12):
            for identities in range(1, 8):
                if fits(batch_size, k, identities):
                    check_batch(batch_size, k, identities)
                    labels = list(range(identities)) * 5
                    assert epoch_batches(labels, batch_size=batch_size, images_per_identity=k, seed=0, epoch=0)
                else:
                    with pytest.raises(UserError, match=f"batch_size={batch_size}"):
                        check_batch(batch_size, k, identities)
        check_batch(batch_size, None, 1)


def test_without_the_number_of_identities_only_what_no_data_could_fill_is_refused() -> None:
    for batch_size in range(1, 40):
        for k in range(1, 12):
            if fits(batch_size, k, identities=40):
                check_batch(batch_size, k)
            else:
                with pytest.raises(UserError) as caught:
                    check_batch(batch_size, k)
                message = str(caught.value)
                (way_out,) = numbers_after("nearest: ", message) + numbers_after("no negatives; use ", message)
                check_batch(way_out, k)


def numbers_after(words: str, message: str) -> list[int]:
    """The numbers that follow `words`: "images_per_identity 8 or 16" -> [8, 16]."""
    _, found, rest = message.partition(words)
    numbers = []
    for word in rest.replace(",", " ,").split() if found else []:
        if word.isdigit():
            numbers.append(int(word))
        elif word != "or":
            break
    return numbers


def test_error_names_only_values_that_fit() -> None:
    for batch_size in range(1, 40):
        for k in range(1, 12):
            for identities in range(2, 8):
                if fits(batch_size, k, identities):
                    continue
                with pytest.raises(UserError) as caught:
                    check_batch(batch_size, k, identities)
                message = str(caught.value)
                sizes = numbers_after("nearest: ", message) + numbers_after("batch_size at most ", message)
                sizes += numbers_after("no negatives; use ", message)
                ks = numbers_after("use images_per_identity ", message)
                assert sizes or ks, message
                assert all(fits(size, k, identities) for size in sizes), message
                assert all(fits(batch_size, each, identities) for each in ks), message
