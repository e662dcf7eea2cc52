"""The house stands as docs/architecture.md draws it: which folder imports which, and what no import may do."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("data", "reid_train", "tuning", "reid")
"""From the bottom to the top: each imports only itself and those before it."""
MOST_PAIRS = 49
"""Pairs of rooms of which one imports the other, with data, reid_train and reid as one room each. It may fall."""
MOST_ENTRIES = 25
"""Files and folders in one folder: a screen of them."""


def files() -> dict[str, Path]:
    """The file of each module, by its name: tuning.space.plan, or tuning.space for its __init__.py."""
    found = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    names = {file: ".".join(file.relative_to(ROOT).with_suffix("").parts) for file in found}
    return {name.removesuffix(".__init__"): file for file, name in names.items()}


FILES = files()


def imports_in(file: Path) -> set[str]:
    """Every module that a file imports, anywhere in it: `from a.b import c` is a.b.c where that is a module."""
    names = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {imported.name for imported in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            both = [(f"{node.module}.{imported.name}", node.module) for imported in node.names]
            names |= {longer if longer in FILES else shorter for longer, shorter in both}
    return names


IMPORTS = {name: imports_in(file) for name, file in FILES.items()}
OWN = {name: imported & FILES.keys() for name, imported in IMPORTS.items()}


def room_of(module: str) -> str:
    """tuning.space.plan lies in tuning/space, tuning.search in tuning/*.py."""
    folder = FILES[module].parent.relative_to(ROOT).as_posix()
    return f"{folder}/*.py" if folder in PACKAGES else folder


def package_of(room: str) -> str:
    return room.split("/")[0]


def pairs() -> set[tuple[str, str]]:
    """(A, B) for each room A that imports something of another room B."""
    every = {(room_of(name), room_of(other)) for name, others in OWN.items() for other in others}
    return {(one, other) for one, other in every if one != other}


def drawn() -> set[tuple[str, str]]:
    """The arrows of the graphs in docs/architecture.md: `a --> b & c`, where a node is `a["tuning/space"]`."""
    arrows = set[tuple[str, str]]()
    text = (ROOT / "docs" / "architecture.md").read_text()
    for graph in re.findall(r"```mermaid\nflowchart.*?\n(.*?)```", text, flags=re.DOTALL):
        rooms = dict(re.findall(r'(\w+)\["([^"]+)"\]', graph))
        for one, others in re.findall(r"^\s*(\w+) --> (.+)$", graph, flags=re.MULTILINE):
            arrows |= {(rooms[one], rooms[other.strip()]) for other in others.split("&")}
    return arrows


def test_architecture_draws_the_imports_that_there_are():
    within = {(one, other) for one, other in pairs() if package_of(one) == package_of(other)}
    across = {(package_of(one), package_of(other)) for one, other in pairs()} - {(p, p) for p in PACKAGES}
    assert drawn() == within | across


def test_table_of_rooms_names_every_room():
    table = (ROOT / "docs" / "architecture.md").read_text()
    assert [room for room in {room_of(name) for name in FILES} if f"| `{room}` |" not in table] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_below_it(package):
    allowed = PACKAGES[: PACKAGES.index(package) + 1]
    imported = {other for name, others in OWN.items() if name.split(".")[0] == package for other in others}
    assert {other.split(".")[0] for other in imported} <= set(allowed)


@pytest.mark.parametrize("library", ["ray", "optuna"])
def test_only_tuning_imports_what_runs_searches(library):
    users = [name for name, imported in IMPORTS.items() if library in {other.split(".")[0] for other in imported}]
    assert {name.split(".")[0] for name in users} == {"tuning"}


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter(OWN).prepare()


def test_no_rooms_import_each_other_in_a_circle():
    TopologicalSorter({room: {other for one, other in pairs() if one == room} for room, _ in pairs()}).prepare()


def test_few_rooms_import_each_other():
    def merged(room: str) -> str:
        return room if package_of(room) == "tuning" else package_of(room)

    found = {(merged(one), merged(other)) for one, other in pairs()}
    assert len({(one, other) for one, other in found if one != other}) <= MOST_PAIRS


def test_no_folder_takes_more_than_a_screen():
    folders = [f for p in PACKAGES for f in [ROOT / p, *(ROOT / p).rglob("*")] if (f / "__init__.py").is_file()]
    for folder in folders:
        entries = [e for e in folder.iterdir() if e.suffix == ".py" or (e / "__init__.py").is_file()]
        assert len(entries) <= MOST_ENTRIES, folder
