"""The one kind of error that is the user's to mend, and how a command shows it."""

import functools
import shlex
import signal
import sys
from collections.abc import Callable

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class UserError(ValueError):
    """Something the user can put right. The message is one line: what, where, and the way out."""


def exit_on_user_error(command: Callable[[], int | None]) -> Callable[[], None]:
    """Wraps a command's main(): a UserError becomes one line on stderr and exit code 2, without a traceback.

    Ctrl-C and a polite kill (SIGTERM) end it with exit code 130 and the command that goes on.
    """

    @functools.wraps(command)
    def run() -> None:
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        try:
            sys.exit(command() or 0)
        except UserError as error:
            for line in str(error).splitlines():
                print(f"error: {line}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            spec = sys.modules["__main__"].__spec__
            name = f"-m {spec.name}" if spec else shlex.quote(sys.argv[0])
            print("\ninterrupted; what was recorded is kept. To go on or begin again:", file=sys.stderr)
            print(f"  python {name} {shlex.join(sys.argv[1:])}".rstrip(), file=sys.stderr)
            sys.exit(INTERRUPTED)

    return run
