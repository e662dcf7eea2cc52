"""Where trials' states and weights are kept when machines do not share the study's folder: `--storage`.

It is a folder that all machines see, or a URL that Ray's checkpoint storage takes: what pyarrow knows (s3://, gs://,
hdfs://) or fsspec (az://, sftp://...). A trial works in a folder of its own machine. When its files
have changed, they are copied here before the epoch is told: the study never knows of more than a trial can go on from.

    storage = Storage("s3://bucket/reid", "veri-1a2b3c4d")
    storage.save(Path("/tmp/trial"), "trials/7")
"""

import json
import logging
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from pyarrow import fs

from data.system.errors import UserError
from data.system.own_folder import OwnFolder
from data.system.passwords import without_passwords

logger = logging.getLogger(__name__)

COMPLETE = "complete.json"
"""Written last into each copy: its files and their sizes. A copy without it was cut short and does not count."""
WAITS_S = (1, 2, 4, 8, 16, 32)
"""Pauses between the attempts at a storage that does not answer."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Storage:
    """The `folder` of a study below `url`; each trial has a place in it, for instance `trials/7`."""

    url: str
    folder: str = ""

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """pyarrow's file system and the study's path in it. Raises UserError for a URL that nothing knows."""
        scheme = re.match(r"([a-z][a-z0-9+.-]+):/*", self.url)
        if scheme and (scheme[0] == self.url or "://" not in self.url) and not Path(self.url).exists():
            raise UserError(
                f"--storage {self}: a URL is written {scheme[1]}://PLACE/FOLDER; a folder of that name ./{self}"
            )
        try:
            if "://" not in self.url:
                filesystem, path = fs.LocalFileSystem(), str(Path(self.url).absolute())
            else:
                filesystem, path = fs.FileSystem.from_uri(self.url)
        except (OSError, ValueError):
            try:
                known, path = fsspec.core.url_to_fs(self.url)
            except (OSError, ValueError, ImportError) as error:
                raise UserError(f"--storage {self}: {without_passwords(str(error))}") from error
            filesystem = fs.PyFileSystem(fs.FSSpecHandler(known))
        return filesystem, f"{path.rstrip('/')}/{self.folder}"

    def __str__(self) -> str:
        return without_passwords(self.url)

    @property
    def filesystem(self) -> Any:
        """pyarrow's file system."""
        return self._place[0]

    def path(self, place: str = "") -> str:
        """A place's path in `filesystem`."""
        return f"{self._place[1]}/{place}".rstrip("/")

    def save(self, folder: Path, place: str) -> None:
        """Keeps the files of a local folder at `place`, instead of what was there. Raises OSError after a minute."""
        _patiently(lambda: self._save(folder, place))

    def load(self, place: str, folder: Path) -> bool:
        """Fills `folder` with what was last kept at `place`; False where that is nothing. Raises OSError as `save`."""
        return _patiently(lambda: self._load(place, folder))

    def keep_only(self, kind: str, numbers: set[int]) -> None:
        """Removes a kind's places ("trials") with other numbers than these. What fails is left for the next time."""
        try:
            for name in self._names(kind):
                if name.isdigit() and int(name) not in numbers:
                    self.remove(f"{kind}/{name}")
        except OSError as error:
            logger.warning("storage: not tidied: %s", without_passwords(str(error)))

    def remove(self, place: str) -> None:
        """Removes a place and what is below it, where it is there."""
        if self.filesystem.get_file_info(self.path(place)).type == fs.FileType.Directory:
            self.filesystem.delete_dir(self.path(place))

    def check(self) -> None:
        """Raises UserError where nothing can be written."""
        marker = f"checked-{uuid.uuid4().hex[:8]}.txt"
        self.write(marker, "")
        self.filesystem.delete_file(self.path(marker))

    def write(self, place: str, text: str) -> None:
        """Writes a small file. Raises UserError when that cannot be done."""
        try:
            self.filesystem.create_dir(self.path(), recursive=True)
            self._write(place, text)
        except OSError as error:
            reason = without_passwords(str(error)).splitlines()[0]
            raise UserError(f"--storage {self}: cannot be written: {reason}") from error

    def read(self, place: str) -> str | None:
        """The text of a small file; None when it is not there."""
        try:
            with self.filesystem.open_input_file(self.path(place)) as file:
                return str(file.read().decode())
        except FileNotFoundError:
            return None

    def _write(self, place: str, text: str) -> None:
        with self.filesystem.open_output_stream(self.path(place)) as file:
            file.write(text.encode())

    def _names(self, place: str) -> list[str]:
        found = self.filesystem.get_file_info(fs.FileSelector(self.path(place), allow_not_found=True))
        return sorted(info.base_name for info in found)

    def _save(self, folder: Path, place: str) -> None:
        older = self._names(place)
        following = max((int(name.split("-")[0]) for name in older), default=0) + 1
        # Two writers, one of which is thought dead, never write the same copy.
        copy = f"{place}/{following:06d}-{uuid.uuid4().hex[:8]}"
        self.filesystem.create_dir(self.path(copy), recursive=True)
        fs.copy_files(str(folder.absolute()), self.path(copy), destination_filesystem=self.filesystem)
        found = self.filesystem.get_file_info(fs.FileSelector(self.path(copy), recursive=True))
        arrived = {info.path[len(self.path(copy)) + 1 :]: info.size for info in found if info.is_file}
        if arrived != _sizes(folder):  # pyarrow does not tell of every upload to S3 that failed
            raise OSError(f"{self}: {copy} did not arrive whole")
        self._write(f"{copy}/{COMPLETE}", json.dumps(_sizes(folder)))
        for name in older:
            self.remove(f"{place}/{name}")

    def _load(self, place: str, folder: Path) -> bool:
        for name in reversed(self._names(place)):
            listed = self.read(f"{place}/{name}/{COMPLETE}")
            if not listed:
                continue
            unfinished = folder.with_name(f".{folder.name}.tmp")
            for old in (unfinished, folder):
                shutil.rmtree(old, ignore_errors=True)
            unfinished.mkdir(parents=True)
            fs.copy_files(self.path(f"{place}/{name}"), str(unfinished.absolute()), source_filesystem=self.filesystem)
            (unfinished / COMPLETE).unlink()
            if _sizes(unfinished) != json.loads(listed):
                raise OSError(f"{self}: {place}/{name} is not what was written")
            unfinished.rename(folder)
            return True
        return False


@contextmanager
def trial_workspace(storage: Storage | None, place: str) -> Iterator[tuple[Path, Callable[[], None]]]:
    """The folder in which a trial works, and what is to be called before an epoch is told.

    Without a storage the folder is `place` itself. With one it is a temporary folder that begins with what is kept at
    `place`; the call keeps it there again when it has changed.
    """
    if storage is None:
        yield Path(place), lambda: None
        return
    with OwnFolder("reid-trial-") as scratch:
        folder = scratch / "trial"
        if not storage.load(place, folder):
            folder.mkdir()
        kept = _stamps(folder)

        def keep() -> None:
            nonlocal kept
            if (now := _stamps(folder)) != kept:
                storage.save(folder, place)
                kept = now

        yield folder, keep


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _sizes(folder: Path) -> dict[str, int]:
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in _files(folder)}


def _stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    return {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in _files(folder)}


def _patiently(action: Callable[[], _Result]) -> _Result:
    """The action's result; tried again where the storage does not answer. A search outlives a restart of its server."""
    for wait_s in WAITS_S:
        try:
            return action()
        except OSError as error:
            logger.warning("storage: %s; trying again in %d s", without_passwords(str(error)), wait_s)
            time.sleep(wait_s)
    return action()
