"""Draws a whole data set, pedestrians or vehicles, in the layout of an official set.

    draw_dataset("market1501", "data/sample", identities=48, cameras=4, images_per_camera=3, seed=0)

Nothing is downloaded, and the same arguments give the same bytes under the same versions of Pillow and numpy. What
tells identities apart survives from camera to camera; colour cast, exposure, viewpoint, blur, background, noise and
obstructions do not.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from data.drawing.cameras import Camera, make_camera, photograph_person, photograph_vehicle
from data.drawing.layouts import JUNK, LAYOUTS, Layout, Shot
from data.drawing.people import person_look
from data.drawing.vehicle_looks import vehicle_look
from data.sets.listing import DISTRACTOR, GALLERY, QUERY, TRAIN
from data.system.errors import UserError
from data.system.own_folder import OwnFolder

MAX_IDENTITIES = 9999
"""Most layouts write an identity with four digits."""
MAX_IMAGES = 999_999
"""Market-1501 writes a frame with six digits."""


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

    `identities` are those of the training folder. `test_identities` come on top (None: `half` of them). Most cameras
    see an identity, at least two do where there are two, and each takes `images_per_camera` pictures of it, give or
    take a half. Query: one picture of each test identity by each camera that sees it; the gallery holds the others,
    at least one. With a single camera no query has a match. Raises UserError for what cannot be drawn.
    """
    test_identities = half(identities) if test_identities is None else test_identities
    _check(layout, identities, test_identities, cameras, images_per_camera, seed)
    target = Path(out_dir).resolve()
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UserError(f"{target} is not an empty folder, and nothing is overwritten: name another folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with OwnFolder(f".{target.name}.", target.parent) as scratch:
            unfinished = scratch / target.name
            shots = _plan(LAYOUTS[layout], identities, test_identities, cameras, images_per_camera, seed)
            _draw_all(layout, shots, unfinished, seed)
            if target.exists():
                target.rmdir()  # empty: a rename onto it would fail on Windows
            unfinished.replace(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error}; name another folder with --out") from error


def half(identities: int) -> int:
    """How many test identities there are where no number is given: half as many, at least 2."""
    return max(2, identities // 2)


def _check(layout: str, identities: int, test_identities: int, cameras: int, images_per_camera: int, seed: int) -> None:
    if layout not in LAYOUTS:
        raise UserError(f"layout={layout!r} is unknown; it is one of {', '.join(LAYOUTS)}")
    both = f"identities={identities} and test_identities={test_identities}"
    most_cameras, most_images = LAYOUTS[layout].max_cameras, MAX_IMAGES // 3
    rules = {
        f"{both} must each be at least 2: one alone cannot be confused with anybody": min(identities, test_identities)
        >= 2,
        f"{both} together exceed {MAX_IDENTITIES}, what four digits in a name can hold: ask for fewer": (
            identities + test_identities <= MAX_IDENTITIES
        ),
        f"cameras={cameras} must be 1 to {most_cameras}, what a name in the layout {layout} can hold": (
            1 <= cameras <= most_cameras
        ),
        f"images_per_camera={images_per_camera} must be at least 1": images_per_camera >= 1,
        f"identities x cameras x images_per_camera must be at most {most_images}: lower one of them": (
            (identities + test_identities) * cameras * images_per_camera <= most_images
        ),
        f"seed={seed} must be 0 or more": seed >= 0,
    }
    for rule, holds in rules.items():
        if not holds:
            raise UserError(rule)


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
            splits = [QUERY] + [GALLERY] * max(1, count - 1) if tested else [TRAIN] * count
            wanted += [(split, identity, camera) for split in splits]
    labelled = sum(split == GALLERY for split, _, _ in wanted)
    extra = max(2, round(layout.unlabelled * labelled)) if layout.unlabelled else 0
    for identity in (DISTRACTOR, JUNK):
        wanted += [(GALLERY, identity, int(rng.integers(1, cameras + 1))) for _ in range(extra)]
    return [Shot(*shot, number) for number, shot in enumerate(wanted, 1)]


def _seeing(rng: np.random.Generator, cameras: int) -> list[int]:
    """The cameras that see an identity: each with probability 0.85, never fewer than two of two or more."""
    order = (rng.permutation(cameras) + 1).tolist()
    certain = min(2, cameras)
    return sorted(order[:certain] + [camera for camera in order[certain:] if rng.random() < 0.85])


def _draw_all(layout: str, shots: list[Shot], folder: Path, seed: int) -> None:
    """Draws every shot to its place and writes the layout's lists."""
    official = LAYOUTS[layout]
    cameras = {number: make_camera(_rng(seed, "camera", number)) for number in sorted({shot.camera for shot in shots})}
    named = []
    for shot in shots:
        # a distractor or a bad box shows somebody new every time
        who = ("identity", shot.identity) if shot.identity > 0 else ("stranger", shot.number)
        looks, rng = _rng(seed, *who), _rng(seed, "shot", shot.number)
        name = official.name(shot, *_drawn_in_name(official, rng))
        picture = (_person if official.subject == "person" else _vehicle)(shot, looks, cameras[shot.camera], rng)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(_as_png(picture) if name.endswith(".png") else picture)
        named.append((shot, name))
    for file, text in official.lists(named).items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)


def _drawn_in_name(layout: Layout, rng: np.random.Generator) -> tuple[int, int]:
    """Sequence and box, which Market-1501 writes into a pedestrian's name."""
    return (int(rng.integers(1, 7)), int(rng.integers(1, 5))) if layout.subject == "person" else (1, 1)


def _person(shot: Shot, looks: np.random.Generator, camera: Camera, rng: np.random.Generator) -> bytes:
    empty = shot.identity == JUNK and rng.random() < 0.3
    look = None if empty else person_look(looks)
    return photograph_person(look, camera, rng, part=shot.identity == JUNK)


def _vehicle(_: Shot, looks: np.random.Generator, camera: Camera, rng: np.random.Generator) -> bytes:
    return photograph_vehicle(vehicle_look(looks), camera, rng)


def _as_png(jpeg: bytes) -> bytes:
    png = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).save(png, "png")
    return png.getvalue()


def _rng(seed: int, purpose: str, number: int = 0) -> np.random.Generator:
    """Random numbers for one thing to draw, independent of all others: more of one thing changes no other."""
    return np.random.default_rng([seed, *purpose.encode(), number])
