"""Ray's folder: short, gone with its search, and with the next one where its search was killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuning.run import ray_folder
from tuning.run.ray_folder import RayFolder, remove_left

HOLDS_ONE = "import time; from tuning.run.ray_folder import RayFolder; one = RayFolder(); print(one.path, flush=True)"


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_folder, "socket_folder", lambda below: tmp_path)
    return tmp_path


def aged(folder: Path) -> Path:
    """The folder, as if it had been there for an hour."""
    os.utime(folder, (time.time() - 3600,) * 2)
    return folder


def test_a_search_has_one_of_its_own_and_leaves_none(base):
    one, other = RayFolder(), RayFolder()
    assert one.path != other.path and {one.path, other.path} == set(base.iterdir())
    one.remove()
    assert list(base.iterdir()) == [other.path]


def test_that_of_a_killed_search_is_removed_and_that_of_a_living_one_stays(base):
    program = f"import tuning.run.ray_folder as r; r.socket_folder = lambda _: r.Path({str(base)!r}); {HOLDS_ONE}"
    with subprocess.Popen([sys.executable, "-c", f"{program}; time.sleep(60)"], stdout=subprocess.PIPE) as search:
        assert search.stdout is not None
        folder = aged(Path(search.stdout.readline().decode().strip()))
        (folder / "session_1").mkdir()
        aged(folder)
        remove_left(base)
        assert folder.is_dir()
        search.kill()
    remove_left(base)
    assert not folder.exists()


def test_what_is_young_or_of_others_stays(base):
    (base / "reid-ray-young").mkdir()
    (base / "reid-ray-young" / "search.lock").touch()
    (base / "ray").mkdir()
    aged(base / "ray")
    remove_left(base)
    assert sorted(path.name for path in base.iterdir()) == ["ray", "reid-ray-young"]
