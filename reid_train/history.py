"""A run's history: one row an epoch, as a table that every plot is drawn from."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data.atomic import write_text

Row = dict[str, Any]


def write_history(file: str | Path, rows: Iterable[Row]) -> None:
    """Writes the rows as CSV, atomically. What was not measured is an empty cell."""
    rows = [_flat(row) for row in rows]
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows({key: _rounded(value) for key, value in row.items()} for row in rows)
    write_text(file, text.getvalue())


def _flat(row: Row) -> Row:
    """The row with a column for each of the values that a tuple or list holds: expert_usage_0, expert_usage_1, ..."""
    flat: Row = {}
    for key, value in row.items():
        several = isinstance(value, (tuple, list))
        flat |= {f"{key}_{place}": one for place, one in enumerate(value)} if several else {key: value}
    return flat


def _rounded(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def read_history(file: str | Path) -> list[Row]:
    """The rows of a history file, numbers as numbers and empty cells as None; none when there is no file."""
    path = Path(file)
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as opened:
        return [{key: _number(text) for key, text in row.items()} for row in csv.DictReader(opened)]


def _number(text: str | None) -> Any:
    if not text:
        return None
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text
