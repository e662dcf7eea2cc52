"""The validation split on random data sets: what its docstrings promise, checked by counting."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest

from data.sets.samples import Sample
from data.sets.splits import TrainingData, hold_out_images, split_identities, split_query_gallery
from data.system.errors import UserError

SEEDS = range(12)


def random_set(seed: int, *, root: str = "/data/set", identities: int | None = None) -> list[Sample]:
    """10 to 60 identities with 1 to 12 images by 1 to 6 cameras, in no order."""
    rng = random.Random(seed)
    samples = []
    for identity in rng.sample(range(1, 2000), identities or rng.randint(10, 60)):
        cameras = [rng.randint(1, 6) for _ in range(rng.randint(1, 12))]
        samples += [
            Sample(f"{root}/{identity:04d}_c{camera}_{frame}.jpg", identity, camera)
            for frame, camera in enumerate(cameras)
        ]
    # At least one identity can be validated.
    samples += [Sample(f"{root}/5000_c{camera}_0.jpg", 5000, camera) for camera in (1, 2)]
    rng.shuffle(samples)
    return samples


def cameras_of(samples: Sequence[Sample]) -> dict[int, set[int]]:
    cameras: dict[int, set[int]] = defaultdict(set)
    for sample in samples:
        cameras[sample.identity].add(sample.camera)
    return cameras


def identities(samples: Sequence[Sample]) -> set[int]:
    return {sample.identity for sample in samples}


def names(data: TrainingData) -> list[list[str]]:
    return [[sample.path.rsplit("/", 1)[-1] for sample in part] for part in data]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_image_is_in_one_part_and_identities_are_disjoint(seed: int) -> None:
    samples = random_set(seed)
    data = split_identities(samples, seed=seed)
    assert Counter([*data.train, *data.query, *data.gallery]) == Counter(samples)
    assert not identities(data.train) & identities([*data.query, *data.gallery])
    assert identities(data.query) <= identities(data.gallery)
    assert not data.holdout
    assert all(list(part) == sorted(part) for part in data)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5])
def test_fraction_of_the_identities_and_at_least_8_are_held_out(seed: int, fraction: float) -> None:
    samples = random_set(seed, identities=40)
    count = len(identities(samples))
    data = split_identities(samples, fraction=fraction, seed=seed)
    assert count - len(identities(data.train)) == max(8, round(fraction * count))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_query_has_a_match_by_another_camera(seed: int) -> None:
    data = split_identities(random_set(seed), seed=seed)
    in_gallery = cameras_of(data.gallery)
    assert data.query
    assert all(in_gallery[query.identity] - {query.camera} for query in data.query)


@pytest.mark.parametrize("seed", SEEDS)
def test_validation_identity_of_two_cameras_gives_a_query_and_one_of_a_single_camera_none(seed: int) -> None:
    samples = random_set(seed)
    data = split_identities(samples, seed=seed)
    cameras = cameras_of(samples)
    expected = {number for number in identities(data.gallery) if len(cameras[number]) > 1}
    assert identities(data.query) == expected


@pytest.mark.parametrize(("fraction", "of_two_cameras"), [(0.15, 9), (0.2, 10), (0.5, 10)])
def test_identities_of_two_cameras_are_held_out_first_but_half_of_them_stay(
    fraction: float, of_two_cameras: int
) -> None:
    samples = [
        Sample(f"/{identity}_{camera}.jpg", identity, camera if identity < 20 else 1)
        for identity in range(60)
        for camera in (1, 2)
    ]
    held_out = identities(split_identities(samples, fraction=fraction).gallery)
    assert len(held_out) == round(60 * fraction)
    assert len(held_out & set(range(20))) == of_two_cameras


@pytest.mark.parametrize("seed", SEEDS)
def test_queries_are_few_and_of_different_cameras(seed: int) -> None:
    for identity in sorted(identities(random_set(seed))):
        images = [sample for sample in random_set(seed) if sample.identity == identity]
        query, gallery = split_query_gallery(images, seed)
        assert sorted([*query, *gallery]) == sorted(images)
        assert len(query) <= max(1, len(images) // 3)
        assert len({sample.camera for sample in query}) == len(query)
        assert bool(query) == (len({sample.camera for sample in images}) > 1)


def test_hand_worked_query_and_gallery() -> None:
    # Two images by two cameras: one of them is the query. Three by one camera: none is.
    one, other = Sample("/a.jpg", 1, 1), Sample("/b.jpg", 1, 2)
    query, gallery = split_query_gallery([one, other], 0)
    assert [query, gallery] in ([[one], [other]], [[other], [one]])
    alone = [Sample(f"/{n}.jpg", 1, 1) for n in range(3)]
    assert split_query_gallery(alone, 0) == ([], alone)


@pytest.mark.parametrize("seed", SEEDS)
def test_split_depends_on_neither_folder_nor_order(seed: int) -> None:
    here = hold_out_images(split_identities(random_set(seed), seed=seed), seed=seed)
    elsewhere = random_set(seed, root="/mnt/0001/another place")[::-1]
    there = hold_out_images(split_identities(elsewhere, seed=seed), seed=seed)
    assert names(there) == names(here)


def test_split_is_the_same_on_every_machine() -> None:
    # Recorded once: another result would make old studies incomparable.
    samples = [Sample(f"/x/{i:04d}_{c}.jpg", i, c) for i in range(1, 13) for c in (1, 2, 3)]
    data = split_identities(samples, seed=0)
    assert sorted(identities(data.train)) == [1, 5, 6, 8]
    assert names(data)[1] == [
        "0002_3.jpg",
        "0003_2.jpg",
        "0004_2.jpg",
        "0007_3.jpg",
        "0009_2.jpg",
        "0010_1.jpg",
        "0011_3.jpg",
        "0012_2.jpg",
    ]


def test_seed_chooses_identities_queries_and_holdout() -> None:
    samples = random_set(3, identities=50)
    splits = [hold_out_images(split_identities(samples, seed=seed), seed=seed) for seed in range(5)]
    assert len({tuple(sorted(identities(data.gallery))) for data in splits}) == 5
    images = [Sample(f"/{n}.jpg", 1, n % 4) for n in range(12)]
    assert len({tuple(split_query_gallery(images, seed)[0]) for seed in range(8)}) > 1
    same = split_identities(samples, seed=0)
    assert len({tuple(hold_out_images(same, seed=seed).holdout) for seed in range(5)}) == 5


@pytest.mark.parametrize("count", [1, 8, 9])
def test_too_few_identities_are_an_error_that_says_how_many_are_needed(count: int) -> None:
    samples = [Sample(f"/{i}_{c}.jpg", i, c) for i in range(count) for c in (1, 2)]
    with pytest.raises(UserError, match=rf"{count} training identities .* at least 10"):
        split_identities(samples)


def test_ten_identities_are_enough() -> None:
    samples = [Sample(f"/{i}_{c}.jpg", i, c) for i in range(10) for c in (1, 2)]
    data = split_identities(samples)
    assert len(identities(data.train)) == 2
    assert len(identities(data.gallery)) == 8


def test_too_large_a_fraction_is_an_error_whose_way_out_works() -> None:
    samples = [Sample(f"/{i}_{c}.jpg", i, c) for i in range(20) for c in (1, 2)]
    with pytest.raises(UserError, match="fraction"):
        split_identities(samples, fraction=0.95)


def test_no_identity_of_two_cameras_is_an_error() -> None:
    with pytest.raises(UserError, match="two cameras"):
        split_identities([Sample(f"/{i}_{n}.jpg", i, i % 3) for i in range(20) for n in range(3)])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("images_per_identity", "minimum"), [(1, 4), (2, 4), (3, 2)])
def test_holdout_takes_so_many_of_each_identity_that_can_spare_them(
    seed: int, images_per_identity: int, minimum: int
) -> None:
    data = split_identities(random_set(seed), seed=seed)
    held = hold_out_images(data, images_per_identity=images_per_identity, minimum=minimum, seed=seed)
    before = Counter(sample.identity for sample in data.train)
    taken = Counter(sample.identity for sample in held.holdout)
    for identity, count in before.items():
        spare = count >= max(minimum, images_per_identity + 1)
        assert taken[identity] == (images_per_identity if spare else 0)
    assert sorted([*held.train, *held.holdout]) == data.train
    assert identities(held.train) == identities(data.train)
    assert (held.query, held.gallery) == (data.query, data.gallery)
