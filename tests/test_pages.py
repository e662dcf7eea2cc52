"""Pages that follow from the code: settings, commands, and the messages of docs/troubleshooting.md."""

import ast
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs.generate import DOCS, VERBS, is_command, pages, parser_of, settings_page
from docs.pictures import make_small
from reid_train.settings.config import TrainConfig
from tests.commands import run_here
from tuning.space.settings import StudySettings

ROOT = Path(__file__).resolve().parents[1]
QUOTED = re.findall(r"^\*\*`(.+)`\*\*$", (DOCS / "troubleshooting.md").read_text(), flags=re.MULTILINE)
PACKAGES = ("data", "reid_train", "tuning", "reid")


@pytest.mark.parametrize("name", ["settings.md", "commands.md"])
def test_page_is_what_the_code_gives_now(name):
    assert (DOCS / name).read_text() == pages()[name], "give: python -m docs.generate"


def test_every_setting_is_on_the_page_once():
    rows = re.findall(r"^\| `(\w+)` \|", settings_page(), flags=re.MULTILINE)
    assert sorted(rows) == sorted([*TrainConfig.model_fields, *StudySettings.model_fields])


@pytest.mark.parametrize("verb", [verb for verb, module in VERBS.items() if is_command(module)])
def test_every_option_of_a_command_is_on_the_page(verb):
    (part,) = re.findall(rf"^## reid {verb}\n(.*?)(?=^## |\Z)", (DOCS / "commands.md").read_text(), re.M | re.S)
    in_help = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", parser_of(verb).format_usage())) - {"--help"}
    rows = re.findall(r"^\| `(--[^`]+)`", part, flags=re.MULTILINE)
    assert in_help == {name for row in rows for name in re.findall(r"--[a-z][\w-]+", row)}


@cache
def texts_of_the_code() -> list[str]:
    """Every text in the code, with "..." for what an f-string puts in."""
    texts = []
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%[sdg]", "...", node.value))  # those of logging
    return texts


@pytest.mark.parametrize("message", QUOTED)
def test_message_is_in_the_code_as_it_is_quoted(message):
    wanted = re.sub(r"\.{3,}", "...", message)
    assert any(wanted in re.sub(r"\.{3,}", "...", text) for text in texts_of_the_code())


def test_the_commonest_messages_are_quoted():
    assert len(set(QUOTED)) == len(QUOTED) >= 20


def test_pictures_are_made_small_enough_for_the_repository(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    make_small(tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size < 200_000


def test_pictures_of_a_folder_without_a_study_are_refused(tmp_path):
    done = run_here("docs.pictures", tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path}: holds no finished study; give: make search\n"


def test_pictures_in_the_repository_are_small():
    assert [file.name for file in DOCS.glob("*.png") if file.stat().st_size > 200_000] == []
