"""What image files hold: digests, a set's fingerprint, and which cannot be decoded; remembered from run to run."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Container, Sequence
from pathlib import Path

from PIL import __version__ as pillow_version

from data.pixels.decoding import check_file, problem_with
from data.sets.samples import Sample
from data.system.errors import UserError
from data.system.files import write_text
from data.system.kept import default_cache_dir, file_digest, stamp_of
from data.system.threads import in_threads

logger = logging.getLogger(__name__)

FORMAT = 1
"""Raised whenever the same image would give other bytes, or the file another layout."""
SKIP = "mend it, or leave such images out with on_bad_image=skip (as an option: --on-bad-image skip)"


def content_digests(paths: Sequence[str], *, cache_dir: Path | None = None, threads: int | None = None) -> list[str]:
    """The SHA-256 of each image file's bytes, in hex, in order.

    Remembered in `cache_dir` by (path, size, mtime in ns): a second call reads no file that has not changed.
    Raises UserError when a file cannot be read.
    """
    try:
        digests = _remembered(file_digest, paths, (cache_dir or default_cache_dir()) / "digests", threads)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror or error}); {SKIP}") from error
    return [digests[path] for path in paths]


def unreadable(paths: Sequence[str], *, cache_dir: Path | None = None, threads: int | None = None) -> dict[str, str]:
    """Path -> why, in the order of `paths`, for the images that cannot be decoded to their last byte.

    Those that can are remembered in `cache_dir` as digests are; the others are tried again by every call.
    """
    broken: dict[str, str] = {}

    def check(path: str) -> str:
        if problem := problem_with(path):
            broken[path] = problem
        return ""

    def is_there(path: str) -> bool:
        try:
            check_file(path)
        except OSError:
            return False
        return True

    there = [path for path in paths if is_there(path)]
    memo = (cache_dir or default_cache_dir()) / f"whole, {decoder_name()}"
    _remembered(check, there, memo, threads, forgotten=broken)
    broken |= {path: str(problem_with(path)) for path in set(paths) - set(there)}
    return {path: broken[path] for path in dict.fromkeys(paths) if path in broken}


def _remembered(
    function: Callable[[str], str],
    paths: Sequence[str],
    memos: Path,
    threads: int | None,
    forgotten: Container[str] = (),
) -> dict[str, str]:
    """`function` of each file, remembered in the folder `memos` but for those that come to be in `forgotten`."""
    by_folder: dict[str, list[str]] = {}
    for path in dict.fromkeys(paths):
        by_folder.setdefault(os.path.dirname(os.path.abspath(path)), []).append(path)  # noqa: PTH100, PTH120
    results: dict[str, str] = {}
    for folder, files in by_folder.items():
        memo = memos / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}.json"
        known = _read_memo(memo)
        stamps = {path: stamp_of(path, check_file(path)) for path in files}
        new = [path for path, stamp in stamps.items() if known.get(name_of(path), ("", ""))[0] != stamp]
        fresh = dict(zip(new, in_threads(function, new, threads), strict=True))
        known |= {name_of(path): (stamps[path], result) for path, result in fresh.items() if path not in forgotten}
        results |= {path: fresh[path] if path in fresh else known[name_of(path)][1] for path in files}
        if fresh:
            _write_memo(memo, known)
    return results


def _read_memo(memo: Path) -> dict[str, tuple[str, str]]:
    """File name -> stamp and digest, as an earlier call left it; nothing when that is missing or torn."""
    try:
        return {name: (stamp, digest) for name, (stamp, digest) in json.loads(memo.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_memo(memo: Path, known: dict[str, tuple[str, str]]) -> None:
    # Of two writers at once the last one wins; the other's files are read once more, which is harmless.
    try:
        write_text(memo, json.dumps(known))
    except OSError as error:
        logger.debug("%s: not written, the images will be read again: %s", memo, error)


def fingerprint(samples: Sequence[Sample], *, cache_dir: Path | None = None) -> str:
    """What makes this data set this one, as 64 hex digits: file names, identities, cameras and file contents.

    Folders and the order of `samples` do not count, so that copies elsewhere agree. Reads only files that
    changed since the last call. Raises UserError when a file cannot be read.
    """
    digests = content_digests([sample.path for sample in samples], cache_dir=cache_dir)
    lines = [
        json.dumps([name_of(sample.path), sample.identity, sample.camera, digest])
        for sample, digest in zip(samples, digests, strict=True)
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def name_of(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def decoder_name() -> str:
    """What turns files into pixels."""
    return f"{FORMAT} Pillow {pillow_version}"
