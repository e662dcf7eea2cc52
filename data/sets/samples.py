"""Sample: an image and who is on it. Readers give samples, all other modules take them.

Sample(path="/data/VeRi/image_train/0001_c002_00030600_0.jpg", identity=1, camera=2)
"""

from typing import NamedTuple


class Sample(NamedTuple):
    """An image file and what is known about it."""

    path: str
    """Absolute path of the image file."""
    identity: int
    """Number of the person or vehicle; 0 in a gallery is a distractor that belongs to nobody."""
    camera: int
    """Number of the camera that took it."""


def name_of(path: str) -> str:
    """A file's name without its folder: where images lie must not change a split or a fingerprint."""
    return path.replace("\\", "/").rsplit("/", 1)[-1]
