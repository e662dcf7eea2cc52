"""The one kind of error that is the user's to mend, and how a command shows it."""

import functools
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from data.credentials import without_passwords

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class UserError(ValueError):
    """Something the user can put right. The message is one line: what, where, and the way out."""


def python_command(module: str, *arguments: str) -> str:
    """`.venv/bin/python -m module arguments` as it can be typed here, with the interpreter that runs this; without the
    passwords in URLs."""
    interpreter = os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable
    return shlex.join([interpreter, "-m", module, *map(without_passwords, arguments)])


def running_command() -> str:
    """The command that runs now, as it can be typed again."""
    spec = sys.modules["__main__"].__spec__
    return python_command(spec.name if spec else Path(sys.argv[0]).stem, *sys.argv[1:])


def end_politely_on_sigterm() -> None:
    """A polite kill (SIGTERM) acts like Ctrl-C. To be called again after what takes the signal for itself."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def exit_on_user_error(command: Callable[[], int | None]) -> Callable[[], None]:
    """Wraps a command's main(): a UserError becomes one line on stderr and exit code 2, without a traceback.

    Ctrl-C and a polite kill (SIGTERM) end it with exit code 130 and the command that goes on.
    """

    @functools.wraps(command)
    def run() -> None:
        end_politely_on_sigterm()
        try:
            sys.exit(command() or 0)
        except UserError as error:
            for line in str(error).splitlines():
                print(f"error: {line}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("\ninterrupted; what was saved is kept (a state a minute). To go on:", file=sys.stderr)
            print(f"  {running_command()}", file=sys.stderr)
            sys.exit(INTERRUPTED)

    return run
