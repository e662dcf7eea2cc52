"""Options that several commands share.

add_cache_options(parser)
pixels = open_pixels(samples, height=64, width=32, **cache_options(parser.parse_args()))
"""

import argparse
from pathlib import Path
from typing import Any


def add_cache_options(parser: argparse.ArgumentParser) -> None:
    """Adds --cache-dir and --cache-limit."""
    parser.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="where decoded pixels are kept; default: reid-tuning/pixels in $XDG_CACHE_HOME or ~/.cache",
    )
    parser.add_argument(
        "--cache-limit",
        type=_gibibytes,
        dest="limit_bytes",
        metavar="GIB",
        help="decodes anew at every read instead of keeping more than this; default: 32, and half of the free disk",
    )


def cache_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `open_pixels` that these options stand for."""
    return {"cache_dir": arguments.cache_dir, "limit_bytes": arguments.limit_bytes}


def add_image_options(parser: argparse.ArgumentParser, default: str = "default: stop") -> None:
    """Adds --on-bad-image and --outside-images, for commands that take no settings; None where they are not given."""
    parser.add_argument(
        "--on-bad-image",
        choices=("stop", "skip"),
        help=f"images that cannot be decoded end the command, or are left out, counted and named; {default}",
    )
    parser.add_argument(
        "--outside-images",
        action="store_const",
        const=True,
        help="allows images outside of the data folder, by links or a manifest's paths",
    )


def image_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, by the names of the settings that they stand for."""
    given = {"on_bad_image": arguments.on_bad_image, "outside_images": arguments.outside_images}
    return {name: value for name, value in given.items() if value is not None}


def _gibibytes(text: str) -> int:
    try:
        size = float(text)
    except ValueError:
        size = -1
    if not 0 <= size < 2**30:
        raise argparse.ArgumentTypeError(f"{text} is not a number of GiB")
    return int(size * 2**30)
