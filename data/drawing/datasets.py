"""Draws a whole data set, pedestrians or vehicles, in an official folder layout.

    draw_dataset("market1501", "data/sample", identities=48, cameras=4, images_per_camera=3, seed=0)

Nothing is downloaded, and the same arguments give the same bytes under the same versions of Pillow and numpy. What
tells identities apart survives from camera to camera; colour cast, exposure, viewpoint, blur, background, noise and
obstructions do not.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.drawing.cameras import Camera, make_camera, photograph_person, photograph_vehicle
from data.drawing.layouts import LAYOUTS, Layout
from data.drawing.people import person_look
from data.drawing.vehicle_looks import vehicle_look
from data.system.errors import UserError
from data.system.own_folder import OwnFolder

DISTRACTOR, JUNK = 0, -1
"""Market-1501's numbers for people who belong to no query and for bad boxes."""
MAX_IDENTITIES = 9999
"""Both layouts write an identity with four digits."""
MAX_IMAGES = 999_999
"""Market-1501 writes a frame with six digits."""


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
            folders = [layout.query] + [layout.gallery] * max(1, count - 1) if tested else [layout.train] * count
            wanted += [(folder, identity, camera) for folder in folders]
    labelled = sum(folder == layout.gallery for folder, _, _ in wanted)
    extra = max(2, round(layout.unlabelled * labelled)) if layout.unlabelled else 0
    for identity in (DISTRACTOR, JUNK):
        wanted += [(layout.gallery, identity, int(rng.integers(1, cameras + 1))) for _ in range(extra)]
    return [Shot(*shot, number) for number, shot in enumerate(wanted, 1)]


def _seeing(rng: np.random.Generator, cameras: int) -> list[int]:
    """The cameras that see an identity: each with probability 0.85, never fewer than two of two or more."""
    order = (rng.permutation(cameras) + 1).tolist()
    certain = min(2, cameras)
    return sorted(order[:certain] + [camera for camera in order[certain:] if rng.random() < 0.85])


def _draw_all(layout: str, shots: list[Shot], folder: Path, seed: int) -> None:
    """Draws every shot into its folder and writes the layout's lists."""
    official, take = LAYOUTS[layout], TAKE[layout]
    for name in (official.train, official.query, official.gallery):
        (folder / name).mkdir(parents=True)
    cameras = {number: make_camera(_rng(seed, "camera", number)) for number in sorted({shot.camera for shot in shots})}
    names: dict[str, list[str]] = {name: [] for name in official.lists.values()}
    for shot in shots:
        # a distractor or a bad box shows somebody new every time
        who = ("identity", shot.identity) if shot.identity > 0 else ("stranger", shot.number)
        name, picture = take(shot, _rng(seed, *who), cameras[shot.camera], _rng(seed, "shot", shot.number))
        (folder / shot.folder / name).write_bytes(picture)
        names.setdefault(shot.folder, []).append(name)
    for file, listed in official.lists.items():
        (folder / file).write_text("".join(f"{name}\n" for name in sorted(names[listed])))


def _person(shot: Shot, looks: np.random.Generator, camera: Camera, rng: np.random.Generator) -> tuple[str, bytes]:
    """Market-1501's name and picture of a pedestrian."""
    identity = f"{shot.identity:04d}" if shot.identity >= 0 else "-1"
    name = f"{identity}_c{shot.camera}s{rng.integers(1, 7)}_{shot.number:06d}_{rng.integers(1, 5):02d}.jpg"
    empty = shot.identity == JUNK and rng.random() < 0.3
    look = None if empty else person_look(looks)
    return name, photograph_person(look, camera, rng, part=shot.identity == JUNK)


def _vehicle(shot: Shot, looks: np.random.Generator, camera: Camera, rng: np.random.Generator) -> tuple[str, bytes]:
    """VeRi-776's name and picture of a vehicle."""
    name = f"{shot.identity:04d}_c{shot.camera:03d}_{shot.number:08d}_0.jpg"
    return name, photograph_vehicle(vehicle_look(looks), camera, rng)


TAKE = {"market1501": _person, "veri": _vehicle}
"""Layout -> what names and takes one of its pictures."""


def _rng(seed: int, purpose: str, number: int = 0) -> np.random.Generator:
    """Random numbers for one thing to draw, independent of all others: more of one thing changes no other."""
    return np.random.default_rng([seed, *purpose.encode(), number])
