"""The images that may be used: inside the data folder, and decodable. What is done about the others is the user's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from data.pixels.digests import unreadable
from data.sets.readers import read_test, read_train
from data.sets.samples import Sample
from data.system.errors import UserError

OnBadImage = Literal["stop", "skip"]
NAMED = 3
"""Images left out that a message names."""


def usable_train(
    data_dir: str | Path,
    dataset: str | None = None,
    *,
    outside_images: bool = False,
    on_bad_image: OnBadImage = "stop",
    cache_dir: Path | None = None,
) -> tuple[list[Sample], list[str]]:
    """The training images that may be used, and the paths of those that "skip" leaves out, sorted.

    With "stop" none are left out: `open_pixels` refuses them. Raises UserError, also when nothing is left.
    """
    samples = read_train(data_dir, dataset, outside_images=outside_images)
    if on_bad_image == "stop":
        return samples, []
    return _without_bad(samples, "training", cache_dir)


def usable_test(
    data_dir: str | Path,
    dataset: str | None = None,
    *,
    outside_images: bool = False,
    on_bad_image: OnBadImage = "stop",
    cache_dir: Path | None = None,
) -> tuple[list[Sample], list[Sample], list[str]]:
    """Query and gallery images that may be used, and the paths left out, as `usable_train` does for training."""
    query, gallery = read_test(data_dir, dataset, outside_images=outside_images)
    if on_bad_image == "stop":
        return query, gallery, []
    query, left_out = _without_bad(query, "query", cache_dir)
    gallery, of_gallery = _without_bad(gallery, "gallery", cache_dir)
    return query, gallery, sorted({*left_out, *of_gallery})


def describe_left_out(left_out: Sequence[str], where: str) -> str:
    """`2 training images left out, as they cannot be decoded: a.jpg, b.jpg`; empty for none."""
    if not left_out:
        return ""
    names = [path.replace("\\", "/").rsplit("/", 1)[-1] for path in left_out]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    images = f"{len(names)} {where} image{'' if len(names) == 1 else 's'}"
    return f"{images} left out, as they cannot be decoded: {', '.join(names[:NAMED])}{more}"


def _without_bad(samples: list[Sample], where: str, cache_dir: Path | None) -> tuple[list[Sample], list[str]]:
    broken = unreadable([sample.path for sample in samples], cache_dir=cache_dir)
    kept = [sample for sample in samples if sample.path not in broken]
    if not kept:
        path, why = next(iter(broken.items()))
        raise UserError(f"none of the {len(samples)} {where} images can be decoded, the first is {path}: {why}")
    return kept, sorted(broken)
