"""A digest of the code that computes a trial's numbers: a study goes on only where it is the same.

    digest()  # the same after a comment, a docstring, a message, a help text, a renamed, moved or split module

It covers every module that a trial imports, except data/system, which computes no number. Each top-level statement
counts as its syntax tree without docstrings, messages of errors and logs, help texts, and annotations other than those
of fields. The order of statements does not count, so that it does not matter which module holds them.
"""

import ast
import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BEGINS_AT = "tuning.run.climb"
"""The module that trains a trial."""
OWN = ("data", "reid_train", "tuning")
PREFIXES = tuple(f"{package}." for package in OWN)
COMPUTES_NOTHING = "data.system"
WORDS = ("help", "description", "epilog", "metavar")
"""Arguments of calls that are texts for people."""
LOGS = ("debug", "info", "warning", "error", "exception")
"""Methods of a logger: calls of theirs compute nothing."""


def digest() -> str:
    """The SHA-256, in hex, of all that computes a trial's numbers; worked out once a process."""
    statements = {_text(statement) for module in sources().values() for statement in _statements(module)}
    return hashlib.sha256("\n".join(sorted(statements)).encode()).hexdigest()


def sources() -> dict[str, ast.Module]:
    """The syntax trees of BEGINS_AT and of every module of this project that it imports, by name. Imports none."""
    found, left = dict[str, ast.Module](), [BEGINS_AT]
    while left:
        name = left.pop()
        file = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if name in found or name.startswith(COMPUTES_NOTHING) or not file.is_file():
            continue
        found[name] = ast.parse(file.read_bytes())
        for node in ast.walk(found[name]):
            if isinstance(node, ast.ImportFrom) and node.module:
                left += [node.module, *(f"{node.module}.{imported.name}" for imported in node.names)]
            elif isinstance(node, ast.Import):
                left += [imported.name for imported in node.names]
    return found


def _statements(module: ast.Module) -> list[ast.stmt]:
    """The top-level statements that compute something, without what does not."""
    statements: list[ast.stmt] = _OfNumbers().visit(module).body
    return statements


class _OfNumbers(ast.NodeTransformer):
    """Leaves out of a syntax tree what changes no number."""

    def __init__(self) -> None:
        self._fields = set[ast.AnnAssign]()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Where a name of ours comes from does not count; that it has another name here does."""
        if (node.module or "").split(".")[0] in OWN:
            node.module, node.names = "", [n for n in node.names if n.asname not in (None, n.name)]
        return node if node.names else None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Docstrings, and calls of a logger."""
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in LOGS:
            return None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Messages of errors."""
        if isinstance(node.exc, ast.Call):
            return ast.Raise(node.exc.func, None)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Help texts."""
        node.keywords = [keyword for keyword in node.keywords if keyword.arg not in WORDS]
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Names of own modules, as processes are told to import them."""
        return ast.Constant("") if isinstance(node.value, str) and node.value.startswith(PREFIXES) else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Annotations."""
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Annotations of a class's fields stay: they say what a setting may be."""
        self._fields.update(statement for statement in node.body if isinstance(statement, ast.AnnAssign))
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """Annotations of other variables."""
        if node in self._fields:
            return self.generic_visit(node)
        return None if node.value is None else ast.Assign([node.target], self.visit(node.value))

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Imports for annotations alone."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)


def _text(node: object) -> str:
    """A syntax tree as text that does not depend on Python's version, as ast.dump's does: empty fields are left out."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
        if isinstance(node, ast.Constant):
            fields = [("value", repr(node.value))]
        return f"{type(node).__name__}({', '.join(f'{name}={_text(value)}' for name, value in fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_text, node))}]"
    return str(node)
