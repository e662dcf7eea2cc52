"""Decoded uint8 pixels: made once for a data set and a size, then shared by every epoch, worker and trial.

    pixels = open_pixels(samples, height=256, width=128)
    batch = pixels.read([0, 5, 7])  # uint8, (3, 256, 128, 3)

They lie in one file under $XDG_CACHE_HOME or ~/.cache, in reid-tuning/pixels, which can be deleted at any
time. Its name is made of the images' content, the size and the decoder's version: a copy of the set elsewhere
finds it, a changed image does not. It is checked when it is opened: header and length always, the SHA-256 of
all pixels once for each (size, mtime) of the file, which the small `.checked` file beside it remembers. Damage
that leaves length and mtime as they were is therefore not seen. A damaged file is made again.

N images, H height, W width in pixels.
"""

import hashlib
import json
import logging
import math
import os
import shutil
import time
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout

from data.pixels.decoding import UnreadableImage, decode
from data.pixels.digests import (
    SKIP,
    content_digests,
    decoder_name,
    default_cache_dir,
    file_digest,
    name_of,
    stamp_of,
    unreadable,
)
from data.sets.readers import READERS
from data.sets.samples import Sample
from data.system.errors import UserError
from data.system.files import lock_at
from data.system.threads import in_threads

logger = logging.getLogger(__name__)

MAGIC = b"REIDPIX\n"
HEADER_BYTES = 4096
"""The header is padded to a page, so that the pixels start on one."""
DEFAULT_LIMIT_BYTES = 32 * 2**30


