"""Generates a re-identification data set, pedestrians or vehicles, in an official folder layout.

    python -m data.synthetic --layout market1501 --out data/synthetic_market

Nothing is downloaded: every picture is drawn (data/synthetic_*.py), and the same arguments give the same
bytes under the same versions of Pillow and numpy. What tells identities apart survives from camera to camera;
colour cast, exposure, viewpoint, blur, background, noise and obstructions do not.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from data.system.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    import numpy as np

DISTRACTOR, JUNK = 0, -1
"""Market-1501's numbers for people who belong to no query and for bad boxes."""
MAX_IDENTITIES = 9999
"""Both layouts write an identity with four digits."""
MAX_IMAGES = 999_999
"""Market-1501 writes a frame with six digits."""


class Layout(NamedTuple):
    """Folders and names of an official data set."""

    train: str
    query: str
    gallery: str
    max_cameras: int
    """What the camera's digits in a name can hold."""
    unlabelled: float
    """Distractors, and as many junk images, as a part of the gallery's labelled images."""
    lists: dict[str, str]
    """Text files that list a folder's names, and that folder."""


LAYOUTS = {
    "market1501": Layout("bounding_box_train", "query", "bounding_box_test", 9, 0.1, {}),
    "veri": Layout(
        "image_train",
        "image_query",
        "image_test",
        999,
        0.0,
        {"name_train.txt": "image_train", "name_query.txt": "image_query", "name_test.txt": "image_test"},
    ),
}


class Shot(NamedTuple):
    """One picture to take."""

    folder: str
    identity: int
    """1 or more, or DISTRACTOR or JUNK."""
    camera: int
    """1 or more."""
    number: int
    """1 or more, different for every picture; it stands in the name as the frame."""


