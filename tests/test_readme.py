"""The README says what the code does: its commands parse, its examples are accepted."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from data import manifest
from tuning.space_file import read_space

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
    assert len(manifest.read_train(tmp_path)) == 1
    assert [len(samples) for samples in manifest.read_test(tmp_path)] == [1, 1]


def test_linked_files_are_there():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        headings = {re.sub(r"[^a-z -]", "", line.strip("# ").lower()).replace(" ", "-") for line in README.splitlines()}
        assert target.removeprefix("#") in headings if target.startswith("#") else (ROOT / target).exists(), target
