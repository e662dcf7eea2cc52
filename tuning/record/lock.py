"""Keeps a second process out of a folder in which a first one works.

with lock_folder(Path("results/sample")):
    ...
"""

import os
from pathlib import Path

from filelock import FileLock, Timeout

from data.system.errors import UserError
from data.system.files import lock_at


def lock_folder(folder: Path, doing: str = "searching") -> FileLock:
    """Keeps other processes that are `doing` the same out of the folder; the system frees it however this one ends.

    Raises UserError with the id of the process that works there.
    """
    name = "search" if doing == "searching" else "process"
    holder = folder / f"{name}.pid"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_at(folder / f"{name}.lock")
        lock.acquire(timeout=0)
        holder.write_text(f"{os.getpid()}\n")
    except Timeout:
        process = (holder.read_text().strip() if holder.is_file() else "") or "unknown"
        way_out = ", or choose another --name" if doing == "searching" else ""
        raise UserError(f"{folder}: process {process} is {doing} here; wait for it{way_out}") from None
    except OSError as error:
        way_out = "choose another --results" if doing == "searching" else "make it writable, or copy the study"
        raise UserError(f"{folder}: cannot be written: {error.strerror}; {way_out}") from error
    return lock
