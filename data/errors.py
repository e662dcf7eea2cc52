"""The one kind of error that is the user's to mend, and how a command shows it."""

import functools
import sys
from collections.abc import Callable


class UserError(ValueError):
    """Something the user can put right. The message is one line: what, where, and the way out."""


def exit_on_user_error(command: Callable[[], int | None]) -> Callable[[], None]:
    """Wraps a command's main(): a UserError becomes one line on stderr and exit code 2, without a traceback."""

    @functools.wraps(command)
    def run() -> None:
        try:
            sys.exit(command() or 0)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)

    return run
