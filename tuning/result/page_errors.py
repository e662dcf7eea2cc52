"""What the page shows of errors.json: rank lists, camera pairs, identities, the threshold, the map, thumbnails.

errors = read_errors(study.folder)      # None where there is none
shown = errors_in_page(errors, images=True)
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from data.pixels.decoding import load_image
from data.system.errors import UserError
from data.system.files import read_json
from reid_train.errors import ERRORS

THUMBNAIL = 64
"""Pixels of the longer side."""
MOST_THUMBNAILS = 200
FOR_MAP = 60
"""Thumbnails that are kept for the map."""
MOST_CAMERAS = 16
"""With more, pairs of cameras are a list and no square."""
MOST_POINTS = 2000
WIDTH, HEIGHT = 640, 420
"""Of the map, in its own units."""
KINDS = {"worst": "Where it is most wrong", "random": "As drawn by lot", "best": "Where it is right"}


class Cell(NamedTuple):
    """Queries by one camera, gallery images by another."""

    rank1: float
    mAP: float
    queries: int


class Point(NamedTuple):
    """An image on the map."""

    x: float
    y: float
    colour: int
    identity: str
    camera: str
    path: str
    thumb: int | None


@dataclass
class Errors:
    """errors.json as the template takes it."""

    raw: Mapping[str, Any]
    lists: list[tuple[str, list[Mapping[str, Any]]]]
    """Headings and the rank lists below them."""
    cameras: list[str] = field(default_factory=list)
    """Of the square of camera pairs; empty where there are too many."""
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    thumbs: dict[str, int] = field(default_factory=dict)
    """Number of a path's thumbnail."""
    pictures: list[str] = field(default_factory=list)
    """The thumbnails, as data URIs."""
    points: list[Point] = field(default_factory=list)

    @property
    def threshold(self) -> Mapping[str, Any] | None:
        """The content of threshold.json."""
        return self.raw.get("threshold") or None


def read_errors(folder: Path) -> Mapping[str, Any] | None:
    """errors.json in a study's folder; None where there is none that can be read."""
    with suppress(FileNotFoundError, UserError):
        found = read_json(folder / ERRORS)
        return found if isinstance(found, dict) else None
    return None


def errors_in_page(raw: Mapping[str, Any], *, images: bool) -> Errors:
    """All parts that are there. `images`: with thumbnails of those that can still be read."""
    lists = [one for one in raw.get("lists") or [] if one.get("kind") in KINDS]
    by_kind = [(title, [one for one in lists if one["kind"] == kind]) for kind, title in KINDS.items()]
    shown = Errors(raw, [(title, group) for title, group in by_kind if group])
    pairs = raw.get("camera_pairs") or []
    names = sorted({pair[side] for pair in pairs for side in ("query", "gallery")}, key=_natural)
    if len(names) <= MOST_CAMERAS:
        shown.cameras = names
        shown.cells = {(p["query"], p["gallery"]): Cell(p["rank1"], p["mAP"], p["queries"]) for p in pairs}
    if images:
        for path, picture in _pictures(Path(raw.get("data_dir") or "."), _wanted(raw, shown)):
            shown.thumbs[path] = len(shown.pictures)
            shown.pictures.append(picture)
    shown.points = _points(raw.get("map") or [], shown.thumbs)
    return shown


def _natural(name: str) -> tuple[int, str]:
    """c2 before c10."""
    return len(name), name


def _wanted(raw: Mapping[str, Any], shown: Errors) -> list[str]:
    """Paths whose thumbnails are most wanted: of rank lists from the top, of confused pairs, then spread over the map.
    No more than MOST_THUMBNAILS."""
    points = [point["path"] for point in raw.get("map") or []]
    paths = dict.fromkeys(path for pair in raw.get("confused") or [] for path in pair.get("example") or [])
    groups = [group for _, group in shown.lists]
    for row in range(max(map(len, groups), default=0)):  # the first of each kind, then the second of each
        for one in (group[row] for group in groups if row < len(group)):
            paths |= dict.fromkeys([one["query"]["path"], *(image["path"] for image in one["ranked"])])
    kept = list(paths)[: MOST_THUMBNAILS - (FOR_MAP if points else 0)]
    left = MOST_THUMBNAILS - len(kept)
    others = [path for path in dict.fromkeys(points) if path not in set(kept)]
    return kept + others[:: -(-len(others) // left) or 1][:left]


def _pictures(data_dir: Path, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The thumbnails of those images that can be read, and that lie in the data set's folder."""
    data_dir = data_dir.parent if data_dir.is_file() else data_dir  # a manifest
    root = data_dir.resolve()
    for path in paths:
        file = (data_dir / path).resolve()
        with suppress(OSError, ValueError, Image.DecompressionBombError):
            if file.is_relative_to(root):
                yield path, thumbnail(file)


def thumbnail(file: Path) -> str:
    """A small WebP picture as a data URI."""
    picture = load_image(file)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    picture.save(written, "WEBP", quality=72, method=4)
    return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"


def _points(found: Sequence[Mapping[str, Any]], thumbs: Mapping[str, int]) -> list[Point]:
    """The map's points in its units, colours by identity in turn."""
    found = found[:MOST_POINTS]
    if not found:
        return []
    colours = {name: place % 8 for place, name in enumerate(dict.fromkeys(point["identity"] for point in found))}
    ends = [(min(p[axis] for p in found), max(p[axis] for p in found)) for axis in ("x", "y")]

    def along(value: float, ends: tuple[float, float], length: int) -> float:
        return round(12 + (value - ends[0]) / ((ends[1] - ends[0]) or 1.0) * (length - 24), 1)

    return [
        Point(
            along(point["x"], ends[0], WIDTH),
            along(point["y"], ends[1], HEIGHT),
            colours[point["identity"]],
            str(point["identity"]),
            str(point["camera"]),
            str(point["path"]),
            thumbs.get(point["path"]),
        )
        for point in found
    ]


def histogram_paths(threshold: Mapping[str, Any], width: float, height: float) -> dict[str, str]:
    """Outlines of the two histograms, each as a share of its own pairs, for <path d=…>; empty without histograms."""
    histogram = threshold.get("histogram")
    if not histogram:
        return {}
    edges, sides = histogram["edges"], {name: histogram[name] for name in ("same", "different")}
    shares = {name: [count / (sum(counts) or 1) for count in counts] for name, counts in sides.items()}
    highest = max((share for of_one in shares.values() for share in of_one), default=0) or 1.0
    span = (edges[-1] - edges[0]) or 1.0
    paths = {}
    for name, of_one in shares.items():
        steps = [f"M0 {height:g}"]
        for place, share in enumerate(of_one):
            left, right = ((edge - edges[0]) / span * width for edge in edges[place : place + 2])
            top = height * (1 - 0.96 * share / highest)
            steps.append(f"L{left:.1f} {top:.1f}L{right:.1f} {top:.1f}")
        paths[name] = "".join([*steps, f"L{width:g} {height:g}Z"])
    return paths
