"""What all tests share: the order in which they run, a tiny data set and a space to search over it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.drawing.datasets import draw_dataset
from tests import order
from tests.commands import run_command
from tests.made_once import made_once
from tests.tiny_space import TINY_SPACE

# Tests compute before the product chooses a device, which is too late to do without AMX.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that all workers end at about the same time."""
    items.sort(key=lambda item: -order.seconds(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> order.OneByOne:
    return order.OneByOne(config, log)


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
