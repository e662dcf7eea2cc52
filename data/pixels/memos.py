"""Remembers a result for each image file, from run to run, until the file changes.

    digests = remembered(file_digest, paths, default_cache_dir() / "digests")  # path -> digest

A file has changed when its size or modification time has. There is a JSON file of results for each folder of images.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from data.pixels.decoding import check_file
from data.sets.samples import name_of
from data.system.files import write_text
from data.system.kept import kept_file, stamp_of
from data.system.threads import in_threads

logger = logging.getLogger(__name__)

Memo = dict[str, tuple[str, str]]
"""File name -> stamp and result."""


def remembered(
    function: Callable[[str], str],
    paths: Sequence[str],
    memos: Path,
    threads: int | None = None,
    worth_it: Callable[[str], bool] = lambda result: True,
) -> dict[str, str]:
    """Path -> `function` of it. The folder `memos` remembers the results that are `worth_it`.

    Raises OSError for what is no regular file.
    """
    by_folder: dict[str, list[str]] = {}
    for path in dict.fromkeys(paths):
        by_folder.setdefault(os.path.dirname(os.path.abspath(path)), []).append(path)  # noqa: PTH100, PTH120
    results: dict[str, str] = {}
    for folder, files in by_folder.items():
        memo = kept_file(memos, hashlib.sha256(os.fsencode(folder)).hexdigest(), ".json")
        known = _read(memo)
        stamps = {path: stamp_of(path, check_file(path)) for path in files}
        new = [path for path, stamp in stamps.items() if known.get(name_of(path), ("", ""))[0] != stamp]
        fresh = dict(zip(new, in_threads(function, new, threads), strict=True))
        known |= {name_of(path): (stamps[path], result) for path, result in fresh.items() if worth_it(result)}
        results |= {path: fresh[path] if path in fresh else known[name_of(path)][1] for path in files}
        if fresh:
            _write(memo, known)
    return results


def _read(memo: Path) -> Memo:
    """What an earlier run remembered; nothing where the file is missing or torn."""
    try:
        return {name: (stamp, result) for name, (stamp, result) in json.loads(memo.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(memo: Path, known: Memo) -> None:
    # Where two write at once the last one wins, and the other's files are read once more.
    try:
        write_text(memo, json.dumps(known))
    except OSError as error:
        logger.debug("%s: not written, the images will be read again: %s", memo, error)
