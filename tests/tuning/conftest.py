"""A tiny data set and a tiny space, and a search over them that was really run."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data.drawing.datasets import draw_dataset
from tests.tiny_space import TINY_FIXED

ROOT = Path(__file__).resolve().parents[2]

TINY_SPACE = f"""\
{TINY_FIXED}search:
  learning_rate: {{low: 1e-6, high: 10, log: true}}
  weight_decay: [0.0001, 1.0]
first_trials:
  - {{learning_rate: 0.05, weight_decay: 0.0001}}
  - {{learning_rate: 10, weight_decay: 1.0}}  # every step multiplies the weights by -9: diverges
  - {{learning_rate: 1e-6, weight_decay: 0.0001}}
study:
  trials: 5
  rungs: [2, 3]
  reduction: 4
  noise_seeds: 0
  top_k: 0
"""


def _run_module(module: str, *arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module arguments` from the project's root, one thread each."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="session")
def run_module() -> Callable[..., subprocess.CompletedProcess[str]]:
    return _run_module


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "market"
    draw_dataset("market1501", folder, identities=20, test_identities=4, cameras=2, images_per_camera=3, seed=0)
    return folder


@pytest.fixture(scope="session")
def tiny_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("space") / "tiny.yaml"
    file.write_text(TINY_SPACE)
    return file


@pytest.fixture(scope="session")
def finished_search(
    tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, tiny_space: Path
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The study's folder and what the search printed."""
    results = tmp_path_factory.mktemp("results")
    command = ["--space", tiny_space, "--data-dir", tiny_data, "--results", results, "--cache-dir", results / "cache"]
    done = _run_module("tuning.search", *command, "--cpus-per-trial", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    return results / "tiny", done
