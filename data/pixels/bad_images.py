"""Images that cannot be decoded: which they are, and what a run does about them.

    samples, left_out = usable_train("data/VeRi", on_bad_image="skip")

"stop" ends the command, where the images are opened (data/pixels/cache.py); "skip" leaves them out.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, assert_never

from data.pixels.decoding import check_file, decoder_name, problem_with
from data.pixels.memos import remembered
from data.sets.listing import MAX_LEFT_OUT
from data.sets.protocol import TestSet
from data.sets.readers import read_test_sets, read_train
from data.sets.samples import Sample
from data.system.errors import UserError
from data.system.kept import default_cache_dir

OnBadImage = Literal["stop", "skip"]
NAMED = 3
"""How many of the images left out a message names."""


def bad_images(paths: Sequence[str], *, cache_dir: Path | None = None, threads: int | None = None) -> dict[str, str]:
    """Path -> what is wrong, in the order of `paths`, for the images that cannot be decoded to their last byte.

    `cache_dir` remembers which images are whole, as it does digests. The others are tried again by every call.
    """
    files = [path for path in paths if _is_image_file(path)]
    memos = (cache_dir or default_cache_dir()) / f"whole, {decoder_name()}"
    problems = remembered(_problem, files, memos, threads, worth_it=lambda problem: not problem)
    problems |= {path: _problem(path) for path in set(paths) - set(files)}
    return {path: problems[path] for path in dict.fromkeys(paths) if problems[path]}


def _problem(path: str) -> str:
    return problem_with(path) or ""


def _is_image_file(path: str) -> bool:
    try:
        check_file(path)
    except OSError:
        return False
    return True


def leave_out_bad(paths: Sequence[str], on_bad_image: OnBadImage, *, cache_dir: Path | None = None) -> dict[str, str]:
    """The images that a run leaves out, path -> why. With "stop" none: `open_pixels` refuses bad ones."""
    match on_bad_image:
        case "stop":
            return {}
        case "skip":
            return bad_images(paths, cache_dir=cache_dir)
        case _:
            assert_never(on_bad_image)


def usable_train(
    data_dir: str | Path,
    dataset: str | None = None,
    *,
    name_pattern: str | None = None,
    outside_images: bool = False,
    max_left_out: float = MAX_LEFT_OUT,
    on_bad_image: OnBadImage = "stop",
    cache_dir: Path | None = None,
) -> tuple[list[Sample], list[str]]:
    """The training images that a run uses, and the paths of those that it leaves out, sorted.

    Raises UserError when they cannot be read or none is left.
    """
    allowed: Any = {"outside_images": outside_images, "max_left_out": max_left_out}
    samples = read_train(data_dir, dataset, name_pattern=name_pattern, **allowed)
    return _usable(samples, "training", on_bad_image, cache_dir)


def usable_test_sets(
    data_dir: str | Path,
    dataset: str | None = None,
    *,
    name_pattern: str | None = None,
    outside_images: bool = False,
    max_left_out: float = MAX_LEFT_OUT,
    on_bad_image: OnBadImage = "stop",
    cache_dir: Path | None = None,
) -> tuple[list[TestSet], list[str]]:
    """What a run is tested on, and the paths of the images that it leaves out, sorted."""
    tests, left_out = [], set[str]()
    allowed: Any = {"outside_images": outside_images, "max_left_out": max_left_out}
    for test in read_test_sets(data_dir, dataset, name_pattern=name_pattern, **allowed):
        query, no_queries = _usable(test.query, "query", on_bad_image, cache_dir)
        gallery, not_in_gallery = _usable(test.gallery, "gallery", on_bad_image, cache_dir)
        tests.append(replace(test, query=query, gallery=gallery))
        left_out |= {*no_queries, *not_in_gallery}
    return tests, sorted(left_out)


def describe_left_out(left_out: Sequence[str], where: str) -> str:
    """`2 training images left out, as they cannot be decoded: a.jpg, b.jpg`; "" where none is left out."""
    if not left_out:
        return ""
    names = [path.replace("\\", "/").rsplit("/", 1)[-1] for path in left_out]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    images = f"{len(names)} {where} image{'' if len(names) == 1 else 's'}"
    return f"{images} left out, as they cannot be decoded: {', '.join(names[:NAMED])}{more}"


def _usable(
    samples: list[Sample], where: str, on_bad_image: OnBadImage, cache_dir: Path | None
) -> tuple[list[Sample], list[str]]:
    left_out = leave_out_bad([sample.path for sample in samples], on_bad_image, cache_dir=cache_dir)
    kept = [sample for sample in samples if sample.path not in left_out]
    if not kept:
        path, why = next(iter(left_out.items()))
        raise UserError(f"none of the {len(samples)} {where} images can be decoded, the first is {path}: {why}")
    return kept, sorted(left_out)
