"""Runs this project's commands: in this process, which takes no start, or in one of their own, as users do.

done = run_here("tuning.report", "results/sample", "--top", 2)
done.returncode, done.stdout, done.stderr
run_command("tuning.report", "results/sample")  # gives the same
"""

import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
USUAL = {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
"""Variables of every command that a test runs."""
LONGEST_S = 300
Done = subprocess.CompletedProcess[str]
"""What a command that has ended gives."""


def command_line(module: str, *arguments: object) -> list[str]:
    """`python -m module arguments`, to be run in ROOT."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def run_command(module: str, *arguments: object, **environment: str) -> Done:
    """Runs a command in a process of its own."""
    return subprocess.run(
        command_line(module, *arguments),
        cwd=ROOT,
        env={**os.environ, **USUAL, **environment},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )


def start_command(module: str, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
    """Starts a command in a session of its own; `communicate` gives what it prints, and its errors among that."""
    return subprocess.Popen(
        command_line(module, *arguments),
        cwd=ROOT,
        env={**os.environ, **USUAL, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_here(module: str, *arguments: object, **environment: str) -> Done:
    """Runs a command's main() in this process, and then has this process as it was.

    For what starts no Ray: a command that leaves with os._exit takes the tests along. What processes print that the
    command starts is not in the result.
    """
    out, errors = io.StringIO(), io.StringIO()
    with as_it_was(), redirect_stdout(out), redirect_stderr(errors):
        os.chdir(ROOT)
        os.environ |= {**USUAL, **environment}
        command = import_module(module)
        sys.argv = [str(command.__file__), *map(str, arguments)]
        sys.modules["__main__"].__spec__ = find_spec(module)  # what running_command reads
        logging.root.handlers = []  # without any, warnings go to stderr
        try:
            code: Any = command.main()
        except SystemExit as end:
            code = end.code
    if isinstance(code, str):  # as Python does with that
        errors.write(f"{code}\n")
        code = 1
    return subprocess.CompletedProcess(command_line(module, *arguments), code or 0, out.getvalue(), errors.getvalue())


@contextmanager
def as_it_was() -> Iterator[None]:
    """Undoes what a command changes of its process: folder, arguments, variables, signals, logs, warnings, threads."""
    with ExitStack() as undo:
        main = sys.modules["__main__"]
        undo.callback(setattr, main, "__spec__", main.__spec__)
        undo.callback(setattr, sys, "argv", sys.argv)
        undo.callback(os.chdir, Path.cwd())
        undo.callback(_set_environment, dict(os.environ))
        for number in (signal.SIGINT, signal.SIGTERM):
            undo.callback(signal.signal, number, signal.getsignal(number))
        undo.callback(_set_logs, {log.name: (log.handlers[:], log.level, log.propagate) for log in _loggers()})
        undo.enter_context(warnings.catch_warnings())
        if torch := sys.modules.get("torch"):
            undo.callback(torch.set_num_threads, torch.get_num_threads())
        yield


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ |= variables


def _loggers() -> list[logging.Logger]:
    known = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(logger for logger in known if isinstance(logger, logging.Logger))]


def _set_logs(before: dict[str, tuple[list[logging.Handler], int, bool]]) -> None:
    for logger in _loggers():
        handlers, level, propagate = before.get(logger.name, ([], logging.NOTSET, True))
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
