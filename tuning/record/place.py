"""Where a study is kept: SQLite in its folder, or a PostgreSQL server; then the folder holds a copy."""

import os
import re
import shlex
import sqlite3
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.pool import QueuePool

from data.system.commands import installed
from data.system.errors import UserError
from data.system.files import replacing
from data.system.passwords import without_passwords
from tuning.record.drivers import Team
from tuning.record.folders import DATABASE
from tuning.record.sqlite_file import TIMEOUT_S, patiently

NAMES = ("study", "repeats")
"""The records of a study."""


class SQLiteStorage(RDBStorage):
    """Optuna's storage in a file of any name. Its calls wait while another process holds the file."""

    def __init__(self, file: Path, *, create: bool):
        """`create` makes the tables where they are not there: a reader must not disturb a search that is beginning."""
        self.file = file.absolute()

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(self.file, timeout=TIMEOUT_S, check_same_thread=False)

        # Not by a URL: `?`, `%20` and `{}` in a path mean something there.
        options = {"creator": connect, "poolclass": QueuePool}
        patiently(self.file, lambda: RDBStorage.__init__(self, "sqlite://", options, skip_table_creation=not create))


def _waiting(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: SQLiteStorage, *arguments: Any, **options: Any) -> Any:
        return patiently(self.file, lambda: method(self, *arguments, **options))

    return call


for _name in BaseStorage.__abstractmethods__:
    setattr(SQLiteStorage, _name, _waiting(getattr(RDBStorage, _name)))


def upgrade_advice(error: Exception, url: str) -> str | None:
    """The way out where Optuna raised `error` because another version of it has written the study; None elsewhere."""
    if not isinstance(error, RuntimeError) or "table schema" not in str(error):
        return None
    if "storage upgrade" in str(error):
        command = shlex.join([installed("optuna"), "storage", "upgrade", "--storage", without_passwords(url)])
        return f"an older version of Optuna has written it; keep a copy, then give {command}"
    return f"a newer version of Optuna has written it than this one, {optuna.__version__}; install that"


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite file, for Optuna's commands and MLflow. Only what would mean something in it is quoted:
    MLflow makes a folder of the quoted name."""
    return "sqlite:///" + re.sub(r"[%?\ud800-\udfff]", lambda sign: quote(os.fsencode(sign[0])), str(file.absolute()))


def open_storage(folder: Path, *, create: bool, team: Team | None) -> RDBStorage:
    """Optuna's storage: the server that the team shares, else the file in the folder, which `create` makes."""
    if team is not None:
        with team.exclusive():  # two must not make Optuna's tables at once
            return RDBStorage(team.url, engine_kwargs={"pool_pre_ping": True, "pool_size": 2})
    database = folder / DATABASE
    if create:
        folder.mkdir(parents=True, exist_ok=True)
        database.open("a").close()  # SQLite would make a file that nobody else may write, whatever the umask
    return SQLiteStorage(database, create=create)


def check_place(folder: Path, known: str | None, server: str | None) -> None:
    """Raises UserError where the folder's own file and the study in the server at the URL `server` are not the same.

    `known` is the server that the opened study has on record.
    """
    database = folder / DATABASE
    if server is None:
        if known is not None:
            raise UserError(f"{database}: is a copy; the study itself is in {known}: give it as --study-storage")
        return
    if database.is_file():
        try:
            copy = optuna.load_study(storage=SQLiteStorage(database, create=False), study_name=NAMES[0])
            of_server = "server" in copy.user_attrs
        except Exception:  # a damaged copy is made anew
            of_server = True
        if not of_server:
            raise UserError(f"{database}: is a study of this folder's own; choose another --name")


def write_copy(folder: Path, storage: BaseStorage) -> None:
    """Writes the server's records of this folder's study into the folder, for the commands that read it."""
    with replacing(folder / DATABASE) as temporary:
        copy = SQLiteStorage(temporary, create=True)
        for name in NAMES:
            there = f"{folder.name}/{name}"
            if there in optuna.get_all_study_names(storage):
                optuna.copy_study(from_study_name=there, from_storage=storage, to_storage=copy, to_study_name=name)
