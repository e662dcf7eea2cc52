"""Pictures -> embeddings by a trained model: from a program, or as a command that writes a file.

from reid_train.embed import load_model

model = load_model("results/sample/best")
embedding_ND = model.embed(["a.jpg", "b.jpg"])  # unit length: the product of two is their cosine similarity

python -m reid_train.embed --checkpoint DIR --images DIR --out emb.npz|emb.parquet [--flip-tta]
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.sets.listing import GALLERY, QUERY, TRAIN
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

if TYPE_CHECKING:
    from reid_train.inference.embedder import Embedder, Picture, PictureEmbedder, embed_cached, load_model, open_model

__all__ = ["Embedder", "Picture", "PictureEmbedder", "embed_cached", "load_model", "open_model"]
ENDINGS = (".npz", ".parquet")


def __getattr__(name: str) -> Any:
    """What programs import from here comes with torch, which --help does without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reid_train.inference import embedder

    return getattr(embedder, name)


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m reid_train.embed",
        description="Writes the embeddings of a data set's images, of those in a folder, or of those in a list.",
    )
    add_checkpoint_option(parser, exported=True)
    parser.add_argument(
        "--images",
        required=True,
        metavar="DIR",
        help="a data set, any folder of images (at any depth), or a .txt file with a path a line",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="emb.npz or emb.parquet")
    parser.add_argument(
        "--split",
        action="append",
        choices=(TRAIN, QUERY, GALLERY),
        help="only this split of a data set; may be repeated; default: all",
    )
    parser.add_argument("--dataset", choices=list(READERS), help="the reader; default: detected")
    parser.add_argument("--batch-size", type=int, default=128, metavar="N", help="images at a time; default: 128")
    parser.add_argument("--flip-tta", action="store_true", help="mean of the picture's and its mirror image's features")
    add_device_option(parser)
    add_image_options(parser)
    parser.add_argument(
        "--cache-dir",
        type=folder,
        metavar="DIR",
        help="where it is kept which images are whole (for --on-bad-image skip); default: reid-tuning/pixels in "
        "$XDG_CACHE_HOME or ~/.cache",
    )
    add_json_option(parser)
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    with answering(arguments.json) as answer:
        answer |= embed(arguments)


def embed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Writes the file, and gives what `--json` does: `out`, what the file says of itself, `seconds` and
    `images_left_out`."""
    if arguments.batch_size < 1:
        raise UserError(f"--batch-size {arguments.batch_size}: at least 1")
    checkpoint, out = checkpoint_option(arguments), check_out(Path(arguments.out))
    if out.suffix.lower() not in ENDINGS:
        raise UserError(f"--out {out}: the name must end in {' or '.join(ENDINGS)}")
    from data.pixels.bad_images import describe_left_out
    from data.pixels.collection import read_collection
    from data.system.wording import images_done
    from reid_train.inference.embedder import open_model
    from reid_train.inference.embedding_file import write_embeddings

    images = read_collection(
        arguments.images,
        arguments.dataset,
        splits=arguments.split or (TRAIN, QUERY, GALLERY),
        **image_options(arguments),
        cache_dir=arguments.cache_dir,
    )
    if images.left_out:
        print(describe_left_out(images.left_out, "given"), flush=True)
    model = open_model(checkpoint, device=arguments.device)
    began = time.monotonic()
    with images_done(len(images.paths)) as told:
        options = {"batch_size": arguments.batch_size, "flip_tta": arguments.flip_tta, "told": told}
        about = write_embeddings(model, images, out, **options)
    seconds = time.monotonic() - began
    rate = len(images.paths) / max(seconds, 1e-9)
    print(f"{len(images.paths):,} images, {model.width} numbers each, in {seconds:.1f} s ({rate:.0f} images/s)")
    if images.shows_test_images:
        print("with test images: figures that you make of them are looks which no study counts")
    print(printable(f"written to {out}"))
    return {"out": out, **about, "seconds": round(seconds, 3), "images_left_out": images.left_out}


if __name__ == "__main__":
    main()
