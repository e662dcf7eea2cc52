"""The README says what the code does: its commands parse, its examples are accepted."""

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
from reid_train.checkpoint import build_model, save_checkpoint
from reid_train.config import TrainConfig
from tuning.space.read import read_space

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"\.venv/bin/python -m ([^`\n|]+)", README)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_one_that_its_parser_takes(command, monkeypatch):
    module, *arguments = shlex.split(command)
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


def test_linked_files_are_there():
    for target in re.findall(r"\]\(((?!https:)[^)]+)\)", README):
        headings = {re.sub(r"[^a-z -]", "", line.strip("# ").lower()).replace(" ", "-") for line in README.splitlines()}
        assert target.removeprefix("#") in headings if target.startswith("#") else (ROOT / target).exists(), target
