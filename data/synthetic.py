"""Generates a re-identification data set, pedestrians or vehicles, in the layout of an official set.

    python -m data.synthetic --layout market1501 --out data/synthetic_market

Nothing is downloaded: every picture is drawn (data/drawing).
"""

import argparse
import time
from pathlib import Path

from data.drawing.layouts import LAYOUTS
from data.system.errors import exit_on_user_error
from data.system.options import CommandParser


@exit_on_user_error
def main() -> None:
    settings = vars(parse_arguments())
    from data.drawing.datasets import draw_dataset, half

    start = time.perf_counter()
    if settings["test_identities"] is None:
        settings["test_identities"] = half(settings["identities"])
    draw_dataset(**settings)
    images = sum(path.suffix in (".jpg", ".png") for path in settings["out_dir"].rglob("*"))
    print(
        f"drew {images} images of {settings['identities']} training and {settings['test_identities']} test identities "
        f"into {settings['out_dir']} in {time.perf_counter() - start:.1f} s"
    )


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m data.synthetic",
        description="Generates a re-identification data set, pedestrians or vehicles, in an official folder layout.",
    )
    vehicles = ", ".join(name for name, layout in LAYOUTS.items() if layout.subject == "vehicle")
    parser.add_argument(
        "--layout", choices=LAYOUTS, required=True, help=f"{vehicles}: vehicles; the others: pedestrians"
    )
    parser.add_argument(
        "--out", dest="out_dir", metavar="OUT", type=Path, required=True, help="folder to make; must be absent or empty"
    )
    parser.add_argument("--identities", type=int, default=48, help="training identities (default %(default)s)")
    parser.add_argument(
        "--test-identities",
        type=int,
        help="identities of query and gallery, others than the training ones (default: half of --identities)",
    )
    parser.add_argument("--cameras", type=int, default=4, help="at least 1 (default %(default)s)")
    parser.add_argument(
        "--images-per-camera",
        type=int,
        default=3,
        help="of one identity by a camera that sees it, on average (default %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same pictures (default %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
