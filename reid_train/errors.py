"""Where a checkpoint errs, and from which similarity on it is the same: worst queries, camera pairs, identities.

python -m reid_train.errors --checkpoint DIR [--data-dir DIR] [--test] [--out FILE] [--json]

It looks at the identities that training held out for validation, as often as one likes. With --test it looks at query
and gallery, and the study in whose folder the checkpoint lies counts that. Programs call `find_errors`:

    from reid_train.errors import find_errors

    report = find_errors("results/sample/best")
    report["camera_pairs"][0], report["threshold"]["eer"]["threshold"]
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.sets.readers import READERS
from data.system.answers import add_json_option, answering
from data.system.errors import UserError, exit_on_user_error, printable
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
    from reid_train.inference.checkpoint_errors import LookedAt

ERRORS = "errors.json"


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m reid_train.errors",
        description="Tells where a checkpoint errs: the worst queries, camera pairs and identities, who is taken for "
        "whom, and from which similarity on two images show the same identity. It looks at the identities that were "
        "held out for validation.",
    )
    add_checkpoint_option(parser)
    parser.add_argument("--data-dir", metavar="DIR", help="where the images lie now; default: as in training")
    parser.add_argument("--dataset", choices=list(READERS), help="the reader; default: as in training, or detected")
    parser.add_argument(
        "--test", action="store_true", help="query and gallery images instead; the checkpoint's study counts that"
    )
    add_device_option(parser)
    add_image_options(parser, "default: as in training")
    add_cache_options(parser)
    parser.add_argument(
        "--out",
        metavar="FILE",
        help=f"JSON file, and beside it rank lists as a picture (.png); default: {ERRORS} in the checkpoint's folder",
    )
    add_json_option(parser)
    return parser.parse_args()


def find_errors(
    checkpoint: str | Path,
    *,
    data_dir: str | None = None,
    dataset: str | None = None,
    test: bool = False,
    device: str = "auto",
    cache_dir: Path | None = None,
    limit_bytes: int | None = None,
) -> dict[str, Any]:
    """What errors.json holds, of a checkpoint folder; writes no file but the count of looks at test images.

    Raises UserError, for instance for a checkpoint that was trained on all identities.
    """
    looked_at = _images(checkpoint, test, _changes(data_dir, dataset), cache_dir)
    return _report(checkpoint, looked_at, device, {"cache_dir": cache_dir, "limit_bytes": limit_bytes})


def _changes(data_dir: str | None, dataset: str | None) -> dict[str, Any]:
    """The settings of a data set that is another one, or elsewhere: its reader is detected anew."""
    changes: dict[str, Any] = {} if data_dir is None else {"data_dir": data_dir, "dataset": None, "name_pattern": None}
    return changes if dataset is None else {**changes, "dataset": dataset, "name_pattern": None}


def _images(checkpoint: str | Path, test: bool, changes: Mapping[str, Any], cache_dir: Path | None) -> "LookedAt":
    from reid_train.inference.checkpoint_errors import held_out_images, test_images

    return (test_images if test else held_out_images)(checkpoint, changes, cache_dir)


def _report(checkpoint: str | Path, looked_at: "LookedAt", device: str, cache: Mapping[str, Any]) -> dict[str, Any]:
    """Measured, and counted where test images were looked at."""
    from reid_train.inference.checkpoint_errors import errors_on
    from reid_train.inference.embedder import load_model
    from reid_train.inference.evaluation_count import record_evaluation, study_tested_on
    from reid_train.inference.threshold import TEST

    report = errors_on(load_model(checkpoint, device=device), looked_at, cache)
    if looked_at.on == TEST:
        paths = [sample.path for sample in (*looked_at.query, *looked_at.gallery)]
        if study := study_tested_on(checkpoint, paths, cache["cache_dir"]):
            record_evaluation(study, f"errors, {checkpoint} on {looked_at.config.data_dir}")
    return report


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    with answering(arguments.json) as answer:
        answer |= tell_errors(arguments)


def tell_errors(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures, writes and prints as the arguments say. Gives what errors.json holds, which `--json` prints, too."""
    checkpoint = checkpoint_option(arguments)
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    out = check_out(Path(arguments.out) if arguments.out else folder / ERRORS)
    picture = check_out(out.with_suffix(".png"))
    if picture == out:
        raise UserError(f"--out {out}: this is the JSON file's name; the picture beside it ends in .png")

    from data.pixels.bad_images import describe_left_out
    from data.system.files import write_json
    from reid_train.inference.error_tables import plot_errors, print_errors

    changes = {**_changes(arguments.data_dir, arguments.dataset), **image_options(arguments)}
    looked_at = _images(checkpoint, arguments.test, changes, arguments.cache_dir)
    if looked_at.left_out:
        print(describe_left_out(looked_at.left_out, "test" if arguments.test else "training"), flush=True)
    report = _report(checkpoint, looked_at, arguments.device, cache_options(arguments))
    said = [*_count_told(checkpoint, arguments.test), *_keep_threshold(checkpoint, report)]
    try:
        write_json(out, report)
        plot_errors(report, picture)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be written: {error.strerror}; choose another --out") from error
    print_errors(report, str(checkpoint))
    for line in ["", *said, f"rank lists: {picture}", f"written to {out}"]:
        print(printable(line))
    return report


def _count_told(checkpoint: Path, test: bool) -> list[str]:
    """A line about the looks at a study's test images."""
    from reid_train.inference.evaluation_count import describe_count, read_test_metrics, study_above

    study = study_above(checkpoint) if test else None
    evaluations = read_test_metrics(study).get("evaluations") if study else None
    return [f"test images: {describe_count(evaluations)}"] if evaluations else []


def _keep_threshold(checkpoint: Path, report: Mapping[str, Any]) -> list[str]:
    """Puts the thresholds beside the weights; those of test images only where there are none. Says what it did."""
    from reid_train.inference.threshold import TEST, read_threshold, write_threshold

    found = report["threshold"]
    if found is None:
        return []
    kept = read_threshold(checkpoint, found["weights_sha256"])
    if report["on"] == TEST and kept is not None:
        return [f"the model's threshold stays the one that was measured on {kept.measured_on}"]
    try:
        file = write_threshold(checkpoint, found)
    except OSError as error:
        return [f"the threshold is not kept with the model: {error.filename}: {error.strerror}"]
    more = "; it was chosen on the test images, so test figures made with it flatter" if report["on"] == TEST else ""
    return [f"thresholds, which a query uses: {file}{more}"]


if __name__ == "__main__":
    main()
