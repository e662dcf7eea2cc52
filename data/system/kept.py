"""Files that keep what is dear to make: named by a key, checked when they are read, made again when damaged.

    key = key_of(weights_digest, settings, FORMAT)  # all that the arrays follow from
    file = kept_file(default_cache_dir(), key, ".features")
    arrays = kept_arrays(file, key, compute, otherwise="each run computes these features")

`compute` gives {name: array}. It is called where the file is missing or damaged, by one process; others that ask
meanwhile wait for it. Where the file cannot be written a warning says why, and what happens otherwise.

A kept file begins with a page of JSON: what the file is about, and the SHA-256 of all that follows. Any kept file can
be deleted at any time.
"""

import hashlib
import json
import logging
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import Timeout

from data.system.files import lock_at, replacing

logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
_Result = TypeVar("_Result")

MAGIC = b"REIDPIX\n"
PAGE_BYTES = 4096
"""The first page's length. What follows begins on a page, so that it can be mapped into memory."""


def default_cache_dir() -> Path:
    """$XDG_CACHE_HOME or ~/.cache, then reid-tuning/pixels; in the temporary folder for a user without a home. Not
    created here."""
    cache, home = os.environ.get("XDG_CACHE_HOME"), os.path.expanduser("~")  # noqa: PTH111 - Path's raises without one
    if not cache and home == "~":  # no HOME, and the system does not know the user: in containers
        return Path(tempfile.gettempdir()) / f"reid-tuning-{os.getuid()}" / "pixels"
    return Path(cache or Path(home, ".cache")) / "reid-tuning" / "pixels"


def key_of(*parts: Any) -> str:
    """A digest of all that a result follows from, in 64 hex digits. The parts are JSON values."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def kept_file(folder: Path, key: str, ending: str) -> Path:
    """Where the result of this key is kept: `kept_file(folder, key, ".features")`."""
    return folder / f"{key[:32]}{ending}"


def kept_arrays(file: Path, key: str, make: Callable[[], Arrays], *, otherwise: str) -> Arrays:
    """The arrays in `file`, or what `make` gives, which is then kept there.

    `otherwise` ends the warning where nothing can be written: "each run computes these features".
    """

    def make_and_write() -> Arrays:
        arrays = make()
        write_arrays(file, key, arrays, otherwise=otherwise)
        return arrays

    try:
        return read_or_make(file, lambda: read_arrays(file, key), make_and_write)
    except OSError as error:  # a folder that cannot be made, or that can only be read
        logger.warning("%s: cannot be written, %s: %s", file, otherwise, error)
        return make()


def read_arrays(file: Path, key: str) -> Arrays | None:
    """The arrays that were kept under this key; None where the file is missing, damaged or of another key."""
    about = read_page(file)
    if about is None or about.get("key") != key or not is_intact(file, about):
        return None
    try:
        with file.open("rb") as opened:
            opened.seek(PAGE_BYTES)
            return {
                name: np.fromfile(opened, dtype, math.prod(shape)).reshape(shape)
                for name, dtype, shape in about["arrays"]
            }
    except OSError:
        return None


def write_arrays(file: Path, key: str, arrays: Mapping[str, np.ndarray], *, otherwise: str) -> None:
    """Keeps the arrays in place of what `file` held. Where several write, the last one wins."""
    assert not any(array.dtype.hasobject for array in arrays.values()), "Python objects cannot be kept"
    described = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    parts = (np.ascontiguousarray(array).data for array in arrays.values())
    try:
        write_kept(file, {"key": key, "arrays": described}, parts)
    except OSError as error:  # a full disk
        logger.warning("%s: cannot be written, %s: %s", file, otherwise, error)


def read_or_make(file: Path, read: Callable[[], _Result | None], make: Callable[[], _Result]) -> _Result:
    """What `read` finds in `file`, or what `make` gives. Where several processes ask at once, one makes the file.

    `read` gives None where the file is missing or damaged; `make` writes it.
    """
    if (found := read()) is not None:
        return found
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = lock_at(file.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("another process is making %s; waiting for it", file)
        lock.acquire()
    try:
        if (found := read()) is not None:
            return found
        if file.exists():
            logger.warning("%s is damaged; it is made again", file)
            file.unlink()
        for unfinished in file.parent.glob(f".{file.name}.*.tmp"):  # of a process that was killed
            unfinished.unlink()
        return make()
    finally:
        lock.release()


def write_kept(file: Path, about: Mapping[str, Any], parts: Iterable[bytes | memoryview]) -> None:
    """Writes the page about the file, then the parts, one after the other; atomically. Raises OSError."""
    digest = hashlib.sha256()
    with replacing(file) as temporary, temporary.open("wb") as out:
        out.write(bytes(PAGE_BYTES))
        for part in parts:
            digest.update(part)
            out.write(part)
        text = json.dumps({**about, "sha256": digest.hexdigest()}).encode()
        text = text.ljust(PAGE_BYTES - len(MAGIC) - 4, b"\0")
        page = MAGIC + zlib.crc32(text).to_bytes(4, "little") + text
        assert len(page) == PAGE_BYTES, "too much to say about one file"
        out.seek(0)
        out.write(page)


def read_page(file: Path) -> dict[str, Any] | None:
    """What the file's first page says; None where it is missing or damaged."""
    try:
        with file.open("rb") as opened:
            page = opened.read(PAGE_BYTES)
        text = page[len(MAGIC) + 4 :]
        if page[: len(MAGIC) + 4] != MAGIC + zlib.crc32(text).to_bytes(4, "little"):
            return None
        about: dict[str, Any] = json.loads(text.rstrip(b"\0"))
    except (OSError, ValueError):
        return None
    return about


def is_intact(file: Path, about: Mapping[str, Any]) -> bool:
    """Whether what follows the first page has the digest that the page, `about`, states."""
    try:
        return file_digest(file, skip=PAGE_BYTES) == about["sha256"]
    except (OSError, KeyError):
        return False


def file_digest(path: str | Path, skip: int = 0) -> str:
    """SHA-256 of a file's bytes from `skip` on, in hex."""
    with open(path, "rb") as file:  # noqa: PTH123
        file.seek(skip)
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp_of(path: str | Path, status: os.stat_result | None = None) -> str:
    """Size and modification time: what changes when a file's content does."""
    status = status or os.stat(path)  # noqa: PTH116 - half the time of Path.stat over 50,000 files
    return f"{status.st_size} {status.st_mtime_ns}"
