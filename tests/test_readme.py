"""README, docs and CONTRIBUTING say what the code does: commands parse, examples are accepted, links lead somewhere."""

import importlib
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.sets.readers import read_test, read_train
from reid_train.checkpoints.checkpoint import build_model, save_checkpoint
from reid_train.settings.config import TrainConfig
from tuning.space.read import read_space

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("tests/**/README.md")]
COMMAND = re.compile(r"\.venv/bin/python -m ((?:data|reid_train|tuning)\.[^`\n|]+)")
COMMANDS = [command for page in PAGES for command in COMMAND.findall(page.read_text())]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_one_that_its_parser_takes(command, monkeypatch):
    module, *arguments = [part for part in shlex.split(command, comments=True) if part != "..."]
    monkeypatch.setattr("sys.argv", [module, *arguments])
    parsed = importlib.import_module(module).parse_arguments()
    space = getattr(parsed, "space", None)
    assert space is None or (ROOT / space).is_file()
    for assignment in getattr(parsed, "set", []):
        assert "=" in assignment


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_example_space_is_valid(tmp_path):
    text, of_costs = blocks("yaml")
    (tmp_path / "example.yaml").write_text(text)
    assert len(read_space(tmp_path / "example.yaml").parameters) == 4
    (tmp_path / "costs.yaml").write_text("search: {learning_rate: [0.001, 0.01]}\n" + of_costs)
    assert read_space(tmp_path / "costs.yaml").study.costs == ("latency_ms",)


def test_example_manifest_is_read(tmp_path):
    (text,) = [block for block in blocks("") if block.startswith("path,identity")]
    (tmp_path / "manifest.csv").write_text(text)
    (tmp_path / "cars").mkdir()
    for line in text.splitlines()[1:]:
        (tmp_path / line.split(",")[0]).touch()
    assert len(read_train(tmp_path)) == 1
    assert [len(samples) for samples in read_test(tmp_path)] == [1, 1]


def test_example_in_python_runs(tmp_path, monkeypatch):
    (text,) = blocks("python")
    assert len(text.splitlines()) == 5
    torch.manual_seed(0)
    config = TrainConfig(backbone="resnet18", image_height=32, image_width=16, device="cpu")
    described = {"config": config, "epoch": 1, "metrics": {}, "identities": [1, 2]}
    save_checkpoint(tmp_path / "results/sample/best", build_model(config, 2).state_dict(), **described)
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        Image.fromarray(rng.integers(0, 256, (40, 20, 3), dtype=np.uint8)).save(tmp_path / f"{name}.jpg")
    shutil.copy(tmp_path / "b.jpg", tmp_path / "mine.jpg")
    monkeypatch.chdir(tmp_path)
    exec(text, found := {})
    assert found["gallery"].shape == (3, 512) and found["gallery"].dtype == np.float32
    assert found["similarities"].argmax() == 1 and found["similarities"][1] == pytest.approx(1, abs=1e-5)


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings_that_are_there(page):
    for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", page.read_text().replace("\n", " ")):
        file, _, heading = target.partition("#")
        place = page.parent / file if file else page
        assert place.exists(), target
        assert not heading or heading in anchors(place), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_modules_that_a_page_names_are_there(page):
    named = re.findall(r"`((?:data|reid_train|tuning|tests)/[a-z0-9_/]+\.py)`", page.read_text())
    assert [name for name in named if not (ROOT / name).is_file()] == []
