"""Sample: an image and who is on it. Readers give samples, all other modules take them.

Sample(path="/data/VeRi/image_train/0001_c002_00030600_0.jpg", identity=1, camera=2)

A set may know no cameras. Each of its images then has a camera of its own, a negative number: "same identity and same
camera" leaves out the picture itself and nothing else.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

BOX = re.compile(r"#xywh=(\d+),(\d+),(\d+),(\d+)$", re.ASCII)


class Sample(NamedTuple):
    """An image file and what is known about it."""

    path: str
    """Absolute path of the image file; for a part of the picture with its box after it, as `with_box` writes it."""
    identity: int
    """Number of the person or vehicle; 0 in a gallery is a distractor that belongs to nobody."""
    camera: int
    """Number of the camera that took it; negative where none is known: this image's own number (`own_camera`)."""
    sequence: int = 0
    """Number of the sequence that it is from: for a query in it, all of its images are left out, whomever they show. 0:
    of none. Images of one sequence have one camera."""


def name_of(path: str) -> str:
    """A file's name without its folder: where images lie must not change a split or a fingerprint."""
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def own_camera(name: str) -> int:
    """The camera of an image of which no camera is known: -1 to -2^48, from its path in the data set's folder."""
    digest = hashlib.sha256(name.replace("\\", "/").encode("utf-8", "surrogateescape")).digest()
    return -1 - int.from_bytes(digest[:6], "big")


def knows_cameras(samples: Iterable[Sample]) -> bool:
    """Whether the camera of some image is known."""
    return any(sample.camera >= 0 for sample in samples)


Box = tuple[int, int, int, int]
"""Left, top, width, height, in pixels of the upright picture."""


def with_box(path: str, box: Box | None) -> str:
    """What stands for a part of a picture in place of its path: `a.jpg#xywh=5,0,64,128` (W3C, Media Fragments URI)."""
    return path if box is None else f"{path}#xywh={','.join(map(str, box))}"


def split_box(path: str) -> tuple[str, Box | None]:
    """The image file and, where a part of the picture is meant, its box."""
    if (match := BOX.search(path)) is None:
        return path, None
    left, top, width, height = map(int, match.groups())
    return path[: match.start()], (left, top, width, height)
