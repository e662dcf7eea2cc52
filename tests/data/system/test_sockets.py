"""Sockets where TMPDIR is long, as batch systems set it."""

import multiprocessing.process
import multiprocessing.util
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from data.system.errors import UserError
from data.system.sockets import LONGEST_PATH, shorten_sockets, socket_folder


@pytest.fixture
def long_tmpdir(tmp_path, monkeypatch):
    folder = tmp_path / ("job" * 30) / ("x" * 60)
    folder.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setitem(multiprocessing.process.current_process()._config, "tempdir", None)
    return folder


@pytest.mark.parametrize("below", [20, 69])
def test_a_socket_can_be_made_as_deep_as_was_asked_for(long_tmpdir, below):
    with tempfile.TemporaryDirectory(dir=socket_folder(below), prefix="") as folder, socket.socket(socket.AF_UNIX) as s:
        rest = below - len(f"/{Path(folder).name}/")
        s.bind(os.path.join(folder, "s" * rest))  # noqa: PTH118


def test_a_short_tmpdir_is_taken(long_tmpdir, monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("TMPDIR", short)
        assert socket_folder(60) == Path(short)
        monkeypatch.setenv("TMPDIR", f"{short}/gone")
        assert socket_folder(60) != Path(short)


def test_where_nothing_can_be_written_one_line_says_what_to_export(long_tmpdir, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match=rf"at most {LONGEST_PATH - 69} bytes.*export TMPDIR="):
        socket_folder(69)


def test_processes_keep_their_sockets_in_a_short_folder_and_other_files_where_they_were(long_tmpdir):
    shorten_sockets.cache_clear()
    shorten_sockets()
    place = multiprocessing.util.get_temp_dir()
    assert len(f"{place}/listener-12345678") <= LONGEST_PATH
    assert Path(tempfile.gettempdir()) == long_tmpdir


MAKES_SOCKETS = "from data.system.sockets import shorten_sockets; shorten_sockets(); print(flush=True); input()"


def test_a_killed_process_leaves_sockets_that_the_next_one_removes(tmp_path):
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        variables = {**os.environ, "TMPDIR": short, "PYTHONPATH": str(Path.cwd())}
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": variables, "text": True}
        left = []
        for ends in ("killed", "ends"):
            with subprocess.Popen([sys.executable, "-c", MAKES_SOCKETS], **options) as process:
                process.stdout.readline()
                if ends == "killed":
                    process.kill()
                else:
                    process.communicate("\n")
            for folder in Path(short).iterdir():
                os.utime(folder, (0, 0))
            left.append(len(list(Path(short).iterdir())))
        assert left == [1, 0]
