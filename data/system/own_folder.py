"""A folder for what is temporary: made for one process, held while it lives, and removed with it.

    with OwnFolder("reid-plan-") as path:
        ...  # Path("/tmp/reid-plan-k3j2x8ab")

What a process that was killed has left is removed by the next that makes one: nobody holds its lock any more.
"""

import glob
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from data.system.files import lock_at

LOCK = "held.lock"
YOUNG_S = 5.0
"""A folder that is younger may not be locked yet."""


class OwnFolder:
    """A new folder, held while this process lives. Also a context, which gives its path and removes it."""

    def __init__(self, begin: str, base: Path | None = None) -> None:
        """`begin` begins its name: what is for the same use has the same. It lies in `base`, or where temporary files
        do."""
        base = base or Path(tempfile.gettempdir())
        remove_left(base, begin)
        self.path = Path(tempfile.mkdtemp(prefix=begin, dir=base))
        self._lock = lock_at(self.path / LOCK)
        with suppress(OSError):  # a file system without locks: then it is not removed by others either
            self._lock.acquire(timeout=0)

    def remove(self) -> None:
        """Removes it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()


def remove_left(base: Path, begin: str) -> None:
    """Removes the folders of processes that do not live any more. What belongs to other users stays."""
    for left in base.glob(f"{glob.escape(begin)}*"):
        with suppress(OSError, Timeout):
            if not (left / LOCK).is_file() or time.time() - left.stat().st_mtime < YOUNG_S:
                continue
            with lock_at(left / LOCK).acquire(timeout=0):
                shutil.rmtree(left, ignore_errors=True)
