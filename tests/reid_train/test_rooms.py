"""Which module of reid_train may import which: rooms stand below the commands, and nothing goes in circles."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "reid_train"
MODULES = {
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts): file
    for file in PACKAGE.rglob("*.py")
    if file.name != "__init__.py"
}
BELOW = {"model": {"model"}, "objective": {"objective", "model"}, "measure": {"measure", "model"}}
"""The rooms that each room may import; the modules beside the rooms may import all."""
COMMANDS = {f"reid_train.{name}" for name in ("train", "evaluate", "query", "export")}
DEAR = {"timm", "pytorch_metric_learning", "onnx", "onnxruntime", "onnxscript", "reid_train.model.foundation"}
"""What a function may import: optional packages, and those that take a second or two and few ask for."""


def imports(module: str, nodes=ast.walk) -> set[str]:
    """The modules that a module imports anywhere, or those among the nodes that `nodes` gives."""
    found = set()
    for node in nodes(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
    return found


def room(module: str) -> str:
    return module.split(".")[1] if module.count(".") > 1 else ""


@pytest.mark.parametrize("module", [module for module in MODULES if room(module)])
def test_a_room_imports_only_what_is_below_it(module):
    assert {room(other) for other in imports(module) & MODULES.keys()} <= BELOW[room(module)]


def test_no_module_imports_itself_by_way_of_others():
    graph = {module: imports(module) & MODULES.keys() for module in MODULES}
    assert len([*TopologicalSorter(graph).static_order()]) == len(MODULES)  # else CycleError


@pytest.mark.parametrize("module", [*MODULES])
def test_functions_import_nothing_but_what_is_dear(module):
    inside = imports(module) - imports(module, ast.iter_child_nodes)
    if module not in COMMANDS:
        assert {name for name in inside if not name.startswith(tuple(DEAR))} == set()


def test_settings_and_reports_need_no_torch():
    light = ["config", "report", "training_images", "evaluation_count", "history", "settings_file"]
    program = f"import sys, {', '.join(f'reid_train.{name}' for name in light)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=PACKAGE.parent, timeout=60).returncode == 0
