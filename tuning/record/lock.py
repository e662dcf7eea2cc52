"""Keeps a second process out of a folder in which a first one works.

with lock_folder(Path("results/sample")):
    ...
process_in(Path("results/sample"))  # "4711" while a search runs there
"""

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from data.system.errors import UserError
from data.system.files import lock_at

LOOKED_S = 1.0
"""How long a lock is tried for: `process_in` holds it for a moment."""


class FolderLock:
    """A lock that is held. Releasing it leaves nothing of its own in a folder that was made for it and stayed empty."""

    def __init__(self, lock: FileLock, holder: Path, new: Path | None):
        """`holder` is the file with this process's id; `new` is the uppermost folder that was made for the lock."""
        self._lock, self._holder, self._new = lock, holder, new

    def release(self) -> None:
        """Lets others in."""
        with suppress(OSError):
            self._holder.unlink(missing_ok=True)
            file = Path(self._lock.lock_file)
            if self._new is not None and list(file.parent.iterdir()) == [file]:
                file.unlink()
                for folder in (file.parent, *file.parent.parents):
                    folder.rmdir()  # raises where it holds anything
                    if folder == self._new:
                        break
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def lock_folder(folder: Path, doing: str = "searching") -> FolderLock:
    """Keeps other processes that are `doing` the same out of the folder; the system frees it however this one ends.

    Raises UserError with the id of the process that works there.
    """
    lock_file, holder = _files(folder, doing)
    above = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_at(lock_file)
        lock.acquire(timeout=LOOKED_S)
        holder.write_text(f"{os.getpid()}\n")
    except Timeout:
        way_out = ", or choose another --name" if doing == "searching" else ""
        raise UserError(f"{folder}: process {_id_in(holder)} is {doing} here; wait for it{way_out}") from None
    except OSError as error:
        way_out = "choose another --results" if doing == "searching" else "make it writable, or copy the study"
        raise UserError(f"{folder}: cannot be written: {error.strerror}; {way_out}") from error
    return FolderLock(lock, holder, above[-1] if above else None)


def process_in(folder: Path, doing: str = "searching") -> str | None:
    """The id of the process that is `doing` this in the folder; None where none is, and where that cannot be told.

    In a folder that may only be read the lock cannot be tried: there the note of a process that lives on this machine
    tells.
    """
    lock_file, holder = _files(folder, doing)
    if not lock_file.is_file():
        return None
    if not os.access(lock_file, os.W_OK):
        return _id_in(holder) if _lives(_id_in(holder)) else None
    try:
        with lock_at(lock_file).acquire(timeout=0):
            return None
    except Timeout:
        return _id_in(holder)
    except OSError:
        return None


def _files(folder: Path, doing: str) -> tuple[Path, Path]:
    name = "search" if doing == "searching" else "process"
    return folder / f"{name}.lock", folder / f"{name}.pid"


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except PermissionError:
        return True  # another user's
    except (ValueError, OSError):
        return False
    return True


def _id_in(holder: Path) -> str:
    return (holder.read_text().strip() if holder.is_file() else "") or "unknown"
