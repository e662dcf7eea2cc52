"""UserError: what a user can put right, and how a command shows it and other ends.

raise UserError(f"--plot {file}: the name must end in .png")  # one line, exit code 2, no traceback
"""

import errno
import functools
import io
import os
import re
import signal
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import NoReturn

from data.system.commands import running_command

NO_WINDOWS = (
    "Windows itself is not supported: install WSL2 (`wsl --install`, https://learn.microsoft.com/windows/wsl/install) "
    "and give the command there"
)
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
"""What a file system answers where it may only be read."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSALS = {
    getattr(errno, name)
    for name in (
        "EACCES", "EPERM", "EROFS", "EBUSY", "ETXTBSY", "EIO", "ESTALE", "ENOTCONN", "ENODEV", "ENXIO", "ENAMETOOLONG",
        "ENOTDIR", "EISDIR", "EEXIST", "ELOOP", "EMFILE", "ENFILE", "ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EXDEV",
    )
    if hasattr(errno, name)
}  # fmt: skip
"""What a file system may answer: no permission, read-only, a file that is open elsewhere, a disk that is gone."""
BROKEN = (errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, getattr(errno, "ESTALE", errno.EIO))
"""Errors of a disk that fails, is mounted for reading alone, or is gone; a network's, too."""
SQLITE_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""SQLite's errors for a full disk; the second comes where a limit cuts a write short."""


UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What no message or file name may hold: control characters, ends of lines, and bytes that are no UTF-8."""


def printable(text: str) -> str:
    """The text with its UNPRINTABLE characters written as in Python's source, as repr does."""
    return UNPRINTABLE.sub(lambda match: repr(match[0])[1:-1], text)


def in_one_line(error: BaseException, letters: int = 200) -> str:
    """What a library's error says, on one line of at most so many letters; the error's kind where it says nothing."""
    return " ".join(str(error).split())[:letters] or type(error).__name__


def suggestion(name: object, known: Sequence[str]) -> str:
    """`; did you mean X?` for the nearest known name; nothing when none is near."""
    near = get_close_matches(str(name), known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


class UserError(ValueError):
    """Something the user can put right. The message is one line: what, where, and the way out.

    Several mistakes have a line each. UNPRINTABLE characters are replaced, since a terminal might obey them.
    """

    def __init__(self, message: str, *, setting: str | None = None) -> None:
        """`setting` is the name of the training setting at fault, where there is one."""
        super().__init__("\n".join(map(printable, message.split("\n"))))
        self.setting = setting


class OutputClosed(BrokenPipeError):
    """Nobody reads any more what the command prints, as after `| head`."""


def end_politely_on_signals() -> None:
    """Has Ctrl-C and a polite kill (SIGTERM) interrupt the command the first time, and end it at once the second time.

    Call it again after a library has taken the signals for itself. Ctrl-C stays ignored where it is already (nohup).
    """

    def leave(*_: object) -> None:
        leave_now(INTERRUPTED, "left at once; what was saved is kept. To go on:")

    def interrupt(*_: object) -> None:
        for number in taken:
            signal.signal(number, leave)
        raise KeyboardInterrupt

    taken = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        taken.append(signal.SIGINT)
    for number in taken:
        signal.signal(number, interrupt)


def leave_now(code: int, message: str) -> NoReturn:
    """Ends this process without waiting for anything. Prints the message, and the command that goes on."""
    show_cursor = "\033[?25h" if sys.stdout.isatty() else ""  # a live display hides it
    _tell(f"{show_cursor}\n{message}")
    os._exit(code)


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on."""
    seen = set[int]()
    while error is not None and id(error) not in seen:  # an error may be its own cause's context
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def refused_write(error: BaseException | None) -> OSError | None:
    """The full or broken disk (or quota, or limit of file sizes) that caused `error`, at any remove; None where none
    did."""
    for cause in causes_of(error):
        if isinstance(cause, OSError) and cause.errno in NO_ROOM + BROKEN:
            return cause
        if isinstance(cause, sqlite3.OperationalError) and getattr(cause, "sqlite_errorcode", 0) & 0xFF in SQLITE_FULL:
            return OSError(errno.ENOSPC, f"the study cannot be written: {cause}")
    return None


def _refused_file(error: Exception) -> OSError | None:
    """The error, if it is what a file system may answer about a file."""
    return error if isinstance(error, OSError) and error.errno in REFUSALS and error.filename else None


def _tell(message: str) -> None:
    """Prints the message, and the command that goes on."""
    print(f"{message}\n  {running_command()}", file=sys.stderr, flush=True)


def _end_without_output() -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at its end
    _tell("error: the output was closed; what was saved is kept. To go on:")
    sys.exit(INTERRUPTED)


def exit_on_user_error(command: Callable[[], int | None]) -> Callable[[], None]:
    """Wraps a command's main(): a UserError becomes one line on stderr and exit code 2, without a traceback. On Windows
    the command only says that it runs in WSL2.

    A full or broken disk does, too, and a file that the system refuses, with the command that goes on. After Ctrl-C and
    a polite kill (SIGTERM) the exit code is 130, and that command is printed.
    """

    @functools.wraps(command)
    def run() -> None:
        if sys.platform == "win32":
            print(f"error: {NO_WINDOWS}", file=sys.stderr)
            sys.exit(2)
        end_politely_on_signals()
        os.environ["MPLBACKEND"] = "agg"  # plots go into files; a notebook's own backend may not be installed here
        if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding has no letters for
            sys.stdout.reconfigure(errors="backslashreplace")
        # Pillow warns of large and damaged pictures. Those that matter are refused by name anyway.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            sys.exit(command() or 0)
        except UserError as error:
            for line in str(error).splitlines():
                print(f"error: {line}", file=sys.stderr)
            sys.exit(2)
        except BrokenPipeError:
            _end_without_output()
        except KeyboardInterrupt:
            _tell("\ninterrupted; what was saved is kept. To go on:")
            for number in (signal.SIGINT, signal.SIGTERM):  # while Python ends, another would be the exit code
                signal.signal(number, signal.SIG_IGN)
            sys.exit(INTERRUPTED)
        except Exception as error:
            if any(isinstance(cause, OutputClosed) for cause in causes_of(error)):  # Ray raises its own after it
                _end_without_output()
            refused = refused_write(error) or _refused_file(error)
            if refused is None:
                raise
            where = f"{refused.filename}: " if refused.filename else ""
            way_out = "Make room" if refused.errno in NO_ROOM else "Put that right"
            what = printable(f"{where}{refused.strerror}")
            _tell(f"error: {what}; what was saved is kept. {way_out} and go on:")
            sys.exit(2)

    return run
