"""How this project's commands are named where one is suggested: as they can be typed here, in the way that was typed.

command("tuning.search", "--name", "a")  # "reid search --name a", or ".venv/bin/python -m tuning.search --name a"

`reid VERB` runs the module whose name ends in VERB (reid/command.py), with `reid VERB` as its sys.argv[0]: by that a
command knows how it was started.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

from data.system.passwords import without_passwords

REID = "reid"


def program(module: str) -> str:
    """A command's name in its own help: `reid search`, or `python -m tuning.search`."""
    return f"{REID} {_verb(module)}" if running_verb() else f"python -m {module}"


def command(module: str, *arguments: str) -> str:
    """A command of this project with its arguments. Passwords in URLs are left out."""
    if not running_verb():
        return python_command(module, *arguments)
    return shlex.join([*_reid(), _verb(module), *map(without_passwords, arguments)])


def running_command() -> str:
    """The command that runs now, as it can be typed again."""
    if (verb := running_verb()) is not None:
        return command(verb, *sys.argv[1:])
    spec = sys.modules["__main__"].__spec__
    name = spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).stem
    return python_command(name, *sys.argv[1:])


def running_verb() -> str | None:
    """The verb, where the command was started as `reid VERB`."""
    name, _, verb = sys.argv[0].partition(" ")
    return verb if name == REID and verb else None


def python_command(module: str, *arguments: str) -> str:
    """`.venv/bin/python -m module arguments`. Passwords in URLs are left out."""
    return shlex.join([installed(Path(sys.executable).name), "-m", module, *map(without_passwords, arguments)])


def install_command(extra: str) -> str:
    """What installs the packages of one of pyproject's extras, given from the project's folder."""
    return python_command("pip", "install", "--constraint", "constraints.txt", "--editable", f".[{extra}]")


def installed(name: str) -> str:
    """A program of this Python's environment: `.venv/bin/optuna`."""
    file = Path(sys.executable).with_name(name)
    return os.path.relpath(file) if file.is_relative_to(Path.cwd()) else str(file)


def _verb(module: str) -> str:
    return module.rpartition(".")[2]


def _reid() -> list[str]:
    """`reid`, where the shell finds this environment's; else the file that was started, or `python -m reid`."""
    spec, file = sys.modules["__main__"].__spec__, Path(sys.executable).with_name(REID)
    if (spec is not None and spec.name == f"{REID}.__main__") or not file.is_file():
        return [installed(Path(sys.executable).name), "-m", REID]
    return [REID] if shutil.which(REID) == str(file) else [installed(REID)]
