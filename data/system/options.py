"""A command's options, and those that several commands share.

parser = CommandParser(prog="python -m reid_train.query", description="Finds the nearest gallery images.")
add_cache_options(parser)
pixels = open_pixels(samples, height=64, width=32, **cache_options(parser.parse_args()))
"""

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn

from data.system.errors import UserError, suggestion


class CommandParser(argparse.ArgumentParser):
    """argparse's, with a mistake told as all others are: a UserError of one line, which names the nearest option."""

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        if unknown or message.startswith("the following arguments are required"):
            near = suggestion(unknown[1], re.findall(r"--[\w-]+", self.format_usage())) if unknown else ""
            raise UserError(f"{message}{near or f'; {self.prog} --help lists the options'}")
        raise UserError(message.removeprefix("argument "))


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """Adds --checkpoint."""
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="checkpoint folder, e.g. results/NAME/best")


def checkpoint_option(arguments: argparse.Namespace) -> Path:
    """The checkpoint's folder or file. Raises UserError where it is not there, before anything large is imported."""
    folder = Path(arguments.checkpoint)
    if not folder.exists():
        raise UserError(f"--checkpoint {folder}: no such checkpoint; give a folder that holds model.safetensors")
    return folder


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
