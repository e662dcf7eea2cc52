"""Imports in data/ point one way: checks -> pixels -> sets -> system, drawing -> system. No room needs a command."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "data"
MAY_IMPORT = {
    "system": set(),
    "sets": {"system"},
    "pixels": {"sets", "system"},
    "checks": {"pixels", "sets", "system"},
    "drawing": {"system"},
}


def imports_of(file: Path) -> set[str]:
    """The modules of data that a file imports, anywhere in it."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    return {str(node.module) for node in nodes if str(node.module).startswith("data.")}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    for file in (DATA / room).glob("*.py"):
        rooms = {module.split(".")[1] for module in imports_of(file)}
        assert rooms <= MAY_IMPORT[room] | {room}, file


def test_every_folder_of_modules_is_a_room() -> None:
    assert {file.parent.name for file in DATA.glob("*/__init__.py")} == set(MAY_IMPORT)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        ".".join(("data", *file.relative_to(DATA).with_suffix("").parts)): imports_of(file)
        for file in DATA.glob("*/*.py")
    }
    TopologicalSorter(graph).prepare()
