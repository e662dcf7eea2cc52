"""Where a study is kept: SQLite in its folder, or a PostgreSQL server, of which the folder then holds a copy."""

from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from data.system.errors import UserError
from data.system.files import replacing
from data.system.passwords import without_passwords
from reid_train.evaluation_count import DATABASE

if TYPE_CHECKING:
    from tuning.record.drivers import Team

NAMES = ("study", "repeats")
"""The records of a study."""
SERVER = "server"
"""The attribute that says in which server a study is."""


def open_storage(folder: Path, *, create: bool, team: "Team | None") -> optuna.storages.RDBStorage:
    """Optuna's storage: the server that the team shares, else the file in the folder, which `create` makes."""
    if team is not None:
        with team.exclusive():  # two must not make Optuna's tables at once
            return optuna.storages.RDBStorage(team.url, engine_kwargs={"pool_pre_ping": True, "pool_size": 2})
    database = folder / DATABASE
    if create:
        folder.mkdir(parents=True, exist_ok=True)
        database.open("a").close()  # SQLite's own would be written by nobody else, whatever the umask says
    # Who only reads must not disturb a search that is beginning.
    return optuna.storages.RDBStorage(f"sqlite:///{database.absolute()}", skip_table_creation=not create)


def check_place(folder: Path, study: optuna.Study, server: str | None) -> None:
    """Raises UserError where the folder's own file and the study in the server at this URL are not the same study."""
    if server is None:
        if known := study.user_attrs.get(SERVER):
            raise UserError(
                f"{folder / DATABASE}: is a copy; the study itself is in {known}: give it as --study-storage"
            )
        return
    url, database = without_passwords(server), folder / DATABASE
    if database.is_file():
        try:
            copy = optuna.load_study(storage=f"sqlite:///{database.absolute()}", study_name=NAMES[0])
            known = copy.user_attrs.get(SERVER)
        except Exception:  # a damaged copy is made anew
            known = url
        if known is None:
            raise UserError(f"{database}: is a study of this folder's own; choose another --name")
    study.set_user_attr(SERVER, url)


def write_copy(folder: Path, storage: optuna.storages.BaseStorage) -> None:
    """Writes the server's records of this folder's study into the folder, for the commands that read it."""
    with replacing(folder / DATABASE) as temporary:
        copy = optuna.storages.RDBStorage(f"sqlite:///{temporary.absolute()}")
        for name in NAMES:
            there = f"{folder.name}/{name}"
            if there in optuna.get_all_study_names(storage):
                optuna.copy_study(from_study_name=there, from_storage=storage, to_storage=copy, to_study_name=name)
