"""The tables of a study, made from its record alone."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from data.atomic import replacing
from reid_train.history import write_history
from tuning.ranking import best_first, estimated_finals
from tuning.study import Study, TrialRecord
from tuning.wording import clock, show_value

REPORTED = ("val_mAP", "val_rank1", "val_rank5", "val_rank10", "val_mINP")
"""Columns of a report that are worth a column of trials.csv."""


def trials_table(trials: Sequence[TrialRecord]) -> pd.DataFrame:
    """A row a trial: number, state, cause, epochs, seconds, metrics at the end of its last schedule, parameters."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    rows = []
    for trial in trials:
        report = trial.final_report or {}
        rows.append(
            {
                "number": trial.number,
                "state": trial.state,
                "cause": trial.cause,
                "rung": trial.rung,
                "epochs": trial.epochs,
                "seconds": round(trial.seconds, 1),
                **{name: report.get(name) for name in REPORTED},
                **{name: trial.parameters.get(name) for name in names},
            }
        )
    return pd.DataFrame(rows)


def result_rows(study: Study, top: int) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the results table: the `top` best trials, validation metrics in percent.

    `expected` is the study's metric as estimated for the end of the longest schedule; by it they are ordered.
    """
    recorded = study.trials()
    trials, estimates = best_first(recorded)[:top], estimated_finals(recorded)
    names = list(study.attributes["space"]["search"])
    header = ["trial", "state", "epochs", "expected", "mAP", "rank 1", "mINP", "time", *names]
    rows = []
    for trial in trials:
        report = trial.final_report or {}
        metrics = [f"{100 * report.get(name, 0):.1f}" for name in ("val_mAP", "val_rank1", "val_mINP")]
        values = [show_value(trial.parameters[name]) if name in trial.parameters else "" for name in names]
        expected = f"{100 * estimates[trial.number]:.1f}"
        rows.append(
            [str(trial.number), trial.state, str(trial.rung), expected, *metrics, clock(trial.seconds), *values]
        )
    return header, rows


def results_table(study: Study, top: int = 10) -> Table:
    """The results table for a terminal."""
    header, rows = result_rows(study, top)
    title = f"{study.folder.name}: best {len(rows)} of {len(study.trials())} trials, validation metrics in percent"
    return plain_table(title, header, rows)


def confirmation_rows(study: Study) -> tuple[list[str], list[list[str]]] | None:
    """Header and cells of the confirmation's table, the winner first; None without one. Scores in percent."""
    rows = study.attributes.get("confirmation", {}).get("rows", [])
    if not rows:
        return None
    metric = study.attributes["space"]["metric"].removeprefix("val_")
    seeds = [name for name in rows[0] if name.startswith("seed ")]
    header = ["configuration", f"mean {metric}", "95% interval", "P(best)", *seeds, "minutes a run"]
    cells = [
        [
            row["configuration"],
            f"{100 * row['mean']:.1f}",
            f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
            f"{row['p_best']:.2f}",
            *(f"{100 * row[seed]:.1f}" for seed in seeds),
            f"{row['minutes']:.1f}",
        ]
        for row in rows
    ]
    return header, cells


def plain_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for a terminal, its first row in bold."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold cyan")
    for name in header:
        # Long names break at their underscores, so that the table fits a narrow terminal.
        table.add_column(name.replace("_", "\n"), justify="left" if name in LEFT else "right", no_wrap=True)
    for place, row in enumerate(rows):
        table.add_row(*row, style="bold" if place == 0 else None)
    return table


LEFT = ("state", "configuration", "changed")
"""Columns of words."""
ABLATION_HEADER = ("step", "changed", "from", "to", "val_mAP", "difference")


def ablation_rows(study: Study) -> list[list[str]]:
    """Cells of the ablation's table; none where it was not run, or was run for an earlier winner."""
    best = best_first(study.trials())[:1]
    rows = [row for row in study.attributes.get("ablation", []) if best and row["trial"] == best[0].number]
    cells = []
    for row in rows:
        values = ["" if row[end] is None else show_value(row[end]) for end in ("from", "to")]
        score = "diverged" if math.isnan(row["val_mAP"]) else f"{row['val_mAP']:.2%}"
        known = row["difference"] is not None and not math.isnan(row["difference"])
        difference = f"{row['difference']:+.2%}" if known else ""
        cells.append([str(row["step"]), row["changed"], *values, score, difference])
    return cells


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write_tables(study: Study) -> None:
    """Writes trials.csv and history/<trial>.csv from the record."""
    trials = study.trials()
    with replacing(study.folder / "trials.csv") as temporary:
        trials_table(trials).to_csv(temporary, index=False, float_format="%.6g")
    for trial in trials:
        write_history(Path(study.folder) / "history" / f"{trial.number}.csv", trial.reports)
