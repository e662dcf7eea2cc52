"""Looks for a picture's likes in a gallery: a ranked table and a picture of it.

python -m reid_train.query --checkpoint DIR --gallery DIR --image FILE [--top 10]

Where the checkpoint lies in a study's folder and the picture tells right from wrong on test images, the study counts
it as an evaluation.
"""

import argparse
from pathlib import Path
from typing import Any

from data.sets.readers import READERS
from data.system.answers import add_json_option, answering
from data.system.errors import UserError, exit_on_user_error, printable
from data.system.options import (
    CommandParser,
    add_checkpoint_option,
    add_device_option,
    add_image_options,
    check_out,
    checkpoint_option,
    folder,
    image_options,
)


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m reid_train.query", description="Ranks a gallery's images by their similarity to a picture."
    )
    add_checkpoint_option(parser, exported=True)
    parser.add_argument("--gallery", required=True, metavar="DIR", help="any folder of images, or a data set")
    parser.add_argument("--image", required=True, metavar="FILE", help="the picture whose likes are looked for")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="images that are shown; default: 10")
    parser.add_argument("--dataset", choices=list(READERS), help="the reader; default: detected")
    add_device_option(parser)
    add_image_options(parser)
    parser.add_argument(
        "--cache-dir",
        type=folder,
        metavar="DIR",
        help="where embeddings are kept; default: reid-tuning/pixels in $XDG_CACHE_HOME or ~/.cache",
    )
    parser.add_argument("--out", metavar="FILE", help="PNG file; default: results/query/NAME OF IMAGE.png")
    add_json_option(parser)
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    if arguments.top < 1:
        raise UserError(f"--top {arguments.top}: at least 1")
    with answering(arguments.json) as answer:
        answer |= query(arguments)


def query(arguments: argparse.Namespace) -> dict[str, Any]:
    """Searches, draws and prints as the arguments say. Gives what `--json` does: `image` and `gallery`; `ranked`, for
    each image shown `path`, `similarity` (cosine), `identity` and `camera` (null where they are not known) and `right`
    (whether it shows the query's identity, null where that is not known); `left_out`, how many of the query's own
    identity and camera are; `picture`: the rank list's file."""
    checkpoint = checkpoint_option(arguments)
    out = check_out(Path(arguments.out or f"results/query/{Path(arguments.image).stem}.png"), ".png")

    from data.pixels.bad_images import describe_left_out
    from data.pixels.decoding import load_image
    from data.pixels.gallery import read_gallery
    from reid_train.inference.gallery_search import count_search, plot_ranking, print_ranking, remarks, search

    load_image(arguments.image)  # before the gallery is embedded
    gallery = read_gallery(
        arguments.gallery, arguments.dataset, **image_options(arguments), cache_dir=arguments.cache_dir
    )
    if gallery.left_out:
        print(describe_left_out(gallery.left_out, "gallery"), flush=True)
    ranked, same_camera, threshold = search(
        checkpoint, arguments.image, gallery, device=arguments.device, cache_dir=arguments.cache_dir
    )
    if not ranked:
        raise UserError(f"gallery {arguments.gallery}: holds nothing that {arguments.image} can be compared with")
    shown, own = ranked[: arguments.top], gallery.label(arguments.image)
    counted = count_search(arguments.checkpoint, arguments.image, arguments.gallery, shown, arguments.cache_dir)
    known = f" ({own.described})" if own else ""
    print_ranking(shown, f"{Path(arguments.image).name}{known} in {arguments.gallery}", arguments.gallery, threshold)
    if threshold:
        print(threshold.verdict_in(ranked[0].similarity, len(ranked)))
    for line in [*remarks(ranked, shown, same_camera), *counted]:
        print(line)
    try:
        plot_ranking(arguments.image, own, shown, out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}; choose another --out") from error
    print(printable(f"rank list: {out}"))
    images = [
        {
            "path": image.path,
            "similarity": image.similarity,
            "identity": image.label.who.removeprefix("identity ") if image.label else None,
            "camera": image.label.camera_shown or None if image.label else None,
            "right": image.right,
        }
        for image in shown
    ]
    names = {"image": arguments.image, "gallery": arguments.gallery}
    return {**names, "ranked": images, "left_out": same_camera, "picture": out}


if __name__ == "__main__":
    main()