class Pixels:
    """The decoded images of `samples`, read by index or by path. Pickles without the pixels."""

    def __init__(
        self,
        paths: Sequence[str],
        height: int,
        width: int,
        *,
        file: Path | None = None,
        rows_N: np.ndarray | None = None,
        decoded: int = 0,
    ) -> None:
        """`file` is a checked pixel file whose row rows_N[i] holds paths[i]; None decodes on each read."""
        self.paths = list(paths)
        self.height = height
        self.width = width
        self.file = file
        self.decoded = decoded
        """How many images this process decoded, on opening or reading: 0 when the file was there."""
        self._rows_N = rows_N
        self._pixels_NHWC: np.ndarray | None = None
        self._at_other_sizes: dict[tuple[int, int], Pixels] = {}

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The sizes that the images were opened at, (height, width), their own first."""
        return [(self.height, self.width), *self._at_other_sizes]

    def at(self, height: int, width: int) -> "Pixels":
        """The same images at a size that they were opened at. Raises ValueError for another."""
        if (height, width) == (self.height, self.width):
            return self
        if (height, width) not in self._at_other_sizes:
            raise ValueError(f"the images were opened at {self.height} x {self.width}, not at {height} x {width}")
        return self._at_other_sizes[height, width]

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def index(self) -> dict[str, int]:
        """Path -> index."""
        return {path: index for index, path in enumerate(self.paths)}

    def read(self, images: Sequence[int] | Sequence[str] | np.ndarray) -> np.ndarray:
        """uint8 (len(images), H, W, 3): the images with these indices, or paths, in this order.

        Raises IndexError or KeyError for one that is not here, and, where there is no pixel file,
        UnreadableImage for one that cannot be decoded.
        """
        indices = [self.index[image] if isinstance(image, str) else int(image) for image in images]
        if self._pixels_NHWC is None and self.file is not None:
            self._map(self.file)
        if self._pixels_NHWC is not None and self._rows_N is not None:
            return self._pixels_NHWC[self._rows_N[np.array(indices, dtype=np.int64)]]
        batch_BHWC = np.empty((len(indices), self.height, self.width, 3), dtype=np.uint8)
        for place, index in enumerate(indices):
            batch_BHWC[place] = decode(self.paths[index], self.height, self.width)
            self.decoded += 1
        return batch_BHWC

    def rows(self, images: Sequence[str]) -> np.ndarray:
        """The places of these images, by path, in the pixel file; where there is none, in `paths`."""
        indices = np.array([self.index[image] for image in images], dtype=np.int64)
        return indices if self._rows_N is None else self._rows_N[indices]

    def in_file(self, file: Path) -> "Pixels":
        """The same pixels in a copy of their file."""
        return Pixels(self.paths, self.height, self.width, file=file, rows_N=self._rows_N)

    def _map(self, file: Path) -> None:
        """Opens the memory map, or turns to decoding when the file is gone (deleted, another machine)."""
        shape = (len(self.paths), self.height, self.width, 3)
        try:
            # A plain array over the map: numpy's memmap subclass is slower to index.
            self._pixels_NHWC = np.memmap(file, np.uint8, "r", HEADER_BYTES, shape).view(np.ndarray)
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be opened any more (%s); every read decodes its images", file, error)
            self.file = None

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "index"}
        return state | {"_pixels_NHWC": None, "decoded": 0}


def open_pixels(
    samples: Sequence[Sample],
    *,
    height: int,
    width: int,
    cache_dir: Path | None = None,
    limit_bytes: int | None = None,
    threads: int | None = None,
) -> Pixels:
    """The images of `samples` at height x width pixels (each at least 1), from the cache where it has them.

    Of many processes that ask at once, one decodes (in `threads` threads; None: the CPUs it may use) and the
    rest wait. When the file would have more than `limit_bytes` (None: 32 GiB, and half of the free disk), or
    cannot be written, a warning says so and every read decodes its images: the same pixels, slower.
    Raises UserError when images cannot be decoded, naming the first and how many there are: they are all tried here,
    before anything is trained on them.
    """
    if height < 1 or width < 1:
        raise ValueError(f"height={height}, width={width}: both must be at least 1 pixel")
    paths = [sample.path for sample in samples]
    if not paths:
        return Pixels(paths, height, width)
    cache_dir = cache_dir or default_cache_dir()
    try:
        # Before anything is read: where the cache cannot hold the images, reading them all is in vain.
        _check_room(
            _file_bytes([len(paths), height, width, 3]),
            DEFAULT_LIMIT_BYTES if limit_bytes is None else limit_bytes,
        )
        digests = content_digests(paths, cache_dir=cache_dir, threads=threads)
        # Rows lie in an order that depends neither on that of `samples` nor on their folder.
        order = sorted(range(len(paths)), key=lambda index: (name_of(paths[index]), digests[index]))
        header = _header([digests[index] for index in order], height, width)
        file = cache_dir / f"{header['key'][:32]}_{height}x{width}.pixels"
        ordered = [paths[index] for index in order]
        decoded = _ensure_file(file, header, ordered, limited=limit_bytes is not None, threads=threads)
    except OSError as error:
        logger.warning(
            "every read decodes its images, which is slower: %s; free some disk space, name another disk with "
            "--cache-dir (now %s), raise --cache-limit, or use smaller images", error, cache_dir,
        )  # fmt: skip
        _refuse(unreadable(paths, cache_dir=cache_dir, threads=threads), len(paths))
        return Pixels(paths, height, width)
    rows_N = np.empty(len(paths), dtype=np.int64)
    rows_N[order] = np.arange(len(paths))
    return Pixels(paths, height, width, file=file, rows_N=rows_N, decoded=decoded)


def open_sizes(samples: Sequence[Sample], sizes: Sequence[tuple[int, int]], **options: Any) -> Pixels:
    """`open_pixels` at the first of these sizes (height, width), with those at the others behind `Pixels.at`."""
    first, *others = (open_pixels(samples, height=height, width=width, **options) for height, width in sizes)
    first._at_other_sizes = {(other.height, other.width): other for other in others}
    return first


def _check_room(needed_bytes: int, limit_bytes: int) -> None:
    if needed_bytes > limit_bytes:
        needed, limit = needed_bytes / 2**30, limit_bytes / 2**30
        raise OSError(f"the decoded images need {needed:.3g} GiB, the limit is {limit:.3g} GiB")


def _file_bytes(shape: list[int]) -> int:
    return HEADER_BYTES + math.prod(shape)


def _header(digests: list[str], height: int, width: int) -> dict[str, Any]:
    """What a pixel file of these contents must say of itself; the digest of its pixels is added later.

    The key stands for the contents alone: the size is in the file's name and shape.
    """
    decoder = decoder_name()
    key = hashlib.sha256("\n".join([decoder, *digests]).encode()).hexdigest()
    return {"key": key, "decoder": decoder, "shape": [len(digests), height, width, 3]}


def _ensure_file(file: Path, header: dict[str, Any], paths: list[str], *, limited: bool, threads: int | None) -> int:
    """Makes `file` unless it is there and whole. Gives the number of images decoded for it."""
    if is_whole(file, header):
        return 0
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = lock_at(file.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("another process is decoding these images; waiting for it")
        lock.acquire()
    try:
        if is_whole(file, header):
            return 0
        if file.exists():
            logger.warning("%s is damaged; it is made again", file)
            file.unlink()
        if not limited:
            _check_room(_file_bytes(header["shape"]), shutil.disk_usage(file.parent).free // 2)
        _write_file(file, header, paths, threads)
    finally:
        lock.release()
    return len(paths)


def is_whole(file: Path, header: dict[str, Any]) -> bool:
    """Whether `file` holds the pixels that `header` describes; the module's text says what is checked."""
    try:
        stamp = stamp_of(file)
        with file.open("rb") as opened:
            start = opened.read(HEADER_BYTES)
        if file.stat().st_size != _file_bytes(header["shape"]) or start[: len(MAGIC)] != MAGIC:
            return False
        body = start[len(MAGIC) + 4 :]
        if zlib.crc32(body).to_bytes(4, "little") != start[len(MAGIC) : len(MAGIC) + 4]:
            return False
        found = json.loads(body.rstrip(b"\0"))
        if {name: found.get(name) for name in header} != header:
            return False
        checked = file.with_suffix(".checked")
        if checked.is_file() and checked.read_text() == stamp:
            return True
        if file_digest(file, skip=HEADER_BYTES) != found["sha256"]:
            return False
    except (OSError, ValueError, KeyError):
        return False
    _remember_checked(file, stamp)
    return True


