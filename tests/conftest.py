"""What all tests share: the order in which they run, a tiny data set, and one finished search over it."""

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from data.synthetic import draw_dataset
from tests import order
from tests.commands import Done, run_command
from tests.made_once import made_once
from tests.tiny_space import TINY_SPACE
from tests.watched_search import PRIVATE, Watched, seen_in, watch_search
from tests.without_ray import without_ray

__all__ = ["without_ray"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that all workers end at about the same time."""
    items.sort(key=lambda item: -order.seconds(item.nodeid))


@pytest.fixture(scope="session")
def run_module() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """tests.commands.run_command."""
    return run_command


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn people in Market-1501's layout; not to be changed."""

    def draw(folder: Path) -> None:
        draw_dataset(
            "market1501", folder / "market", identities=20, test_identities=4, cameras=2, images_per_camera=3, seed=0
        )

    return made_once(tmp_path_factory, "tiny", draw) / "market"


@pytest.fixture(scope="session")
def tiny_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A space for tiny_data whose search takes seconds."""
    return made_once(tmp_path_factory, "space", write_space) / "tiny.yaml"


def write_space(folder: Path) -> None:
    (folder / "tiny.yaml").write_text(TINY_SPACE)


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


@pytest.fixture
def finished_copy(finished_search: tuple[Path, Done], tmp_path: Path) -> Path:
    """A copy of the finished study, to be changed."""
    return Path(shutil.copytree(finished_search[0], tmp_path / finished_search[0].name))
