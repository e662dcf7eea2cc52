"""File systems that refuse something."""

import errno
import os
from pathlib import Path

import pytest

from data.system.errors import exit_on_user_error
from data.system.files import replacing, write_text


@pytest.mark.parametrize("name", ["a" * 255, "ä" * 127])
def test_a_file_whose_name_is_as_long_as_names_may_be_is_written(tmp_path, name):
    for text in ("one", "two"):
        write_text(tmp_path / name, text)
    assert (tmp_path / name).read_text() == "two" and os.listdir(tmp_path) == [name]  # noqa: PTH208


def test_a_file_system_without_permissions_is_written_to(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    write_text(tmp_path / "trials.csv", "a")
    assert (tmp_path / "trials.csv").read_text() == "a"


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EBUSY, errno.ETXTBSY, errno.EIO, errno.ESTALE])
def test_what_a_file_system_refuses_is_one_line_that_names_the_file(tmp_path, monkeypatch, capsys, code):
    """A table that is open in Excel on a shared folder, for instance."""

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "replace", refuse)

    @exit_on_user_error
    def command() -> None:
        with replacing(tmp_path / "trials.csv") as temporary:
            temporary.write_text("a")

    with pytest.raises(SystemExit) as ended:
        command()
    error, command_line, *_ = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and command_line.startswith("  ")
    assert error == (
        f"error: {tmp_path}/trials.csv: {os.strerror(code)}; what was saved is kept. Put that right and go on:"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_in_the_code_keeps_its_traceback():
    @exit_on_user_error
    def command() -> None:
        raise ValueError("a fault of ours")

    with pytest.raises(ValueError, match="a fault of ours"):
        command()
