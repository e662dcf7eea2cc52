"""A command's options, and those that several commands share.

parser = CommandParser(prog="python -m reid_train.query", description="Finds the nearest gallery images.")
add_cache_options(parser)
pixels = open_pixels(samples, height=64, width=32, **cache_options(parser.parse_args()))
"""

import argparse
import itertools
import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from data.system.commands import program
from data.system.errors import INTERRUPTED, UserError, suggestion
from data.system.limits import check_addresses

EXIT_CODES = {
    0: "done",
    1: "doctor: training or the final evaluation would fail; others: a fault of this program, with a traceback",
    2: "a mistake, or a machine that refuses: a line says what, and the way out",
    3: "search: one of Ray's processes died; the same command goes on",
    INTERRUPTED: "ended by Ctrl-C or kill; the same command goes on",
}
"""What each exit code of the commands means."""
NEGATIVE = re.compile(r"-(\.?\d|inf|nan)", re.IGNORECASE)
"""How a value below 0 begins, which is no option."""


class CommandParser(argparse.ArgumentParser):
    """argparse's, with a mistake told as all others are: a UserError of one line, which names the nearest option."""

    def __init__(self, prog: str = "", *, epilog: str = "", **others: Any):
        """`prog` is `python -m MODULE`; where the command was started as `reid VERB`, help says that instead. The exit
        codes are the last that help says; `others` are argparse's."""
        codes = "; ".join(f"{code}: {meaning.replace(';', ',')}" for code, meaning in EXIT_CODES.items())
        epilog = f"{epilog} Exit codes: {codes}.".strip()
        super().__init__(program(prog.removeprefix("python -m ")), epilog=epilog, **others)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse, which would first ask for what is missing: an option that is not known may be that, mistyped."""
        known = ["--help", *re.findall(r"--[\w-]+", self.format_usage())]
        words = _with_negative_values(sys.argv[1:] if args is None else list(args))
        before = ""
        for word in itertools.takewhile(lambda word: word != "--", words):
            name, sign, value = word.partition("=")
            if name.startswith("--") and not any(option.startswith(name) for option in known):
                way_out = suggestion(name, known) or f"; {self.prog} --help lists the options"
                raise UserError(f"{name}: no such option{way_out}")
            if not word or (name.startswith("--") and sign and not value):  # as a path it would mean this folder
                what = name or (before if before.startswith("--") else "an argument")
                raise UserError(f"{what}: its value is empty; give one, or leave it out")
            before = word
        return super().parse_known_args(words, namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse. Then the process is prepared for what follows, which loads matplotlib and, except for commands
        of data, PyTorch."""
        parsed = super().parse_args(args, namespace)
        from data.system.plotting import prepare_plotting  # what locks files is not there on Windows

        prepare_plotting()
        if not self.prog.startswith("python -m data."):
            check_addresses()
        return parsed

    def error(self, message: str) -> NoReturn:
        dash = "; write a value that begins with - as --option=-value" if "expected one argument" in message else ""
        raise UserError(f"{message.removeprefix('argument ')}{dash}; {self.prog} --help lists the options")


def _with_negative_values(words: list[str]) -> list[str]:
    """The words with `--option -5m` as `--option=-5m`: argparse would take -5m for an option, and the rule that it
    breaks would not be told."""
    joined: list[str] = []
    for word in words:
        if "--" not in joined and joined and re.fullmatch(r"--[\w-]+", joined[-1]) and NEGATIVE.match(word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def check_out(file: Path, kind: str = "") -> Path:
    """The file to write, of this kind (".png") if one is given. UserError where that cannot be, before the work."""
    above = next(folder for folder in (file.parent, *file.parents) if folder.exists())
    problem = (
        (f"the name must end in {kind}" if kind and file.suffix.lower() != kind else "")
        or ("is a folder" if file.is_dir() else "")
        or (f"{above} is no folder" if not above.is_dir() else "")
        or ("" if os.access(above, os.W_OK) else f"{above} cannot be written to")
    )
    if problem:
        raise UserError(f"{file}: cannot be written: {problem}; choose another --out")
    return file


def add_checkpoint_option(parser: argparse.ArgumentParser, *, exported: bool = False) -> None:
    """Adds --checkpoint. With `exported` it may also name a file that reid_train.export wrote."""
    help = f"checkpoint folder, e.g. results/NAME/best{', or an exported file, e.g. model.onnx' if exported else ''}"
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help=help)


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
        type=folder,
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


def folder(text: str) -> Path:
    """The type of an option that names a folder, which may be there or not."""
    if Path(text).exists() and not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return Path(text)


def cache_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `open_pixels` that these options stand for."""
    return {"cache_dir": arguments.cache_dir, "limit_bytes": arguments.limit_bytes}


def add_image_options(parser: argparse.ArgumentParser, default: str = "default: stop") -> None:
    """Adds --on-bad-image, --outside-images, --name-pattern and --max-left-out, for commands that take no settings.

    None where they are not given.
    """
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
    parser.add_argument(
        "--name-pattern",
        metavar="REGEX",
        help="how the images of a flat folder are named: a regular expression with the groups identity and, where "
        "cameras are known, camera",
    )
    parser.add_argument(
        "--max-left-out",
        type=_share,
        metavar="SHARE",
        help="largest share of a split's images that may be left out as no name tells who is on them, and of the "
        "queries as they have no match; more are an error, a single one is not; default: 0.01",
    )


def image_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, by the names of the settings that they stand for."""
    given = {
        name: getattr(arguments, name) for name in ("on_bad_image", "outside_images", "name_pattern", "max_left_out")
    }
    return {name: value for name, value in given.items() if value is not None}


def _gibibytes(text: str) -> int:
    try:
        size = float(text)
    except ValueError:
        size = -1
    if not 0 <= size < 2**30:
        raise argparse.ArgumentTypeError(f"{text} is not a number of GiB")
    return int(size * 2**30)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share, from 0 to 1")
    return share


def add_study_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the folder of a study."""
    parser.add_argument("study", metavar="results/NAME", help="the study's folder")


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Adds --device."""
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))


def add_images_option(parser: argparse.ArgumentParser) -> None:
    """Adds --images and --no-images."""
    parser.add_argument(
        "--images",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether report.html shows small pictures of the data set; default: only those that the project drew",
    )
