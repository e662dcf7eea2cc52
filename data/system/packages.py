"""Packages that only some commands need: pyproject's extras.

check_packages("the dashboard", ["optuna_dashboard"], "dashboard")
"""

from collections.abc import Sequence
from importlib.util import find_spec

from data.system.commands import install_command
from data.system.errors import UserError


def check_packages(what: str, packages: Sequence[str], extra: str, way_out: str = "") -> None:
    """Raises UserError that begins with `what` where a package of pyproject's extra is not installed."""
    for package in packages:
        found = find_spec(package)
        if found is None or found.origin is None:  # without an origin it is a folder of that name, such as a run left
            install = install_command(extra)
            raise UserError(f"{what} needs {package}, which is not installed: {install}{way_out}")
