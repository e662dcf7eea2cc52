"""Remembers a result for each image file, from run to run, until the file changes.

    digests = remembered(file_digest, paths, default_cache_dir() / "digests")  # path -> digest

A file has changed when its size or modification time has. The results lie in a few JSON files, which all images share:
one for each folder of images would be slow where every identity has a folder.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from data.pixels.decoding import check_file
from data.system.files import write_text
from data.system.kept import stamp_of
from data.system.threads import in_threads

logger = logging.getLogger(__name__)

Memo = dict[str, tuple[str, str]]
"""Absolute path -> stamp and result."""
MEMOS = 16
"""JSON files among which the folders of images are divided; whoever has a new result writes the whole of one."""


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
    places = {path: os.path.abspath(path) for path in paths}  # noqa: PTH100
    stamps = {path: stamp_of(path, check_file(path)) for path in places}
    memo_of = {folder: _memo(memos, folder) for folder in {os.path.dirname(place) for place in places.values()}}  # noqa: PTH120
    known = {memo: _read(memo) for memo in set(memo_of.values())}
    results, fresh = dict[str, str](), dict[Path, Memo]()
    for path, place in places.items():
        stamp, result = known[memo_of[os.path.dirname(place)]].get(place, ("", ""))  # noqa: PTH120
        if stamp == stamps[path]:
            results[path] = result
    new = [path for path in places if path not in results]
    try:
        for path, result in zip(new, in_threads(function, new, threads), strict=True):
            results[path] = result
            if worth_it(result):
                place = places[path]
                fresh.setdefault(memo_of[os.path.dirname(place)], {})[place] = stamps[path], result  # noqa: PTH120
    finally:  # after Ctrl-C, too: reading a large set takes long
        for memo, found in fresh.items():
            _write(memo, _read(memo) | found)
    return results


def _memo(memos: Path, folder: str) -> Path:
    digest = hashlib.sha256(os.fsencode(folder)).digest()
    return memos / f"{digest[0] % MEMOS:02d}.json"


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
