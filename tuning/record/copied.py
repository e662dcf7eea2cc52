"""A copy of a study's record, for those who only look: the search is never kept waiting, and nothing of it is changed.

with copied_study(Path("results/sample")) as copy:
    Study(copy.folder).trials()
    copy.renew()  # as it is now; True where it had changed
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from data.system.errors import UserError
from data.system.own_folder import OwnFolder
from reid_train.inference.evaluation_count import TEST_METRICS
from tuning.record.folders import DATABASE, check_study
from tuning.record.sqlite_file import TIMEOUT_S, WAY_OUT

BESIDE = (TEST_METRICS, "untrained.json", "ablation.json")
"""Files that say more about a study, and are copied with its record where they are there."""


class Copy:
    """A folder of the study's name that holds a copy of its record."""

    def __init__(self, study: Path, base: Path):
        """Raises UserError where the study cannot be read."""
        self.study, self.folder = study, base / (study.absolute().name or "study")
        self.folder.mkdir()
        self._seen: tuple[int, ...] = ()
        self.renew()

    def renew(self) -> bool:
        """Copies what is there now; False where nothing has changed since. Raises UserError as at first."""
        check_study(self.study)
        state = (self.study / DATABASE).stat()
        seen = (state.st_mtime_ns, state.st_size)
        if seen == self._seen:
            return False
        copy_database(self.study / DATABASE, self.folder / DATABASE)
        for name in BESIDE:
            with suppress(OSError):
                shutil.copyfile(self.study / name, self.folder / name)
        self._seen = seen
        return True


@contextmanager
def copied_study(folder: Path) -> Iterator[Copy]:
    """A copy that lasts as long as the block. Raises UserError for a folder without a study, or a damaged one."""
    check_study(folder)
    with OwnFolder("reid-look-") as place:
        yield Copy(folder, place)


def copy_database(source: Path, target: Path) -> None:
    """Copies an SQLite file by SQLite's backup, whole as of one moment; a search there goes on writing.

    What a killed process left half written is undone in the copy alone. Raises UserError for a damaged file.
    """
    try:
        try:
            _backup(source, target)
        except sqlite3.OperationalError:  # a journal to undo, and this connection may not write
            target.unlink(missing_ok=True)
            for ending in ("", "-journal"):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{source}{ending}", f"{target}{ending}")
            with closing(sqlite3.connect(target)) as copy:
                copy.execute("PRAGMA schema_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise UserError(f"{source}: damaged ({error}); {WAY_OUT}") from error


def _backup(source: Path, target: Path) -> None:
    url = f"{source.absolute().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(url, uri=True, timeout=TIMEOUT_S)) as there,
        closing(sqlite3.connect(target, timeout=TIMEOUT_S)) as here,
    ):
        there.backup(here)
