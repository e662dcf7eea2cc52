"""The commands' tables on the terminal: an evaluation's figures, and a ranked gallery.

print_summary(summary(metrics), "results/sample/best on data/sample")
"""

import os
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.system.errors import printable
from reid_train.measure.scores import COUNTS, LABELS
from reid_train.ranking import Ranked


def print_summary(figures: dict[str, Any], title: str) -> None:
    """The figures as a table, in percent."""
    table = Table(title=title)
    table.add_column("metric")
    table.add_column("test", justify="right")
    table.add_column("95 % interval", justify="right")
    intervals = figures["intervals"] or {}
    for key, label in LABELS.items():
        value = str(figures[key]) if key in COUNTS else f"{100 * figures[key]:.2f} %"
        table.add_row(label, value, " to ".join(f"{100 * bound:.2f}" for bound in intervals.get(key, ())))
    Console().print(table)


def print_ranking(ranked: Sequence[Ranked], title: str, folder: str) -> None:
    """The table, of paths from `folder`; identities, cameras and what is right only where they are known."""
    table = Table(title=escape(printable(title)))
    table.add_column("rank", justify="right")
    table.add_column("similarity", justify="right")
    known = any(image.label for image in ranked)
    for heading in ("identity", "camera", "right") if known else ():
        table.add_column(heading, justify="right")
    table.add_column("image", overflow="fold")
    for place, image in enumerate(ranked, start=1):
        label = image.label
        of_label = ["", "", ""]
        if label:
            right = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[image.right]
            of_label = [str(label.identity), str(label.camera), right]
        name = escape(printable(os.path.relpath(image.path, os.path.realpath(folder))))
        table.add_row(str(place), f"{image.similarity:.4f}", *(of_label if known else ()), name)
    Console().print(table)
