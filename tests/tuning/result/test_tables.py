"""Tables for terminals: whole columns or none."""

import csv
import io

from rich.console import Console

from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.result.tables import print_table, write_tables
from tuning.space.read import read_space

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


def test_no_cell_of_a_file_is_a_formula_and_numbers_stay_numbers(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("search: {pretrained: ['none', '=HYPERLINK(\"x\")'], weight_decay: {low: 0.0, high: 0.1}}\n")
    study = Study(tmp_path / "study", read_space(file))
    study.add({"pretrained": '=HYPERLINK("x")', "weight_decay": 0.05})
    study.finish(0, TrialState.FAILED, Cause(Kind.ERROR, "-1+cmd|' /C calc'!A0"))
    write_tables(study)
    (row,) = csv.DictReader((tmp_path / "study" / "trials.csv").open())
    assert row["pretrained"] == '\'=HYPERLINK("x")' and not row["cause"].startswith(tuple("=+-@"))
    assert float(row["weight_decay"]) == 0.05 and row["number"] == "0"
    assert study.trials()[0].parameters["pretrained"] == '=HYPERLINK("x")', "the record and all tables shown keep it"
