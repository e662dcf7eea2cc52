"""Writes files so that each is either as it was or complete, whatever happens in between.

with replacing("results/trials.csv") as temporary:
    table.to_csv(temporary)
"""

import json
import os
import re
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from data.system.errors import UserError

LONGEST_NAME_BYTES = 200
"""So much of a file's name goes into its temporary file's: file systems take 255 bytes, some of them less."""
UNFINISHED = re.compile(r"\..*\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-\w{8}\.tmp")
"""Names of the temporary files of `replacing`."""
ABANDONED_S = 3600.0
"""A temporary file that was not written to for so long is nobody's any more, whatever machine it was made on."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`. When the block ends well, that file is flushed and replaces `path`.

    A process that is killed meanwhile leaves the temporary file; the next that writes into the folder removes it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(target.parent.absolute())
    begin = f".{_shortened(target.name)}.{_machine()}-{os.getpid()}-"
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=begin, suffix=".tmp")
    except OSError as error:
        error.filename = str(target)
        raise
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes private files; this one gets the permissions that any new file here would have.
        umask = os.umask(0)
        os.umask(umask)
        with suppress(OSError):  # some file systems have no permissions to set
            temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        error.filename = str(target)  # it names the temporary file, or none
        raise
    finally:
        temporary.unlink(missing_ok=True)


@cache
def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes have left in the folder of what they wrote; a process looks there once."""
    with suppress(OSError, OverflowError):
        for file in folder.glob(".*.tmp"):
            if (found := UNFINISHED.fullmatch(file.name)) is None:
                continue
            of_dead = found["machine"] == _machine() and not _lives(int(found["process"]))
            if of_dead or time.time() - file.stat().st_mtime > ABANDONED_S:
                file.unlink()


def _machine() -> str:
    """This machine's name, in 8 letters."""
    return f"{zlib.crc32(os.uname().nodename.encode()):08x}"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:  # it may be another user's
        return not isinstance(error, ProcessLookupError)
    return True


def _shortened(name: str) -> str:
    """The name, or as much of it that a temporary file's name beside it is no longer than file systems take."""
    return os.fsdecode(os.fsencode(name)[:LONGEST_NAME_BYTES]) if len(os.fsencode(name)) > LONGEST_NAME_BYTES else name


def lock_at(path: str | Path) -> FileLock:
    """A lock on a file. The user's umask decides who else may take it; a file made by filelock would be private.

    Taking it raises Timeout, or OSError where the file cannot be written or the file system has no locks.
    """
    target = Path(path)
    if not target.exists():
        with suppress(OSError):  # taking the lock will raise it
            target.open("a").close()
    return FileLock(target)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file in UTF-8, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """What write_json wrote. Raises FileNotFoundError, and UserError that names the file when it is damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); restore it from a copy, or remove it") from error


def write_json(path: str | Path, value: Any) -> None:
    """Writes a JSON file that people can read, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")
