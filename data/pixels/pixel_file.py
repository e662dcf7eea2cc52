"""The file that holds the decoded pixels of a set of images, at one size.

Its name is made of the images' content, the size and the decoder's version: a copy of the set elsewhere finds it, a
changed image does not. The file is checked when it is opened: its first page always, the SHA-256 of all pixels once
for each (size, modification time) of the file, which the small `.checked` file beside it remembers. So damage is not
seen where it leaves length and modification time as they were. A damaged file is made again.
"""

import hashlib
import logging
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.pixels.decoding import SKIP, UnreadableImage, decode, decoder_name
from data.sets.readers import reader_above
from data.system.commands import command
from data.system.errors import UserError
from data.system.kept import PAGE_BYTES, is_intact, kept_file, read_or_make, read_page, stamp_of, write_kept
from data.system.threads import in_threads

logger = logging.getLogger(__name__)


def describe_pixels(digests: Sequence[str], height: int, width: int) -> dict[str, Any]:
    """What the file with the pixels of these images says of itself.

    The key stands for the images alone: the size is in the file's name and shape.
    """
    decoder = decoder_name()
    key = hashlib.sha256("\n".join([decoder, *digests]).encode()).hexdigest()
    return {"key": key, "decoder": decoder, "shape": [len(digests), height, width, 3]}


def decode_into_file(
    folder: Path, about: Mapping[str, Any], paths: Sequence[str], *, limited: bool, threads: int | None
) -> tuple[Path, int]:
    """The pixel file of these images in `folder`, and how many images had to be decoded for it: none or all.

    Without `limited` it may take half of the free disk. Raises OSError where it cannot be written, UserError where
    images cannot be decoded.
    """
    _, height, width, _ = about["shape"]
    file = kept_file(folder, about["key"], f"_{height}x{width}.pixels")

    def decode_all() -> int:
        if not limited:
            check_room(about["shape"], shutil.disk_usage(folder).free // 2)
        logger.info("decoding %d images once, to %d x %d pixels, into %s", len(paths), height, width, file)
        started = time.monotonic()
        write_kept(file, about, _decoded(paths, height, width, threads))
        _remember_checked(file, stamp_of(file))
        logger.info("decoded %d images in %.1f s", len(paths), time.monotonic() - started)
        return len(paths)

    return file, read_or_make(file, lambda: 0 if is_whole(file, about) else None, decode_all)


def check_room(shape: Sequence[int], limit_bytes: int) -> None:
    """Raises OSError where a pixel file of this shape has more than `limit_bytes`."""
    needed_bytes = PAGE_BYTES + math.prod(shape)
    if needed_bytes > limit_bytes:
        needed, limit = needed_bytes / 2**30, limit_bytes / 2**30
        raise OSError(f"the decoded images need {needed:.3g} GiB, the limit is {limit:.3g} GiB")


def is_whole(file: Path, about: Mapping[str, Any]) -> bool:
    """Whether `file` holds the pixels that `about` describes; the module's text says what is checked."""
    try:
        stamp = stamp_of(file)
        found = read_page(file)
        if found is None or {**found, **about} != found:
            return False
        checked = file.with_suffix(".checked")
        if checked.is_file() and checked.read_text() == stamp:
            return True
    except (OSError, ValueError):
        return False
    if whole := is_intact(file, found):
        _remember_checked(file, stamp)
    return whole


def _remember_checked(file: Path, stamp: str) -> None:
    try:
        file.with_suffix(".checked").write_text(stamp)
    except OSError as error:  # a cache that can only be read: checked again the next time
        logger.debug("%s: %s", file, error)


def _decoded(paths: Sequence[str], height: int, width: int, threads: int | None) -> Iterator[bytes]:
    """The pixels of each image. Raises UserError at the end when some cannot be decoded."""

    def pixels_or_error(path: str) -> bytes | UnreadableImage:
        try:
            return decode(path, height, width).tobytes()
        except UnreadableImage as error:
            return error

    bad: dict[str, str] = {}
    for path, result in zip(paths, in_threads(pixels_or_error, paths, threads), strict=True):
        if isinstance(result, UnreadableImage):
            bad[path] = str(result).removeprefix(f"{path}: ")
        elif not bad:  # after the first bad image the others are only tried
            yield result
    refuse_bad_images(bad, len(paths))


def refuse_bad_images(bad: Mapping[str, str], images: int) -> None:
    """Raises UserError for images that cannot be decoded (path -> why): the first, how many there are, the ways out."""
    if not bad:
        return
    path, why = next(iter(bad.items()))
    above = reader_above(Path(path))
    data_dir = above[1] if above else "DIR"
    count = f"{len(bad)} of {images} images cannot be decoded, the first is " if len(bad) > 1 else ""
    raise UserError(f"{count}{path}: {why}; see: {command('data.doctor', str(data_dir))}; {SKIP}")
