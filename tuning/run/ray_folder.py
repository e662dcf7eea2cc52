"""The folder in which Ray keeps sockets, logs and what it spills: made for one search, and removed with it.

    folder = RayFolder()
    folder.path  # Path("/tmp/reid-k3j2x8ab")
    folder.remove()

What a search that was killed has left is removed by the next one: nobody holds its lock any more.
"""

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from data.system.files import lock_at
from data.system.sockets import socket_folder

BEGIN = "reid-ray-"
LOCK = "search.lock"
BELOW = len(f"/{BEGIN}12345678/session_2026-11-26_20-21-21_402476_1234567/sockets/plasma_store")
"""Bytes of the longest path that Ray makes a socket of, from the base on."""
YOUNG_S = 60.0
"""A folder that is younger may not have its lock yet."""


class RayFolder:
    """A new folder, held while this process lives. Raises UserError where no folder has a path that is short enough."""

    def __init__(self) -> None:
        base = socket_folder(BELOW)
        remove_left(base)
        self.path = Path(tempfile.mkdtemp(prefix=BEGIN, dir=base))
        self._lock = lock_at(self.path / LOCK)
        with suppress(OSError):  # a file system without locks: then it is not removed by others either
            self._lock.acquire(timeout=0)

    def remove(self) -> None:
        """Removes it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def remove_left(base: Path) -> None:
    """Removes the folders of searches that do not live any more. What belongs to other users stays."""
    for left in base.glob(f"{BEGIN}*"):
        with suppress(OSError, Timeout):
            if not (left / LOCK).is_file() or time.time() - left.stat().st_mtime < YOUNG_S:
                continue
            with lock_at(left / LOCK).acquire(timeout=0):
                shutil.rmtree(left, ignore_errors=True)