def draw_dataset(
    layout: str,
    out_dir: Path | str,
    *,
    identities: int,
    test_identities: int | None = None,
    cameras: int,
    images_per_camera: int,
    seed: int,
) -> None:
    """Draws a data set into `out_dir`, which must be absent or empty; it appears complete or not at all.

    `identities` are those of the training folder; `test_identities` (half as many unless given) come on top
    and share none with them. An identity is seen by most cameras, by at least two where there are two, and in
    `images_per_camera` pictures by each, give or take a half. Query: one picture of each test identity by each
    camera that sees it; the gallery holds its others, at least one. With a single camera no query has a match
    from another. Raises UserError for what cannot be drawn.
    """
    if test_identities is None:
        test_identities = _half(identities)
    _check(layout, identities, test_identities, cameras, images_per_camera, seed)
    target = Path(out_dir).resolve()
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UserError(f"{target} is not an empty folder, and nothing is overwritten: name another folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
            unfinished = Path(scratch) / target.name
            shots = _plan(LAYOUTS[layout], identities, test_identities, cameras, images_per_camera, seed)
            _draw_all(layout, shots, unfinished, seed)
            if target.exists():
                target.rmdir()  # empty: a rename onto it would fail on Windows
            unfinished.replace(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error}; name another folder with --out") from error


def _half(identities: int) -> int:
    """The number of test identities where none is given."""
    return max(2, identities // 2)


def _check(layout: str, identities: int, test_identities: int, cameras: int, images_per_camera: int, seed: int) -> None:
    if layout not in LAYOUTS:
        raise UserError(f"layout={layout!r} is unknown; it is one of {', '.join(LAYOUTS)}")
    if identities < 2 or test_identities < 2:
        raise UserError(
            f"identities={identities} and test_identities={test_identities} must each be at least 2: "
            "one alone cannot be confused with anybody"
        )
    if identities + test_identities > MAX_IDENTITIES:
        raise UserError(
            f"identities={identities} and test_identities={test_identities} together exceed "
            f"{MAX_IDENTITIES}, what four digits in a name can hold: ask for fewer"
        )
    most = LAYOUTS[layout].max_cameras
    if not 1 <= cameras <= most:
        raise UserError(f"cameras={cameras} must be 1 to {most}, what a name in the layout {layout} can hold")
    if images_per_camera < 1:
        raise UserError(f"images_per_camera={images_per_camera} must be at least 1")
    if (identities + test_identities) * cameras * images_per_camera > MAX_IMAGES // 3:
        raise UserError(
            f"identities x cameras x images_per_camera must be at most {MAX_IMAGES // 3}: lower one of them"
        )
    if seed < 0:
        raise UserError(f"seed={seed} must be 0 or more")


def _plan(
    layout: Layout, identities: int, test_identities: int, cameras: int, images_per_camera: int, seed: int
) -> list[Shot]:
    """Who is seen by which camera how often, in the order of drawing."""
    rng = _rng(seed, "plan")
    wanted: list[tuple[str, int, int]] = []
    for identity in range(1, identities + test_identities + 1):
        tested = identity > identities
        for camera in _seeing(rng, cameras):
            spread = images_per_camera // 2
            count = images_per_camera + int(rng.integers(-spread, spread + 1))
            folders = [layout.query] + [layout.gallery] * max(1, count - 1) if tested else [layout.train] * count
            wanted += [(folder, identity, camera) for folder in folders]
    labelled = sum(folder == layout.gallery for folder, _, _ in wanted)
    extra = max(2, round(layout.unlabelled * labelled)) if layout.unlabelled else 0
    for identity in (DISTRACTOR, JUNK):
        wanted += [(layout.gallery, identity, int(rng.integers(1, cameras + 1))) for _ in range(extra)]
    return [Shot(*shot, number) for number, shot in enumerate(wanted, 1)]


def _seeing(rng: "np.random.Generator", cameras: int) -> list[int]:
    """The cameras that see an identity: each with probability 0.85, never fewer than two of two or more."""
    order = (rng.permutation(cameras) + 1).tolist()
    certain = min(2, cameras)
    return sorted(order[:certain] + [camera for camera in order[certain:] if rng.random() < 0.85])


def _draw_all(layout: str, shots: list[Shot], folder: Path, seed: int) -> None:
    """Draws every shot into its folder and writes the layout's lists."""
    from data.drawing.cameras import make_camera, photograph_person, photograph_vehicle
    from data.drawing.people import person_look
    from data.drawing.vehicles import vehicle_look

    official = LAYOUTS[layout]
    for name in (official.train, official.query, official.gallery):
        (folder / name).mkdir(parents=True)
    cameras = {number: make_camera(_rng(seed, "camera", number)) for number in sorted({shot.camera for shot in shots})}
    names: dict[str, list[str]] = {name: [] for name in official.lists}
    for shot in shots:
        rng, camera = _rng(seed, "shot", shot.number), cameras[shot.camera]
        # a distractor or a bad box shows somebody new every time
        who = ("identity", shot.identity) if shot.identity > 0 else ("stranger", shot.number)
        looks = _rng(seed, *who)
        if layout == "veri":
            name = f"{shot.identity:04d}_c{shot.camera:03d}_{shot.number:08d}_0.jpg"
            picture = photograph_vehicle(vehicle_look(looks), camera, rng)
        else:
            person = f"{shot.identity:04d}" if shot.identity >= 0 else "-1"
            name = f"{person}_c{shot.camera}s{rng.integers(1, 7)}_{shot.number:06d}_{rng.integers(1, 5):02d}.jpg"
            empty = shot.identity == JUNK and rng.random() < 0.3
            look = None if empty else person_look(looks)
            picture = photograph_person(look, camera, rng, part=shot.identity == JUNK)
        (folder / shot.folder / name).write_bytes(picture)
        for listing, listed in official.lists.items():
            if listed == shot.folder:
                names[listing].append(name)
    for listing, lines in names.items():
        (folder / listing).write_text("".join(f"{line}\n" for line in sorted(lines)))


def _rng(seed: int, purpose: str, number: int = 0) -> "np.random.Generator":
    """An independent stream for one thing to draw, so that asking for more of one changes no other."""
    import numpy as np

    return np.random.default_rng([seed, *purpose.encode(), number])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data.synthetic", description=__doc__.split("\n\n")[0])
    parser.add_argument("--layout", choices=LAYOUTS, required=True, help="market1501: pedestrians; veri: vehicles")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must be absent or empty")
    parser.add_argument("--identities", type=int, default=48, help="training identities (default %(default)s)")
    parser.add_argument(
        "--test-identities",
        type=int,
        help="identities of query and gallery, others than the training ones (default: half of --identities)",
    )
    parser.add_argument(
        "--cameras", type=int, default=4, help="1 to 9 for market1501, 1 to 999 for veri (default %(default)s)"
    )
    parser.add_argument(
        "--images-per-camera",
        type=int,
        default=3,
        help="of one identity by a camera that sees it, on average (default %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same pictures (default %(default)s)")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    options = parse_arguments()
    start = time.perf_counter()
    test_identities = _half(options.identities) if options.test_identities is None else options.test_identities
    draw_dataset(
        options.layout,
        options.out,
        identities=options.identities,
        test_identities=test_identities,
        cameras=options.cameras,
        images_per_camera=options.images_per_camera,
        seed=options.seed,
    )
    images = sum(1 for _ in options.out.rglob("*.jpg"))
    print(
        f"drew {images} images of {options.identities} training and {test_identities} test identities "
        f"into {options.out} in {time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
