"""Decoded uint8 pixels: made once for a data set and a size, then shared by every epoch, worker and trial.

    pixels = open_pixels(samples, height=256, width=128)
    batch = pixels.read([0, 5, 7])  # uint8, (3, 256, 128, 3)

They lie in one file (data/pixels/pixel_file.py) under $XDG_CACHE_HOME or ~/.cache, in reid-tuning/pixels. That folder
can be deleted at any time.
"""

# N images, B images of a batch, H height, W width in pixels

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data.pixels.bad_images import bad_images
from data.pixels.decoding import decode
from data.pixels.digests import content_digests
from data.pixels.pixel_file import check_room, decode_into_file, describe_pixels, refuse_bad_images
from data.sets.samples import Sample, name_of
from data.system.kept import PAGE_BYTES, default_cache_dir

logger = logging.getLogger(__name__)

DEFAULT_LIMIT_BYTES = 32 * 2**30


@dataclass(eq=False, repr=False)
class Pixels:
    """Decoded images, read by index or by path. Pickles without the pixels."""

    paths: list[str]
    height: int
    width: int
    file: Path | None = None
    """The pixel file, already checked; None decodes on each read."""
    rows_N: np.ndarray | None = None
    """The file's row rows_N[i] holds paths[i]."""
    decoded: int = 0
    """How many images this process decoded, on opening or reading: 0 when the file was there."""
    _pixels_NHWC: np.ndarray | None = field(default=None, init=False)
    _at_other_sizes: dict[tuple[int, int], "Pixels"] = field(default_factory=dict, init=False)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The sizes that the images were opened at, (height, width); this one first."""
        return [(self.height, self.width), *self._at_other_sizes]

    def at(self, height: int, width: int) -> "Pixels":
        """The same images at one of `sizes`. Raises ValueError for another size."""
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
        if self._pixels_NHWC is not None and self.rows_N is not None:
            return self._pixels_NHWC[self.rows_N[np.array(indices, dtype=np.int64)]]
        batch_BHWC = np.empty((len(indices), self.height, self.width, 3), dtype=np.uint8)
        for place, index in enumerate(indices):
            batch_BHWC[place] = decode(self.paths[index], self.height, self.width)
            self.decoded += 1
        return batch_BHWC

    def rows(self, images: Sequence[str]) -> np.ndarray:
        """Each image's row in the pixel file, by path; where there is no file, its place in `paths`."""
        indices = np.array([self.index[image] for image in images], dtype=np.int64)
        return indices if self.rows_N is None else self.rows_N[indices]

    def in_file(self, file: Path) -> "Pixels":
        """The same pixels, read from a copy of their file."""
        return Pixels(self.paths, self.height, self.width, file=file, rows_N=self.rows_N)

    def _map(self, file: Path) -> None:
        """Maps the file into memory. Where it is gone (deleted, another machine), every read decodes."""
        shape = (len(self.paths), self.height, self.width, 3)
        try:
            # A plain array over the map: numpy's memmap subclass is slower to index.
            self._pixels_NHWC = np.memmap(file, np.uint8, "r", PAGE_BYTES, shape).view(np.ndarray)
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

    Where several processes ask at once, one decodes (in `threads` threads; None: the CPUs it may use) and the others
    wait. When the file would have more than `limit_bytes` (None: 32 GiB, and half of the free disk), or cannot be
    written, a warning says so and every read decodes its images: the same pixels, slower.
    Raises UserError when images cannot be decoded, naming the first and how many there are: all of them are tried
    here, before anything is trained on them.
    """
    if height < 1 or width < 1:
        raise ValueError(f"height={height}, width={width}: both must be at least 1 pixel")
    paths = [sample.path for sample in samples]
    if not paths:
        return Pixels(paths, height, width)
    cache_dir = cache_dir or default_cache_dir()
    try:
        return _from_file(paths, height, width, cache_dir, limit_bytes, threads)
    except OSError as error:
        logger.warning(
            "every read decodes its images, which is slower: %s; free some disk space, name another disk with "
            "--cache-dir (now %s), raise --cache-limit, or use smaller images", error, cache_dir,
        )  # fmt: skip
        refuse_bad_images(bad_images(paths, cache_dir=cache_dir, threads=threads), len(paths))
        return Pixels(paths, height, width)


def _from_file(
    paths: list[str], height: int, width: int, cache_dir: Path, limit_bytes: int | None, threads: int | None
) -> Pixels:
    """The images from their pixel file, which is made where it is missing. Raises OSError where it cannot be."""
    # Before anything is read: where the cache cannot hold the images, reading them all is in vain.
    check_room((len(paths), height, width, 3), DEFAULT_LIMIT_BYTES if limit_bytes is None else limit_bytes)
    digests = content_digests(paths, cache_dir=cache_dir, threads=threads)
    # Rows lie in an order that depends neither on that of `paths` nor on their folder.
    order = sorted(range(len(paths)), key=lambda index: (name_of(paths[index]), digests[index]))
    about = describe_pixels([digests[index] for index in order], height, width)
    ordered = [paths[index] for index in order]
    file, decoded = decode_into_file(cache_dir, about, ordered, limited=limit_bytes is not None, threads=threads)
    rows_N = np.empty(len(paths), dtype=np.int64)
    rows_N[order] = np.arange(len(paths))
    return Pixels(paths, height, width, file=file, rows_N=rows_N, decoded=decoded)


def open_sizes(samples: Sequence[Sample], sizes: Sequence[tuple[int, int]], **options: Any) -> Pixels:
    """`open_pixels` at the first of these sizes (height, width); `Pixels.at` gives those at the others."""
    first, *others = (open_pixels(samples, height=height, width=width, **options) for height, width in sizes)
    first._at_other_sizes = {(other.height, other.width): other for other in others}
    return first
