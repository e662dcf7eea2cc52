"""Where a study is kept: SQLite in its folder, or a PostgreSQL server; then the folder holds a copy."""

from pathlib import Path

import optuna
from optuna.storages import BaseStorage, RDBStorage

from data.system.errors import UserError
from data.system.files import replacing
from tuning.record.drivers import Team
from tuning.record.folders import DATABASE

NAMES = ("study", "repeats")
"""The records of a study."""


def open_storage(folder: Path, *, create: bool, team: Team | None) -> RDBStorage:
    """Optuna's storage: the server that the team shares, else the file in the folder, which `create` makes."""
    if team is not None:
        with team.exclusive():  # two must not make Optuna's tables at once
            return RDBStorage(team.url, engine_kwargs={"pool_pre_ping": True, "pool_size": 2})
    database = folder / DATABASE
    if create:
        folder.mkdir(parents=True, exist_ok=True)
        database.open("a").close()  # SQLite would make a file that nobody else may write, whatever the umask
    # A reader must not disturb a search that is beginning.
    return RDBStorage(f"sqlite:///{database.absolute()}", skip_table_creation=not create)


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
            copy = optuna.load_study(storage=f"sqlite:///{database.absolute()}", study_name=NAMES[0])
            of_server = "server" in copy.user_attrs
        except Exception:  # a damaged copy is made anew
            of_server = True
        if not of_server:
            raise UserError(f"{database}: is a study of this folder's own; choose another --name")


def write_copy(folder: Path, storage: BaseStorage) -> None:
    """Writes the server's records of this folder's study into the folder, for the commands that read it."""
    with replacing(folder / DATABASE) as temporary:
        copy = RDBStorage(f"sqlite:///{temporary.absolute()}")
        for name in NAMES:
            there = f"{folder.name}/{name}"
            if there in optuna.get_all_study_names(storage):
                optuna.copy_study(from_study_name=there, from_storage=storage, to_storage=copy, to_study_name=name)
