"""`make setup` refuses a Python for which the packages cannot be installed, with the reason, and takes the others."""

import importlib.util
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / ".ci" / "python_fits.py"
GOOD = {
    "version": (3, 12, 4), "implementation": "CPython", "bits": 64, "free_threaded": False, "system": "Linux",
    "machine": "x86_64", "libc": ("glibc", "2.36"), "macos": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def problem():
    spec = importlib.util.spec_from_file_location("python_fits", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.problem


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"implementation": "PyPy"}, "PyPy"),
        ({"free_threaded": True}, "free-threaded"),
        ({"bits": 32}, "64-bit"),
        ({"libc": ("", "")}, "musl"),
        ({"libc": ("glibc", "2.17")}, "2.28"),
        ({"machine": "ppc64le"}, "ppc64le"),
        ({"system": "Darwin", "machine": "x86_64", "macos": 14}, "Apple silicon"),
        ({"system": "Darwin", "machine": "arm64", "macos": 13}, "macOS 14"),
        ({"system": "Windows", "machine": "AMD64"}, "WSL2"),
    ],
)
def test_a_machine_without_packages_is_refused(problem, changes, why):
    assert why in problem(**{**GOOD, **changes})


@pytest.mark.parametrize(
    "changes",
    [{}, {"machine": "aarch64"}, {"system": "Darwin", "machine": "arm64", "macos": 15, "libc": ("", "")}],
)
def test_a_machine_with_packages_is_taken(problem, changes):
    assert problem(**{**GOOD, **changes}) is None


def test_versions_are_those_of_pyproject(problem):
    allowed = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    for minor in range(8, 17):
        for patch in range(4):
            fits = problem(**{**GOOD, "version": (3, minor, patch)}) is None
            assert fits is allowed.contains(f"3.{minor}.{patch}"), f"3.{minor}.{patch}"
    assert not allowed.contains("3.14.1") and not allowed.contains("3.15.0") and allowed.contains("3.14.2")


def test_make_tells_the_reason_and_makes_nothing(tmp_path):
    """A Python of another version, played by one that says so of itself."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", ".ci"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexec python3 -c \"import sys; sys.version_info = (3, 15, 0, 'final', 0)\n"
                   "exec(open('$1').read())\"\n")  # fmt: skip
    old.chmod(0o755)
    environment = {**os.environ, "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["make", "setup", f"PYTHON={old}"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "Python 3.11 to 3.14 is needed" in done.stderr and "PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_pytorch_alone_says_which_cuda_packages_it_needs():
    """With them among the constraints no older CUDA build could be installed, which older drivers and cards need."""
    pinned = [re.split("==", line)[0] for line in (ROOT / "constraints.txt").read_text().splitlines()]
    assert [name for name in pinned if name.startswith(("nvidia", "cuda", "triton"))] == []
    assert {"torch", "torchvision", "ray", "optuna"} <= set(pinned)
