"""What grows with images, identities and cameras stays near linear, up to a million images.

Each limit is generous for a slow and busy machine, and far below what a quadratic way would take: minutes to hours.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.pixels.digests import content_digests
from data.pixels.memos import MEMOS
from data.pixels.sampler import epoch_batches
from data.sets.samples import Sample
from data.sets.splits import hold_out_images, split_identities, split_query_gallery

LIMIT_S = 30


def images(count: int, of: Callable[[int], int], by: Callable[[int], int]) -> list[Sample]:
    """Images of the identities `of`, by the cameras `by`, of an image's number."""
    return [Sample(f"/set/{number:07d}.jpg", of(number), by(number)) for number in range(count)]


def in_time(work: Callable[[], Any]) -> Any:
    started = time.monotonic()
    result = work()
    assert time.monotonic() - started < LIMIT_S
    return result


@pytest.mark.parametrize("k", [4, 16])
def test_batches_of_100_000_identities(k: int) -> None:
    labels = [number % 100_000 for number in range(1_000_000)]
    options = {"batch_size": 16 * k, "images_per_identity": k, "seed": 0, "epoch": 0}
    batches = in_time(lambda: epoch_batches(labels, **options))  # type: ignore[arg-type]
    assert all(len({labels[index] for index in batch}) == 16 for batch in batches[:100])


def test_batches_of_identities_with_10_000_images() -> None:
    labels = [number % 10 for number in range(100_000)] + list(range(10, 10_010))
    batches = in_time(lambda: epoch_batches(labels, batch_size=32, images_per_identity=4, seed=0, epoch=0))
    times = Counter(index for batch in batches for index in batch)
    assert {labels[index] for index in times} == set(range(10_010))


def test_identities_are_held_out_of_a_million_images() -> None:
    samples = images(1_000_000, lambda number: number // 10, lambda number: number % 3)
    data = in_time(lambda: hold_out_images(split_identities(samples, fraction=0.2, seed=0)))
    assert sum(map(len, data)) == 1_000_000 and len({sample.identity for sample in data.gallery}) == 20_000


@pytest.mark.parametrize(("cameras", "queries"), [(1, 0), (2, 2), (10_000, 3_333)])
def test_query_and_gallery_of_an_identity_with_10_000_images(cameras: int, queries: int) -> None:
    samples = images(10_000, lambda number: 7, lambda number: number % cameras)
    query, gallery = in_time(lambda: split_query_gallery(samples, 0))
    assert (len(query), len(gallery)) == (queries, 10_000 - queries)


def test_a_folder_for_each_of_1_500_identities_costs_about_what_one_folder_does(tmp_path: Path) -> None:
    def seconds(paths: list[Path]) -> float:
        for number, path in enumerate(paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes([number % 256, number // 256]))
        started = time.monotonic()
        digests = content_digests([str(path) for path in paths], cache_dir=tmp_path / "cache")
        assert digests[700] == hashlib.sha256(bytes([700 % 256, 700 // 256])).hexdigest()
        return time.monotonic() - started

    together = seconds([tmp_path / "one" / f"{number}.jpg" for number in range(1500)])
    apart = seconds([tmp_path / "many" / str(number) / "a.jpg" for number in range(1500)])
    assert apart < 3 * together + 1
    assert len(list((tmp_path / "cache" / "digests").iterdir())) <= MEMOS
