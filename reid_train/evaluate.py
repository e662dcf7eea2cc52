"""Weights -> features -> retrieval metrics.

python -m reid_train.evaluate --checkpoint DIR --data-dir DIR [--flip-tta] [--rerank]
python -m reid_train.evaluate --checkpoint model.onnx --data-dir DIR

Where the checkpoint or the exported file lies in a study's folder, the study counts the evaluation on its test images.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.sets.readers import READERS
from data.system.answers import add_json_option, answering
from data.system.errors import UserError, exit_on_user_error
from data.system.options import (
    CommandParser,
    add_cache_options,
    add_checkpoint_option,
    add_device_option,
    add_image_options,
    cache_options,
    check_out,
    checkpoint_option,
    image_options,
)

if TYPE_CHECKING:
    from reid_train.inference.exported import GivenInput


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m reid_train.evaluate",
        description="Evaluates a checkpoint, or a file that reid_train.export wrote, on the query and gallery images.",
    )
    add_checkpoint_option(parser, exported=True)
    parser.add_argument("--data-dir", required=True, metavar="DIR", help="the data set or its parent folder")
    parser.add_argument("--dataset", choices=list(READERS), help="the reader; default: detected")
    parser.add_argument("--flip-tta", action="store_true", help="mean of the picture's and its mirror image's features")
    parser.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking (k1 20, k2 6, lambda 0.3)")
    add_device_option(parser)
    add_image_options(parser)
    add_cache_options(parser)
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="JSON file; default: evaluation.json in the checkpoint's folder, or evaluation-NAME.json beside the "
        "exported file NAME",
    )
    foreign = parser.add_argument_group("for an ONNX file that reid_train.export has not written")
    foreign.add_argument("--input-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of its images")
    for name, what in (("--mean", "mean"), ("--std", "deviation")):
        help = f"{what} of red, green and blue, where white is 1, by which it wants images normalised"
        foreign.add_argument(name, type=float, nargs=3, metavar=("R", "G", "B"), help=help)
    add_json_option(parser)
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    with answering(arguments.json) as answer:
        answer |= evaluate(arguments)


def evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Evaluates, writes and prints as the arguments say. Gives what `--json` does: `checkpoint`, what the file holds
    (the figures of `reid_train/measure/scores.py` `score_tests`, `data_dir`, `flip_tta`, `rerank`, `images_left_out`
    where there are any), `file`, and `evaluations`, how often the study's test images were looked at; null for
    others."""
    folder = checkpoint_option(arguments)
    own = folder.is_dir() or folder.suffix == ".safetensors"
    name = "evaluation.json" if own else f"evaluation-{folder.name}.json"
    out = Path(arguments.out) if arguments.out else (folder if folder.is_dir() else folder.parent) / name
    check_out(out)

    from data.pixels.bad_images import describe_left_out, usable_test_sets
    from data.sets.protocol import images_of
    from data.system.files import write_json
    from reid_train.inference.checkpoint_scores import evaluate_tests, print_summary, weights_of
    from reid_train.inference.evaluation_count import (
        describe_count,
        read_test_metrics,
        record_evaluation,
        study_tested_on,
    )

    tests, left_out = usable_test_sets(
        arguments.data_dir, arguments.dataset, **image_options(arguments), cache_dir=arguments.cache_dir
    )
    if left_out:
        print(describe_left_out(left_out, "test"), flush=True)
    options = {name: getattr(arguments, name) for name in ("flip_tta", "rerank", "device")}
    options |= {"given": given_input(arguments), **cache_options(arguments)}
    figures = evaluate_tests(folder, tests, **options)
    settings = {"data_dir": arguments.data_dir, "flip_tta": arguments.flip_tta, "rerank": arguments.rerank}
    settings |= {"weights_sha256": weights_of(folder)}
    settings |= {"images_left_out": [Path(path).name for path in left_out]} if left_out else {}
    ways = [*(["flipped too"] if arguments.flip_tta else []), *(["re-ranked"] if arguments.rerank else [])]
    title = ", ".join([f"{folder} on {arguments.data_dir}", *ways])
    study = study_tested_on(folder, [image.path for image in images_of(tests)], arguments.cache_dir)
    if study is not None:
        record_evaluation(study, f"evaluate, {title}")
    print_summary(figures, title)
    looks = None
    if study is not None:
        counted = read_test_metrics(study)["evaluations"]
        looks = len(counted)
        print(f"test images: {describe_count(counted)}")
    try:
        write_json(out, {**figures, **settings})
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}; choose another --out") from error
    print(f"written to {out}")
    return {"checkpoint": folder, **figures, **settings, "file": out, "evaluations": looks}


def given_input(arguments: argparse.Namespace) -> "GivenInput":
    """What the options say of a foreign file's input."""
    from reid_train.inference.exported import GivenInput

    given = {"size": arguments.input_size, "mean": arguments.mean, "std": arguments.std}
    return GivenInput(**{name: None if values is None else tuple(values) for name, values in given.items()})


if __name__ == "__main__":
    main()
