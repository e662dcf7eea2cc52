"""Tables for terminals: whole columns or none."""

import io

from rich.console import Console

from tuning.result.tables import print_table

HEADER = ["trial", "state", "mAP", "mINP", "time", "learning_rate", "optimizer", "margin"]
ROWS = [
    ["0", "complete", "40.1", "20.2", "1:00", "0.000123", "adamw", "0.3"],
    ["1", "pruned", "30.1", "19.2", "0:30", "0.02", "adamw", "soft"],
]


def printed(width: int) -> str:
    out = io.StringIO()
    print_table(Console(file=out, width=width, color_system=None), "best", HEADER, ROWS)
    return out.getvalue()


def test_a_wide_terminal_shows_every_column():
    text = printed(120)
    assert all(cell in text for row in ROWS for cell in row) and "no room" not in text


def test_in_a_narrow_one_the_spare_columns_go_first_and_are_named_and_no_cell_is_cut():
    for width in range(20, 80):
        table, _, told = printed(width).partition("no room for ")
        gone = set(" ".join(told.split()).split(": summary.md")[0].split(", ")) if told else set()
        assert "…" not in table
        for row in ROWS:
            assert all(name in gone or cell in table for name, cell in zip(HEADER, row, strict=True))
        assert not gone or "time" in gone
