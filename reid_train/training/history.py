"""A run's history: one row an epoch, as a table that every plot is drawn from.

write_history("history.csv", [report.to_record() for report in reports])
read_history("history.csv")[-1]["val_mAP"]
"""

import csv
import io
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data.system.files import write_text

logger = logging.getLogger(__name__)

Row = dict[str, Any]


def write_history(file: str | Path, rows: Iterable[Row]) -> None:
    """Writes the rows as CSV, atomically. What was not measured is an empty cell."""
    rows = [flat(row) for row in rows]
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows({key: _rounded(value) for key, value in row.items()} for row in rows)
    write_text(file, text.getvalue())


def flat(row: Row) -> Row:
    """The row with each tuple or list spread over columns of its own: expert_usage_0, expert_usage_1, ..."""
    flat: Row = {}
    for key, value in row.items():
        several = isinstance(value, (tuple, list))
        flat |= {f"{key}_{place}": one for place, one in enumerate(value)} if several else {key: value}
    return flat


def _rounded(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def read_history(file: str | Path) -> list[Row]:
    """The rows of a history file, numbers as numbers and empty cells as None; none when there is no file.

    A last row that is cut is left out, with a warning.
    """
    path = Path(file)
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    if cut := text.rpartition("\n")[2]:
        logger.warning("%s: damaged: its last row is cut (%s) and passed over", path, cut)
    rows = csv.DictReader(io.StringIO(text.removesuffix(cut)))
    return [{key: _number(text) for key, text in row.items()} for row in rows]


def _number(text: str | None) -> Any:
    if not text:
        return None
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text
