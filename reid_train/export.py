"""Writes a checkpoint's embedding as one file that runs without this project.

python -m reid_train.export --checkpoint DIR [--format onnx|torchscript|pt2] [--input uint8|float] [--out FILE]
python -m reid_train.export --checkpoint DIR --int8 [--calibrate DIR]

What goes in and what comes out is printed, and in the file under the name `description`, as JSON. Before the file
takes its place, its embeddings are compared with PyTorch's.
"""

import argparse
from pathlib import Path
from typing import Any

from data.system.errors import UserError, exit_on_user_error, printable
from data.system.options import CommandParser, add_checkpoint_option, check_out, checkpoint_option


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m reid_train.export",
        description="Writes a checkpoint's embedding as one file that runs without this project, for batches of any "
        "size, and compares its embeddings with PyTorch's.",
    )
    add_checkpoint_option(parser)
    parser.add_argument("--format", default="onnx", choices=("onnx", "torchscript", "pt2"), help="default: onnx")
    parser.add_argument(
        "--input",
        default="uint8",
        choices=("uint8", "float"),
        help="uint8: RGB pictures, normalised by the model; float: pictures that your program has normalised, as "
        "trackers do (the description says by which mean and deviation); default: uint8",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="default: model.onnx, .pt or .pt2 in the checkpoint's folder, model-float.onnx with --input float, "
        "model-int8.onnx with --int8",
    )
    parser.add_argument("--card", action="store_true", help="writes a model card, README.md, beside the file, too")
    parser.add_argument("--data-name", metavar="NAME", help="what the card calls the data set")
    parser.add_argument("--with-paths", action="store_true", help="the card names folders of this machine, too")
    int8 = parser.add_argument_group("8-bit integers, for --format onnx")
    int8.add_argument(
        "--int8",
        nargs="?",
        const="auto",
        choices=("auto", "static", "dynamic"),
        help="smaller, and on many CPUs faster; tells what it costs. static: fitted to training images; dynamic: only "
        "the products of transformers; auto: static for convolutional networks, else dynamic",
    )
    int8.add_argument(
        "--calibrate",
        metavar="DIR",
        help="pictures to fit to, no test images; default: the checkpoint's training images",
    )
    int8.add_argument("--data-dir", metavar="DIR", help="where the checkpoint's training images lie now")
    int8.add_argument(
        "--most-loss", type=float, default=0.01, metavar="MAP", help="warns where the mAP falls by more; default: 0.01"
    )
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    folder = checkpoint_option(arguments)
    if arguments.int8 and arguments.format != "onnx":
        raise UserError(f"--int8: is for --format onnx, not {arguments.format}")
    from reid_train.inference.card import CARD, check_card, write_card
    from reid_train.inference.export_formats import FORMATS, check_format

    check_format(arguments.format)
    parts = ["model", *(["float"] if arguments.input == "float" else []), *(["int8"] if arguments.int8 else [])]
    place = folder if folder.is_dir() else folder.parent
    out = Path(arguments.out or place / f"{'-'.join(parts)}{FORMATS[arguments.format].ending}")
    check_out(out)
    if arguments.card:
        check_card(out.with_name(CARD))
    try:
        description, lines = write(folder, arguments, out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}; choose another --out") from error
    print(f"in   {description['input']}")
    print(f"out  {description['output']}")
    for line in lines:
        print(printable(line))
    print(printable(f"written to {out}"))
    if arguments.card:
        about = {"exported": {out.name: description}, "data_name": arguments.data_name}
        card = write_card(folder, out.with_name(CARD), **about, with_paths=arguments.with_paths)
        print(printable(f"model card: {card}"))


def write(folder: Path, arguments: argparse.Namespace, out: Path) -> tuple[dict[str, Any], list[str]]:
    """Writes the file; gives its description, and lines about how it compares."""
    from reid_train.inference.export_formats import TOLERANCE, export

    if arguments.int8:
        from reid_train.inference.int8_export import export_int8

        options = {"way": arguments.int8, "calibrate": arguments.calibrate, "data_dir": arguments.data_dir}
        return export_int8(folder, out, kind=arguments.input, **options, most_loss=arguments.most_loss)
    description, difference = export(folder, arguments.format, out, arguments.input)
    return description, [f"differs from PyTorch by {difference:.2g} at most (allowed: {TOLERANCE:g})"]


if __name__ == "__main__":
    main()
