"""README, docs and CONTRIBUTING say what the code does: commands parse and run, examples are accepted, links lead
somewhere, messages are quoted as they are. tests/test_pages.py has the pages that are made from the code."""

import re
import shlex
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from data.sets.readers import read_test, read_train
from docs.generate import VERBS, is_command, parser_of
from reid_train.settings.config import TrainConfig
from tests.commands import run_here
from tuning.space.read import read_space

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCS = sorted(ROOT.glob("docs/*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS, *ROOT.glob("tests/**/README.md")]
OURS = re.compile(r"(?:reid |(?:\.venv/bin/)?python3? -m (?=data\.|reid_train\.|tuning\.|reid\.))")
"""What a command of this project begins with."""
OTHERS = (
    *("make ", "PIP_EXTRA_INDEX_URL=", "python3 -m venv ", ".venv/bin/python -m pip ", "source "),
    *("docker ", ".venv/bin/ray ", "mkdir ", "export "),
    *("OMP_NUM_THREADS=1 ", ".venv/bin/ruff ", ".venv/bin/mypy"),
)
"""What other commands begin with, which no test runs: they install, need Docker or a cluster, or are CONTRIBUTING's."""
NOT_RUN = {
    "search": "takes minutes; tests/tuning runs it, and `make search` is the first of them",
    "retrain": "takes minutes; tests/tuning/test_search.py runs it",
    "train": "takes minutes; tests/reid_train/test_train_command.py runs it",
    "report": "draws plots for seconds; tests/tuning/test_search.py runs it",
    "export": "takes seconds; tests/reid_train/test_export.py runs it",
    "errors": "takes seconds; tests/reid_train/test_errors.py runs it",
    "embed": "tests/reid_train/test_embed.py runs it",
    "watch": "needs a running search; tests/tuning/test_watch.py runs it",
    "compare": "needs studies; tests/tuning/test_compare.py runs it",
    "dashboard": "stays until Ctrl-C",
    "publish": "needs a service",
    "pack": "needs a finished study",
    "init": "writes a space into the folder that it is given",
}
RUN = {  # with these arguments besides
    "doctor": ["--plot", "results/doctor.png"],
    "settings": [],
    "synthetic": ["--identities", "2", "--test-identities", "2", "--images-per-camera", "1"],
    "evaluate": ["--device", "cpu"],
    "query": ["--device", "cpu", "--out", "results/query.png"],
}


def blocks(page: Path, language: str = "") -> list[str]:
    every = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [text for name, text in every if name == language]


def is_command_line(line: str) -> bool:
    return OURS.match(line) is not None or f"{line} ".startswith(OTHERS)


def commands(page: Path) -> Iterator[list[str]]:
    """Verb and arguments of each command of this project in a page's blocks; "..." stands for more arguments."""
    for block in [*blocks(page), *blocks(page, "bash")]:
        for line in filter(OURS.match, block.splitlines()):
            name, *arguments = shlex.split(OURS.sub("", line, count=1), comments=True)
            yield [name.rpartition(".")[2], *(part for part in arguments if part != "...")]


WRITTEN = [(page, command) for page in PAGES for command in commands(page)]
PARSED = list(dict.fromkeys(shlex.join(command) for _, command in WRITTEN))


@cache
def options_of(verb: str) -> tuple[str, ...]:
    return tuple(parser_of(verb)._option_string_actions)


@pytest.mark.parametrize("command", PARSED)
def test_command_is_one_that_its_parser_takes(command):
    verb, *arguments = shlex.split(command)
    parsed = parser_of(verb).parse_args(arguments)
    for name in ("space", "config"):
        file = getattr(parsed, name, None)
        assert file is None or file.startswith("results/") or (ROOT / file).is_file()
    for assignment in getattr(parsed, "set", None) or []:
        assert assignment.partition("=")[0] in TrainConfig.model_fields


def test_blocks_without_a_language_are_commands_that_are_known_or_texts():
    unknown = []
    for page in [README, *DOCS, ROOT / "CONTRIBUTING.md"]:
        for block in blocks(page):
            lines = [line for line in block.splitlines() if line.strip()]
            others = (
                lines
                if any(map(is_command_line, lines))
                else re.findall(r"^\w[\w./]* .*?(?<= )--[a-z].*$", block, re.M)
            )
            unknown += [f"{page.name}: {line}" for line in others if not is_command_line(line)]
    assert unknown == []


def test_make_has_the_targets_that_are_named():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = {
        name for page in PAGES for name in re.findall(r"(?:^|`)make ([\w-]+)", page.read_text(), flags=re.MULTILINE)
    }
    assert named - {"DIR", *targets} == set()


def test_verbs_and_options_that_are_named_in_sentences_are_there():
    wrong = []
    for page in [README, *DOCS]:
        for words in re.findall(r"`reid ([a-z]+(?: [^`]*)?)`", page.read_text()):
            verb, *arguments = words.split()
            if verb not in VERBS:
                wrong.append(f"{page.name}: reid {words}")
            elif is_command(VERBS[verb]):
                given = [argument for argument in arguments if argument.startswith("--") and argument != "--help"]
                wrong += [f"{page.name}: reid {words}" for option in given if option not in options_of(verb)]
    assert wrong == []


@pytest.fixture
def place(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages' commands name: a model, data and a picture."""
    make_checkpoint(tmp_path / "results/sample/best")
    (tmp_path / "data").mkdir()
    for name in ("data/sample", "data/Market_1501", "DIR"):
        (tmp_path / name).symlink_to(tiny_data)
    for name in ("mine.jpg", "FILE"):
        shutil.copy(next(tiny_data.glob("query/*.jpg")), tmp_path / name)
    return tmp_path


def make_checkpoint(folder: Path) -> None:
    """An untrained model, small enough for a test, and its exported file."""
    from reid_train.checkpoints.checkpoint import build_model, save_checkpoint
    from reid_train.inference.export_formats import export

    torch.manual_seed(0)
    config = TrainConfig(backbone="resnet18", image_height=32, image_width=16, device="cpu")
    described = {"config": config, "epoch": 1, "metrics": {}, "identities": [1, 2]}
    save_checkpoint(folder, build_model(config, 2).state_dict(), **described)
    export(folder, "onnx", folder / "model.onnx")


@pytest.mark.parametrize(
    "command",
    dict.fromkeys(shlex.join(command) for page, command in WRITTEN if page in [README, *DOCS] and command[0] in RUN),
)
def test_command_runs(command, place):
    verb, *arguments = shlex.split(command)
    words = [word.replace("results/NAME", "results/sample") for word in [*arguments, *RUN[verb]]]
    there = [str(place / word) if (place / word.split("/")[0]).exists() else word for word in words]
    done = run_here(VERBS[verb], *there)
    assert done.returncode == 0, done.stderr


def test_commands_that_are_not_run_have_a_reason():
    used = {command[0] for page, command in WRITTEN if page in [README, *DOCS]}
    assert used - RUN.keys() - NOT_RUN.keys() == set()


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_example_spaces_are_valid(page, tmp_path):
    for text in blocks(page, "yaml"):
        example = yaml.safe_load(text)
        if "apiVersion" in example:
            continue  # Kubernetes
        if "search" not in example:
            text = "search: {learning_rate: [0.001, 0.01]}\n" + text
        (tmp_path / "example.yaml").write_text(text)
        assert read_space(tmp_path / "example.yaml").parameters


def test_example_manifest_is_read(tmp_path):
    (text,) = [block for block in blocks(ROOT / "docs/data.md") if block.startswith("path,identity")]
    (tmp_path / "manifest.csv").write_text(text)
    (tmp_path / "cars").mkdir()
    for line in text.splitlines()[1:]:
        (tmp_path / line.split(",")[0]).touch()
    assert len(read_train(tmp_path)) == 1
    assert [len(samples) for samples in read_test(tmp_path)] == [1, 1]


def test_example_in_python_runs(tmp_path, monkeypatch):
    (text,) = blocks(README, "python")
    assert text in blocks(ROOT / "docs/use.md", "python") and len(text.splitlines()) == 5
    make_checkpoint(tmp_path / "results/sample/best")
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        Image.fromarray(rng.integers(0, 256, (40, 20, 3), dtype=np.uint8)).save(tmp_path / f"{name}.jpg")
    shutil.copy(tmp_path / "b.jpg", tmp_path / "mine.jpg")
    monkeypatch.chdir(tmp_path)
    exec(text, found := {})
    assert found["gallery"].shape == (3, 512) and found["gallery"].dtype == np.float32
    assert found["similarities"].argmax() == 1 and found["similarities"][1] == pytest.approx(1, abs=1e-5)


def test_readme_is_short_and_says_how_long_the_sample_takes():
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    minutes = read_space(ROOT / "search_spaces/sample.yaml").study.time_budget / 60
    assert f"searches for {minutes:.0f} minutes" in text


def without_blocks(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def headings(page: Path, marks: str = "#+") -> list[str]:
    return re.findall(rf"^{marks} (.+)$", without_blocks(page), flags=re.MULTILINE)


def anchor(heading: str) -> str:
    """What GitHub calls a heading in links."""
    return re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings_that_are_there(page):
    for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", page.read_text().replace("\n", " ")):
        file, _, heading = target.partition("#")
        place = page.parent / file if file else page
        assert place.exists(), target
        assert not heading or heading in map(anchor, headings(place)), target


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_page_says_what_it_is_for_and_a_long_one_has_its_contents(page):
    begin = without_blocks(page).split("\n## ")[0]
    assert len(begin.split("\n\n")) > 1, "a sentence below the title"
    sections = headings(page, "##")
    if len(page.read_text().splitlines()) > 150 and sections:
        assert [name for name in sections if f"(#{anchor(name)})" not in begin] == []


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: page.name)
def test_no_sentence_begins_with_of(page):
    assert re.findall(r"(?:^|[.:!?|] |\n)Of \w+ \w+", without_blocks(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_modules_that_a_page_names_are_there(page):
    named = re.findall(r"`((?:data|reid_train|tuning|tests)/[a-z0-9_/]+\.py)`", page.read_text())
    assert [name for name in named if not (ROOT / name).is_file()] == []
