"""A finished search that all tests share, and the way to run searches in a test's own process."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.commands import Done
from tests.concluded_study import concluded_study
from tests.made_once import made_once
from tests.watched_search import PRIVATE, Watched, seen_in, watch_search
from tests.without_ray import without_ray
from tuning.record.study import Study

__all__ = ["without_ray"]


@pytest.fixture(scope="session")
def watched_search(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, tiny_space: Path) -> Watched:
    """A search over tiny_space that was interrupted once, and what was seen meanwhile; not to be changed."""

    def search(folder: Path) -> None:
        watch_search(folder, tiny_space, tiny_data, umask=PRIVATE, polite=signal.SIGINT)

    return seen_in(made_once(tmp_path_factory, "search", search))


@pytest.fixture(scope="session")
def finished_search(watched_search: Watched) -> tuple[Path, Done]:
    """The study's folder, not to be changed, and what the search printed from its beginning to its end."""
    first, last = watched_search.sessions
    assert last.returncode == 0, last.stdout + last.stderr
    said = Done(last.args, last.returncode, first.stdout + last.stdout, first.stderr + last.stderr)
    return watched_search.folder, said


@pytest.fixture(scope="session")
def made_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that was only simulated, its search over; not to be changed."""
    return made_once(tmp_path_factory, "concluded", _conclude) / "made"


def _conclude(folder: Path) -> None:
    concluded_study(folder / "made")


@pytest.fixture
def study(made_folder: Path, tmp_path: Path) -> Study:
    """A copy of that study, to be changed."""
    return Study(shutil.copytree(made_folder, tmp_path / "made"))


@pytest.fixture
def finished_copy(finished_search: tuple[Path, Done], tmp_path: Path) -> Path:
    """A copy of the finished study, to be changed."""
    return Path(shutil.copytree(finished_search[0], tmp_path / finished_search[0].name))
