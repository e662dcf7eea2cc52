"""Decoded pixels on a cluster whose images lie on one machine: they travel once a machine through Ray's object store.

The driver puts the pixel file there in chunks. On each other machine the first trial that needs the file writes it to
that machine's cache, chunk by chunk; then all processes there map it into memory. So a set may be larger than any
object store: Ray spills what does not fit on the driver's machine, and others hold a few chunks at a time. A machine
that has the file already is sent nothing.
"""

import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray

from data.pixels.cache import Pixels
from data.pixels.pixel_file import is_whole
from data.system.errors import UserError
from data.system.files import lock_at
from data.system.kept import default_cache_dir, read_page

CHUNK_BYTES = 64 * 2**20


class SharedPixels(NamedTuple):
    """What a trial is given in place of Pixels."""

    pixels: Pixels
    """As on the driver's machine; pickles without its pixels."""
    chunks: list[Any]
    """The pixel file's bytes, in order, as references into Ray's object store; they live as long as the driver."""
    header: dict[str, Any]
    """What the file says of itself."""
    node: str
    """Ray's name of the driver's machine."""
    others: dict[tuple[int, int], Any]
    """The same images at other sizes, (height, width), as SharedPixels."""

    def at(self, height: int, width: int) -> "SharedPixels":
        """The same images at a size that they were shared at."""
        return self.others.get((height, width), self)

    def here(self) -> Pixels:
        """The pixels on this machine, at this size. Raises UserError where no folder has room for them."""
        assert self.pixels.file is not None
        if ray.get_runtime_context().get_node_id() == self.node:
            return self.pixels
        problems = []
        for folder in dict.fromkeys([default_cache_dir(), Path(tempfile.gettempdir()) / f"reid-tuning-{os.getuid()}"]):
            file = folder / self.pixels.file.name
            try:
                self._write(file)
                return self.pixels.in_file(file)
            except OSError as error:
                problems.append(f"{file}: {error.strerror or error}")
        raise UserError(f"{os.uname().nodename}: no room for the decoded pixels: {'; '.join(problems)}")

    def _write(self, file: Path) -> None:
        """Writes the file, unless it is there. One trial on a machine does so, the others wait."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with lock_at(file.with_suffix(".lock")):
            if is_whole(file, self.header):
                return
            partial = file.with_suffix(".partial")
            try:
                with partial.open("wb") as out:
                    for chunk in self._received():
                        out.write(chunk)
                    out.flush()
                    os.fsync(out.fileno())
                partial.replace(file)
            finally:
                partial.unlink(missing_ok=True)
            if not is_whole(file, self.header):
                raise OSError("the pixels did not arrive whole")

    def _received(self) -> Iterator[Any]:
        """The chunks, one at a time: what has been written may leave this machine's object store."""
        for chunk in self.chunks:
            yield ray.get(chunk)


@cache
def share_pixels(pixels: Pixels) -> SharedPixels:
    """Puts the pixel file of each size into the object store, once for all parts of a search.

    Raises UserError when there is none: decoding needs the images.
    """
    if pixels.file is None:
        raise UserError(
            "the decoded pixels are not in a file, so that other machines cannot have them; raise --cache-limit, or "
            "name a disk with room with --cache-dir"
        )
    file_bytes = np.memmap(pixels.file, np.uint8, "r").view(np.ndarray)
    places = range(0, len(file_bytes), CHUNK_BYTES)
    header = read_page(pixels.file)
    assert header is not None, "it was checked when it was opened"
    chunks = [ray.put(file_bytes[place : place + CHUNK_BYTES]) for place in places]
    others = {size: share_pixels(pixels.at(*size)) for size in pixels.sizes[1:]}
    return SharedPixels(pixels, chunks, header, ray.get_runtime_context().get_node_id(), others)
