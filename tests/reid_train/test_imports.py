"""What functions of reid_train may import, and which modules need no torch. tests/test_house.py has the rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "reid_train"
MODULES = {
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts): file
    for file in PACKAGE.rglob("*.py")
    if file.name != "__init__.py"
}
COMMANDS = {f"reid_train.{name}" for name in ("train", "evaluate", "errors", "query", "export", "embed")}
DEAR = {
    "timm",
    "pytorch_metric_learning",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "sklearn",
    "reid_train.model.foundation",
}
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


@pytest.mark.parametrize("module", [*MODULES])
def test_functions_import_nothing_but_what_is_dear(module):
    inside = imports(module) - imports(module, ast.iter_child_nodes)
    if module not in COMMANDS:
        assert {name for name in inside if not name.startswith(tuple(DEAR))} == set()


def test_settings_and_reports_need_no_torch():
    light = ["settings.config", "measure.epoch_report", "training.images", "training.history"]
    light += ["inference.evaluation_count"]
    program = f"import sys, {', '.join(f'reid_train.{name}' for name in light)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=PACKAGE.parent, timeout=60).returncode == 0
