"""The one kind of error that is the user's to mend, and how a command shows it."""

import functools
import os
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from data.credentials import without_passwords

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, ends of lines, and bytes that are no UTF-8: nothing that a message or a file name may hold."""


def printable(text: str) -> str:
    """The text with what is UNPRINTABLE written as Python would."""
    return UNPRINTABLE.sub(lambda match: repr(match[0])[1:-1], text)


class UserError(ValueError):
    """Something the user can put right. The message is one line: what, where, and the way out.

    Of several mistakes it has a line each. What a terminal would take for a command is written as Python would.
    """

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(map(printable, message.split("\n"))))


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
        # Pillow's warnings of large and damaged pictures: here those are refused, or whole.
        warnings.filterwarnings("ignore", module=r"PIL\.")
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
