"""Several drivers on one study in a PostgreSQL server: `--study-storage`.

Each driver runs trials on machines of its own. One decides at a time: a lock in the server keeps the others waiting,
and a list of changed rows tells it what to read again first. The server frees the lock when the connection of its
holder ends. A running row belongs to a driver. Drivers give a sign of life every few seconds; the rows of one that
falls silent are taken over.
"""

import hashlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from data.system.commands import install_command
from data.system.errors import UserError
from data.system.passwords import without_passwords

logger = logging.getLogger(__name__)

CONNECT_S = 15
"""Seconds in which the server must answer before a search begins."""
BEAT_S = 5.0
"""Seconds between two signs of life."""
DEAD_AFTER_S = 30.0
"""Seconds of silence after which a driver's trials are taken over."""
TABLES = """
CREATE TABLE IF NOT EXISTS reid_drivers (driver TEXT PRIMARY KEY, seen TIMESTAMPTZ NOT NULL);
CREATE TABLE IF NOT EXISTS reid_changes (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, study TEXT NOT NULL, driver TEXT NOT NULL, number INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS reid_changes_of_study ON reid_changes (study, id);
"""


def engine_url(url: str) -> str:
    """The URL as SQLAlchemy takes it for psycopg. Raises UserError for other servers than PostgreSQL."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise UserError(f"--study-storage {without_passwords(url)}: postgresql://USER@HOST/DATABASE is needed")
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        install = install_command("postgresql")
        raise UserError(f"--study-storage needs psycopg, which is not installed: {install}") from error
    return f"postgresql+psycopg://{rest}"


def check_server(url: str) -> None:
    """Raises UserError where the server at the URL does not let us in within CONNECT_S."""
    engine = sqlalchemy.create_engine(engine_url(url), connect_args={"connect_timeout": CONNECT_S})
    try:
        engine.connect().close()
    except SQLAlchemyError as error:
        raise UserError(f"--study-storage {without_passwords(url)}: {reason_of(error)}") from error
    finally:
        engine.dispose()


class Team:
    """The drivers of one study, as one of them sees them."""

    def __init__(self, url: str, study: str, driver: str):
        """`driver` names this one, the same after a restart. Raises UserError when the server does not answer."""
        self.driver, self._study = driver, study
        self.url = engine_url(url)
        self._engine = sqlalchemy.create_engine(self.url, pool_pre_ping=True)
        self._key = _lock_key(study)
        self._depth, self._known = 0, 0
        try:
            with self._engine.begin() as connection:
                connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _lock_key("")})
                for statement in TABLES.split(";")[:-1]:
                    connection.execute(sqlalchemy.text(statement))
        except SQLAlchemyError as error:
            raise UserError(f"--study-storage {without_passwords(url)}: {reason_of(error)}") from error
        self._beat()
        self._ended = threading.Event()
        threading.Thread(target=self._live, daemon=True, name="heartbeat").start()

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Keeps the study's other drivers waiting; gives True for the outermost of nested blocks. For one thread."""
        if self._depth:
            yield False
            return
        with self._engine.begin() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._key})
            self._depth += 1
            try:
                yield True
            finally:
                self._depth -= 1

    def note(self, number: int) -> None:
        """Tells the others of a row that changes; called before the change, so that none is ever missed."""
        values = {"study": self._study, "driver": self.driver, "number": number}
        self._run("INSERT INTO reid_changes (study, driver, number) VALUES (:study, :driver, :number)", values)

    def changes(self) -> set[int]:
        """The rows that others changed since the last call."""
        rows = self._run(
            "SELECT id, number, driver FROM reid_changes WHERE study = :study AND id > :known ORDER BY id",
            {"study": self._study, "known": self._known},
        )
        self._known = max([self._known, *(row[0] for row in rows)])
        return {number for _, number, driver in rows if driver != self.driver}

    def silent(self) -> set[str]:
        """Drivers that gave no sign of life for DEAD_AFTER_S seconds, by the server's clock."""
        rows = self._run(
            "SELECT driver FROM reid_drivers WHERE seen < now() - :after * INTERVAL '1 second' AND driver <> :driver",
            {"after": DEAD_AFTER_S, "driver": self.driver},
        )
        return {row[0] for row in rows}

    def leave(self) -> None:
        """Gives no more signs of life."""
        self._ended.set()

    def _live(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self._beat()
            except SQLAlchemyError as error:
                logger.warning("the study's server does not answer: %s", reason_of(error))

    def _beat(self) -> None:
        self._run(
            "INSERT INTO reid_drivers (driver, seen) VALUES (:driver, now()) "
            "ON CONFLICT (driver) DO UPDATE SET seen = now()",
            {"driver": self.driver},
        )

    def _run(self, statement: str, values: dict[str, Any]) -> list[Any]:
        with self._engine.begin() as connection:
            result = connection.execute(sqlalchemy.text(statement), values)
            return list(result) if result.returns_rows else []


@contextmanager
def server_errors(url: str) -> Iterator[None]:
    """Makes a UserError of what goes wrong with the server meanwhile."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise UserError(
            f"--study-storage {without_passwords(url)}: {reason_of(error)}; what was saved is kept: give the same "
            "command when the server answers again"
        ) from error


def reason_of(error: Exception) -> str:
    """What the server said, in a line without a password."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__  # type: ignore[assignment]
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return without_passwords(" ".join(lines[0].split())) if lines else type(error).__name__


def _lock_key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"reid-tuning {name}".encode()).digest()[:8], signed=True)
