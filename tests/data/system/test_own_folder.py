"""Folders for what is temporary: gone with their process, and with the next one where that was killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.system.own_folder import OwnFolder, remove_left

HOLDS_ONE = "import sys; from pathlib import Path; from data.system.own_folder import OwnFolder"


def aged(folder: Path) -> Path:
    """The folder, as if it had been there for an hour."""
    os.utime(folder, (time.time() - 3600,) * 2)
    return folder


def test_each_has_its_own_and_leaves_none(tmp_path):
    one, other = OwnFolder("reid-", tmp_path), OwnFolder("reid-", tmp_path)
    assert one.path != other.path and {one.path, other.path} == set(tmp_path.iterdir())
    one.remove()
    assert list(tmp_path.iterdir()) == [other.path]
    with OwnFolder("reid-", tmp_path) as path:
        assert path.is_dir()
    assert list(tmp_path.iterdir()) == [other.path]


@pytest.mark.parametrize("begin", ["reid-ray-", ".[my] images*."])
def test_that_of_a_killed_process_is_removed_and_that_of_a_living_one_stays(tmp_path, begin):
    program = f"{HOLDS_ONE}; one = OwnFolder({begin!r}, Path({str(tmp_path)!r})); print(one.path, flush=True); input()"
    options = {"stdout": subprocess.PIPE, "stdin": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], **options) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().decode().strip())
        (folder / "session_1").mkdir()
        aged(folder)
        remove_left(tmp_path, begin)
        assert folder.is_dir()
        process.kill()
    remove_left(tmp_path, begin)
    assert not folder.exists()


def test_what_is_young_or_of_others_stays(tmp_path):
    (tmp_path / "reid-ray-young").mkdir()
    (tmp_path / "reid-ray-young" / "held.lock").touch()
    for name in ("ray", "reid-ray-without-a-lock"):
        (tmp_path / name).mkdir()
        aged(tmp_path / name)
    remove_left(tmp_path, "reid-ray-")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ray", "reid-ray-without-a-lock", "reid-ray-young"]
