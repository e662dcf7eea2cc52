"""The package from another folder than the project's, which may have things called `data` of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FINDER = f"""
import importlib.util, pathlib, sys
class Installed:
    "As an editable install finds packages: after all that lies on the path."
    def find_spec(name, path=None, target=None):
        if name in ("data", "reid_train", "tuning"):
            place = pathlib.Path({str(ROOT)!r}) / name
            file, places = place / "__init__.py", [str(place)]
            return importlib.util.spec_from_file_location(name, file, submodule_search_locations=places)
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)] + [Installed]
"""


def run(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FINDER + program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("module", ["reid_train.settings.config", "tuning.space.settings"])
def test_a_folder_of_images_called_data_is_no_matter(tmp_path: Path, module: str) -> None:
    (tmp_path / "data" / "images").mkdir(parents=True)
    done = run(tmp_path, f"import {module}, data.system.errors; print(data.__file__)")
    assert (done.returncode, done.stdout.strip()) == (0, str(ROOT / "data" / "__init__.py")), done.stderr


@pytest.mark.parametrize("file", ["data/__init__.py", "data.py"])
@pytest.mark.parametrize("first", ["", "import data; "])
@pytest.mark.parametrize("module", ["reid_train.settings.config", "tuning.space.settings"])
def test_other_code_called_data_is_named_with_a_way_out_that_works(
    tmp_path, file: str, first: str, module: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("MINE = 1")
    done = run(tmp_path, f"{first}import {module}")
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith(f"ImportError: `data` is {tmp_path / file} here"), done.stderr
    way_out = last.split("begin your program with: ")[1]
    assert run(tmp_path, f"{way_out}; import {module}").returncode == 0