def _remember_checked(file: Path, stamp: str) -> None:
    try:
        file.with_suffix(".checked").write_text(stamp)
    except OSError as error:  # a cache that can only be read: checked again the next time
        logger.debug("%s: %s", file, error)


def _write_file(file: Path, header: dict[str, Any], paths: list[str], threads: int | None) -> None:
    """Decodes `paths` into `file`: a temporary file, fsync, rename. The caller holds the lock."""
    _, height, width, _ = header["shape"]
    logger.info("decoding %d images once, to %d x %d pixels, into %s", len(paths), height, width, file)
    started = time.monotonic()
    # Under the lock nobody else writes this name, and what a killed process left is overwritten.
    partial = file.with_suffix(".partial")
    try:
        with partial.open("wb") as out:
            out.write(bytes(HEADER_BYTES))
            sha256 = _write_pixels(out, paths, height, width, threads)
            body = json.dumps(header | {"sha256": sha256}).encode().ljust(HEADER_BYTES - len(MAGIC) - 4, b"\0")
            out.seek(0)
            out.write(MAGIC + zlib.crc32(body).to_bytes(4, "little") + body)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    _remember_checked(file, stamp_of(file))
    logger.info("decoded %d images in %.1f s", len(paths), time.monotonic() - started)


def _write_pixels(out: Any, paths: list[str], height: int, width: int, threads: int | None) -> str:
    """Appends the decoded images to `out`. Gives their SHA-256. Raises UserError when some are broken."""

    def pixels_or_error(path: str) -> bytes | UnreadableImage:
        try:
            return decode(path, height, width).tobytes()
        except UnreadableImage as error:
            return error

    digest = hashlib.sha256()
    broken: dict[str, str] = {}
    for path, result in zip(paths, in_threads(pixels_or_error, paths, threads), strict=True):
        if isinstance(result, UnreadableImage):
            broken[path] = str(result).removeprefix(f"{path}: ")
        elif not broken:  # after the first broken image the rest is only counted
            digest.update(result)
            out.write(result)
    _refuse(broken, len(paths))
    return digest.hexdigest()


def _refuse(broken: dict[str, str], images: int) -> None:
    """Raises UserError for images that cannot be decoded, path -> why: the first, how many there are, the ways out."""
    if not broken:
        return
    path, why = next(iter(broken.items()))
    data_dir = next((p for p in Path(path).parents if any(r.is_here(p) for r in READERS.values())), "DIR")
    count = f"{len(broken)} of {images} images cannot be decoded, the first is " if len(broken) > 1 else ""
    raise UserError(f"{count}{path}: {why}; see: python -m data.doctor {data_dir}; {SKIP}")
