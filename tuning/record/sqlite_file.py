"""A study's SQLite file: checked before it is opened, and waited for while another process holds it.

A cut file must be named, never begun anew or misread. SQLite repairs what a killed process left, by its journal. It
does not notice all that happens to its files from outside: it takes an empty file for a new database, and undoes only
as much as is left of a cut journal.

check_database(Path("results/sample/study.db"))
rows = patiently(file, lambda: read_rows(file))  # a dashboard or a backup may hold the file meanwhile
"""

import logging
import os
import shlex
import sqlite3
import struct
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from data.system.errors import UserError, causes_of

logger = logging.getLogger(__name__)

JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
SECTOR_BYTES = 512
"""A journal's header is at least as long, and written at once."""
WAY_OUT = "restore it from a copy, choose another --name, or remove the folder"
TIMEOUT_S = 5.0
"""How long SQLite itself waits for a file that another process holds. Ctrl-C waits as long."""
PATIENCE_S = 600.0
"""How long a command waits for the file in all, before it ends."""
PAUSE_S = 0.1
"""Between two attempts: where two processes would wait for each other, SQLite gives up without waiting."""

_Result = TypeVar("_Result")


class HeldFile(UserError):
    """A study's file that another process has held for PATIENCE_S seconds."""


def patiently(file: Path, action: Callable[[], _Result]) -> _Result:
    """The action's result; tried again while another process holds the file. Raises HeldFile after PATIENCE_S seconds.

    An action that SQLite refused has changed nothing. Raises UserError where the file was moved, removed or replaced.
    """
    began, told = time.monotonic(), False
    while True:
        try:
            return action()
        except Exception as error:
            if not isinstance(error, UserError) and is_gone(error, file):
                raise UserError(
                    f"{file}: the study was moved, removed or replaced while this command worked in it; put it back "
                    "where it was, and give the same command again"
                ) from error
            if isinstance(error, HeldFile) or not is_held(error):
                raise
            if time.monotonic() - began > PATIENCE_S:
                raise HeldFile(
                    f"{file}: another process holds it (a dashboard, a backup, a data-base browser); what was saved is "
                    "kept: close that, and give the same command again"
                ) from error
        if not told:
            logger.warning("%s: another process holds it (a dashboard, a backup?); waiting until it lets go", file)
            told = True
        time.sleep(PAUSE_S)


def no_access(file: Path) -> str | None:
    """The way out where this user may not read and write the file; None where he may, and where there is none."""
    folder = file.parent
    if not os.path.exists(file) or (os.access(file, os.R_OK | os.W_OK) and os.access(folder, os.W_OK)):  # noqa: PTH110
        return None
    owner = file.stat().st_uid
    whose = f"it is user {owner}'s" if owner != os.getuid() else "its permissions forbid it"
    return (
        f"this user may not read and write it and its folder ({whose}); have its owner allow it (chmod -R g+rwX "
        f"{shlex.quote(str(folder))}, in a common group), work on a copy (cp -r), or choose another --name"
    )


def is_held(error: BaseException) -> bool:
    """Whether the cause of an error, at any remove, is that another process or connection holds an SQLite file."""
    return any(
        isinstance(cause, sqlite3.OperationalError)
        and getattr(cause, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        for cause in causes_of(error)
    )


def is_gone(error: BaseException, file: Path) -> bool:
    """Whether the cause of an error, at any remove, is that an SQLite file that was open is not the file of that name
    any more, or that its folder is not there."""
    codes = {getattr(cause, "sqlite_errorcode", 0) for cause in causes_of(error)}
    lost = codes & {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR_DELETE_NOENT} and not file.parent.is_dir()
    return sqlite3.SQLITE_READONLY_DBMOVED in codes or bool(lost)


def check_database(file: Path) -> None:
    """Raises UserError when the database, or a journal that would repair it, is not whole.

    A missing or empty file is fine, unless environment.json beside it shows that a study has begun.
    """
    if not file.is_file() or file.stat().st_size == 0:
        if (file.parent / "environment.json").is_file():
            state = "is empty" if file.is_file() else "is missing"
            raise UserError(f"{file}: {state}, but a study began here; {WAY_OUT}")
        return
    if not os.access(file, os.R_OK):
        raise UserError(f"{file}: {no_access(file)}")
    with suppress(FileNotFoundError):  # a search that runs here removes its journal now and then
        _check_journal(file.with_name(f"{file.name}-journal"))
    try:
        problems = patiently(file, lambda: _problems(file))
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise  # a full disk, told as that
        problems = [str(error)]
    if problems != ["ok"]:
        raise UserError(f"{file}: damaged ({' '.join(problems[0].split())}); {WAY_OUT}")


def _problems(file: Path) -> list[str]:
    """What SQLite finds wrong with the file; ["ok"] for nothing."""
    with closing(sqlite3.connect(file, timeout=TIMEOUT_S)) as connection:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    if file.stat().st_size % page_bytes:  # SQLite reads zeros for what is missing of the last page
        problems = ["its last page is cut"]
    return problems


def _check_journal(journal: Path) -> None:
    """Raises UserError when the journal (https://sqlite.org/fileformat.html, section 3) says that it was longer.

    SQLite writes how many pages a part of the journal holds after those pages, and changes the database after that.
    A journal that was cut to nothing, or exactly between two parts (a transaction larger than SQLite's memory), cannot
    be told from a whole one.
    """
    content, start, end = journal.read_bytes(), 0, 0
    while len(content) != end:
        header = content[start : start + SECTOR_BYTES]
        if len(header) < SECTOR_BYTES:
            raise UserError(f"{journal}: damaged (a header is cut); {WAY_OUT}")
        pages, _, _, sector, page_bytes = struct.unpack_from(">5I", header, 8)
        if header[:8] != JOURNAL_MAGIC or pages in (0, 0xFFFFFFFF):  # over, or not in use yet, or without a count
            return
        end = start + sector + pages * (page_bytes + 8)
        if len(content) < end:
            raise UserError(f"{journal}: damaged (it held {pages} pages more); {WAY_OUT}")
        start = -(-end // sector) * sector
