"""Writes a checkpoint's embedding as one file that runs without this project.

python -m reid_train.export --checkpoint DIR [--format onnx|torchscript|pt2] [--input uint8|float] [--out FILE]

What goes in and what comes out is printed, and in the file under the name `description`, as JSON. Before the file
takes its place, its embeddings are compared with PyTorch's.
"""

import argparse
from pathlib import Path

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
        help="default: model.onnx, .pt or .pt2 in the checkpoint's folder, model-float.onnx with --input float",
    )
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    folder = checkpoint_option(arguments)
    from reid_train.inference.export_formats import FORMATS, TOLERANCE, check_packages, export

    check_packages(arguments.format)
    ending = FORMATS[arguments.format].ending
    name = "model-float" if arguments.input == "float" else "model"
    out = Path(arguments.out) if arguments.out else (folder if folder.is_dir() else folder.parent) / f"{name}{ending}"
    check_out(out)
    try:
        description, difference = export(folder, arguments.format, out, arguments.input)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}; choose another --out") from error
    print(f"in   {description['input']}")
    print(f"out  {description['output']}")
    print(f"differs from PyTorch by {difference:.2g} at most (allowed: {TOLERANCE:g})")
    print(printable(f"written to {out}"))


if __name__ == "__main__":
    main()
