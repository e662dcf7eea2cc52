"""How times and settings are written for people.

clock(750), counted(2, "epoch"), show_parameters({"margin": 0.3})  # "12:30", "2 epochs", "margin 0.3"
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.system.errors import OutputClosed, printable

if TYPE_CHECKING:
    from rich.console import Console


FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet may compute: the last four are wide forms of the signs, for Chinese texts."""


def open_console() -> "Console":
    """What commands print to: the terminal or, where there is none, plain text of 120 columns.

    Texts are shown as they are: `[red]` in a name is no markup, and `:smile:` no picture.
    """
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            """Has the command tell of it; Rich would end it without a word."""
            self.quiet = True
            raise OutputClosed

    # force_jupyter: a notebook gets the same plain text.
    console = Plain(highlight=False, markup=False, emoji=False, force_jupyter=False)
    if console.is_terminal:
        return console
    return Plain(highlight=False, markup=False, emoji=False, force_jupyter=False, width=max(console.width, 120))


@contextmanager
def images_done(total: int) -> Iterator[Callable[[int], None]]:
    """Gives what is to be told how many images have just been done; on a terminal (stderr) a bar shows it."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:-1], TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("images", total=total)
        yield lambda images: bar.advance(task, images)


def in_plot(text: str) -> str:
    """The text as matplotlib takes it: what stands between two `$` would be a formula."""
    return printable(text).replace("$", r"\$")


def in_markdown(text: object) -> str:
    """The text as Markdown takes it: a `|` would end a table's cell, and `<b>`, `*`, `[x](y)`, `$x$` or `&lt;` would be
    marks."""
    return re.sub(r"([\\`*<|\[\]$&])", r"\\\1", printable(str(text)))


def in_spreadsheet(value: Any) -> Any:
    """The value of a cell as CSV files hold it: Excel and others compute a text that begins with `=`, `+`, `-` or `@`,
    and `=HYPERLINK(...)` may come from a file's name. Such a text gets an apostrophe before it, as OWASP advises
    (https://owasp.org/www-community/attacks/CSV_Injection). What is a number stays one."""
    if not isinstance(value, str) or not FORMULA.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def clock(seconds: float) -> str:
    """Seconds as 0:05, 12:30 or 1:02:03."""
    hours, rest = divmod(int(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def gigabytes(folder: Path) -> str:
    """What the files in a folder take on the disk: 1.5 GB, 150 GB."""
    size_bytes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # another process may have removed it
                size_bytes += Path(place, name).stat().st_size
    return f"{float(f'{size_bytes / 1e9:.2g}'):g} GB"


def counted(count: int, noun: str) -> str:
    """1 epoch, 2 epochs."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def show_value(value: Any) -> str:
    """A setting's or a cost's value, short."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 100_000:
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def show_parameters(parameters: dict[str, Any]) -> str:
    """`learning_rate 0.001, margin 0.3`"""
    return ", ".join(f"{name} {show_value(value)}" for name, value in parameters.items())
