"""A folder as on a disk that is mounted for reading alone; permissions would not keep root from writing.

read_only(monkeypatch, tmp_path / "study")
"""

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def read_only(monkeypatch: pytest.MonkeyPatch, folder: Path, *, number: int = errno.EROFS) -> None:
    """Has the system refuse, by this error, to make anything in the folder: folders, and files by `tempfile`, as
    `replacing` makes them."""

    def refusing(make: Callable[..., Any], place_of: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            place = Path(place_of(*arguments, **options))
            if place.is_relative_to(folder) and not place.is_dir():
                raise OSError(number, os.strerror(number), str(place))
            return make(*arguments, **options)

        return call

    monkeypatch.setattr(os, "mkdir", refusing(os.mkdir, lambda path, *_, **__: path))
    monkeypatch.setattr(
        tempfile, "mkstemp", refusing(tempfile.mkstemp, lambda *_, dir=None, prefix="", **__: f"{dir}/{prefix}")
    )
