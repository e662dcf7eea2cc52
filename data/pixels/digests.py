"""What image files hold, as digests: of each file, and the fingerprint of a whole set.

fingerprint(samples)  # 64 hex digits, the same for a copy of the images in another folder
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from data.pixels.decoding import SKIP
from data.pixels.memos import remembered
from data.sets.samples import Sample, name_of, split_box
from data.system.errors import UserError
from data.system.kept import default_cache_dir, file_digest


def content_digests(paths: Sequence[str], *, cache_dir: Path | None = None, threads: int | None = None) -> list[str]:
    """The SHA-256 of each image file's bytes (of its digest and the box, for a part of a picture), in hex, in order.

    `cache_dir` remembers them by path, size and modification time, so that a second call reads changed files only.
    Raises UserError when a file cannot be read.
    """
    try:
        digests = remembered(_digest, paths, (cache_dir or default_cache_dir()) / "digests", threads)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror or error}); {SKIP}") from error
    return [digests[path] for path in paths]


def _digest(path: str) -> str:
    file, box = split_box(path)
    digest = file_digest(file)
    return digest if box is None else hashlib.sha256(f"{digest} {box}".encode()).hexdigest()


def fingerprint(samples: Sequence[Sample], *, cache_dir: Path | None = None) -> str:
    """What tells this data set from others, in 64 hex digits: file names, identities, cameras and file contents.

    Folders and the order of `samples` do not count, so that a copy elsewhere has the same. Reads only the files that
    changed since the last call. Raises UserError when a file cannot be read.
    """
    digests = content_digests([sample.path for sample in samples], cache_dir=cache_dir)
    lines = [
        json.dumps([name_of(sample.path), sample.identity, sample.camera, digest])
        for sample, digest in zip(samples, digests, strict=True)
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
