"""`reid VERB` runs each command under one name, and suggests commands as it was started itself."""

import re
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from data.system.commands import command, program, running_command
from data.system.options import EXIT_CODES
from reid.command import GROUPS, verb_of, verbs
from tests.commands import ROOT, run_command, run_here
from tuning.run.guard import RAY_DIED

MODULES = [module for group in GROUPS.values() for module in group]
HEAVY = {"torch", "ray", "optuna", "pandas", "numpy", "pydantic", "rich", "yaml"}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch):
    """Has this process look as if it had been started by these words, the first a program."""

    def start(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", list(words))
        monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)

    return start


def test_every_command_of_the_project_is_a_verb():
    """A module with `main` and `parse_arguments`, or with a docstring that says how it is run, is one."""
    files = [file for package in ("data", "reid_train", "tuning") for file in (ROOT / package).glob("*.py")]
    commands = {f"{file.parent.name}.{file.stem}" for file in files if "def main(" in file.read_text()}
    assert commands <= set(MODULES)


def test_each_verb_means_one_module():
    assert len({verb_of(module) for module in MODULES}) == len(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_each_verb_has_a_command_behind_it(module):
    if find_spec(module) is None or not (module != "reid_train.embed" or hasattr(import_module(module), "main")):
        pytest.skip(f"{module} is not there yet")
    done = run_here("reid.command", verb_of(module), "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: reid {verb_of(module)} ")
    assert done.stdout.count("Exit codes:") == 1


def test_help_lists_the_verbs_that_are_there_and_the_exit_codes_and_loads_nothing_heavy():
    program = "import sys; sys.argv = ['reid', '--help']; from reid.command import main\n"
    program += "try: main()\nexcept SystemExit as end: print(end.code, *{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    text, _, last = done.stdout.rstrip().rpartition("\n")
    code, *loaded = last.split()
    assert code == "0" and not HEAVY & set(loaded)
    assert set(re.findall(r"^  (\w+)  ", text, flags=re.MULTILINE)) == {*verbs(), *map(str, EXIT_CODES)}
    assert [word for group in GROUPS for word in [f"{group}:"] if word not in text] == []
    assert max(map(len, text.splitlines())) <= 120


def test_help_takes_hardly_longer_than_python_itself():
    def fastest_s(*words: str) -> float:
        took = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)
            took.append(time.perf_counter() - began)
        return min(took)

    assert fastest_s("-m", "reid", "--help") < 0.3 + fastest_s("-c", "pass")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("serch", "error: serch: no such verb; did you mean search?\n"),
        ("xyz", "error: xyz: no such verb; reid --help lists them\n"),
        ("--space", "error: --space: no such verb; reid --help lists them\n"),
    ],
)
def test_a_mistyped_verb_is_one_line(typed, told):
    done = run_here("reid.command", typed)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


def test_reid_alone_is_its_help_and_version_is_told():
    assert run_here("reid.command").stdout == run_here("reid.command", "--help").stdout
    assert run_here("reid.command", "--version").stdout == "0.1.0\n"


def test_a_verb_does_what_its_module_does(tmp_path):
    arguments = ("--layout", "veri", "--out", tmp_path / "a", "--identities", "12", "--seed", "3")
    by_verb = run_command("reid", "synthetic", *arguments)
    assert by_verb.returncode == 0, by_verb.stderr
    by_module = run_command("data.synthetic", *arguments[:3], tmp_path / "b", *arguments[4:])

    def drawn(folder: Path) -> dict[str, bytes]:
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.jpg")}

    assert drawn(tmp_path / "a") == drawn(tmp_path / "b") and len(drawn(tmp_path / "a")) > 12
    assert by_verb.stdout.split(" into ")[0] == by_module.stdout.split(" into ")[0]


def test_mistakes_in_a_verbs_options_name_it():
    done = run_here("reid.command", "report", "--tpo", "3")
    assert (done.returncode, done.stderr) == (2, "error: --tpo: no such option; did you mean --top?\n")
    done = run_here("reid.command", "report")
    assert done.stderr.endswith("reid report --help lists the options\n") and done.returncode == 2


def test_commands_are_suggested_as_the_running_one_was_started(started, monkeypatch, tmp_path):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.with_name("reid").write_text("#!/bin/sh\n")
    python.with_name("reid").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin")
    started("tuning/search.py", "--name", "a b")
    assert program("tuning.report") == "python -m tuning.report"
    assert command("tuning.report", "x") == "bin/python -m tuning.report x"
    assert running_command() == "bin/python -m search --name 'a b'"
    started("reid search", "--name", "a b")
    assert program("tuning.report") == "reid report"
    assert command("tuning.report", "x") == "bin/reid report x"
    assert running_command() == "bin/reid search --name 'a b'"
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin")
    assert running_command() == "reid search --name 'a b'"
    python.with_name("reid").unlink()
    assert running_command() == "bin/python -m reid search --name 'a b'"
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", find_spec("reid.__main__"))
    assert command("tuning.report", "postgresql://ann:secret@host/db") == (
        "bin/python -m reid report postgresql://ann@host/db"
    )


def test_no_message_names_a_command_but_by_the_one_function():
    wrong = re.compile(r"python_command\(\s*[\"'](?:data|reid_train|tuning|reid)\.")
    files = [file for package in ("data", "reid_train", "tuning", "reid") for file in (ROOT / package).rglob("*.py")]
    assert [file for file in files if wrong.search(file.read_text())] == []


def test_the_code_for_dead_parts_of_ray_is_the_one_that_help_lists():
    assert EXIT_CODES[RAY_DIED].startswith("search: one of Ray's processes died")
