"""The tables of a study, made from its record alone.

trials_table(study.trials()).to_csv("trials.csv", index=False)
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from data.system.files import replacing
from data.system.wording import clock, in_markdown, in_spreadsheet, show_value
from reid_train.training.history import write_history
from tuning.decide.pareto import pareto_front
from tuning.decide.ranking import Run, standing_of
from tuning.record.study import Study
from tuning.record.trial import TrialRecord

REPORTED = ("val_mAP", "val_rank1", "val_rank5", "val_rank10", "val_mINP")
"""Columns of a report that are worth a column of trials.csv."""


def trials_table(trials: Sequence[TrialRecord]) -> pd.DataFrame:
    """A row a trial: number, state, cause, epochs, seconds, metrics at the end of its last schedule, parameters."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    rows = []
    for trial in trials:
        report = trial.final_report
        rows.append(
            {
                "number": trial.number,
                "state": trial.state,
                "cause": str(trial.cause or ""),
                "rung": trial.rung,
                "epochs": trial.epochs,
                "seconds": round(trial.seconds, 1),
                **{name: getattr(report, name, None) for name in REPORTED},
                **trial.costs,
                **{name: trial.parameters.get(name) for name in names},
            }
        )
    return pd.DataFrame(rows)


def result_rows(
    study: Study, trials: Sequence[TrialRecord], repeats: Sequence[Run] = ()
) -> tuple[list[str], list[list[str]]]:
    """Header and cells of a table of these trials, validation metrics in percent.

    `expected` is the mean over seeds that is expected at the highest rung reached, by which they are ranked, by the
    trials' scores and the `repeats`.
    """
    estimates = standing_of(study, repeats).expected
    names, costs = study.space.searched, study.space.study.costs
    header = ["trial", "state", "rung", "expected", *costs, "mAP", "rank 1", "mINP", "time", *names]
    rows = []
    for trial in trials:
        report = trial.final_report
        metrics = [f"{100 * (getattr(report, name, None) or 0):.1f}" for name in ("val_mAP", "val_rank1", "val_mINP")]
        values = [show_value(trial.parameters[name]) if name in trial.parameters else "" for name in names]
        first = [str(trial.number), trial.state, str(trial.rung), f"{100 * estimates[trial.number]:.1f}"]
        rows.append(
            [*first, *(show_value(trial.costs[name]) for name in costs), *metrics, clock(trial.seconds), *values]
        )
    return header, rows


def front_rows(study: Study) -> tuple[list[str], list[list[str]]] | None:
    """Header and cells of the Pareto front's table, the best score first; None in a study of one metric."""
    return result_rows(study, pareto_front(study)) if study.space.study.costs else None


def confirmation_rows(study: Study) -> tuple[list[str], list[list[str]]] | None:
    """Header and cells of the confirmation's table, the winner first; None without one. Scores in percent."""
    rows = study.facts.get("confirmation", {}).get("rows", [])
    if not rows:
        return None
    metric, costs = study.space.study.metric.removeprefix("val_"), study.space.study.costs
    of_runs = [name for name in rows[0] if name in ("runs", "scores") or name.startswith("seed ")]
    header = ["configuration", f"expected {metric}", "interval", "P(best)", *costs, *of_runs, "minutes a run"]
    cells = [
        [
            row["configuration"],
            f"{100 * row['mean']:.1f}",
            f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
            "" if row["p_best"] is None else f"{row['p_best']:.2f}",
            *(show_value(row[name]) for name in costs),
            *(_of_runs(row[name]) for name in of_runs),
            "" if row["minutes"] is None else f"{row['minutes']:.1f}",
        ]
        for row in rows
    ]
    return header, cells


def _of_runs(value: Any) -> str:
    """Scores in percent; a number of runs as it is."""
    if isinstance(value, int):
        return str(value)
    scores = value.split() if isinstance(value, str) else [value]
    return " ".join(f"{100 * float(score):.1f}" for score in scores)


SPARE = ("time", "mINP", "rank 1", "state")
"""Columns that a narrow terminal can do without; the first is left out first."""


def print_table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints the table without the columns for which the terminal is too narrow, and says which those are.

    SPARE go first, then those whose cells are all the same, then those to the right.
    """
    same = [name for place, name in enumerate(header) if len({row[place] for row in rows}) == 1]
    to_go = [*(name for name in SPARE if name in header), *reversed(same), *reversed(header[1:])]
    left, dropped = list(header), list[str]()
    while True:
        places = [header.index(name) for name in left]
        table = plain_table(title, left, [[row[place] for place in places] for row in rows])
        wide = console.options.update(max_width=10_000)
        if console.measure(table, options=wide).maximum <= console.width or len(left) == 1:
            break
        dropped.append(next(name for name in to_go if name in left))
        left.remove(dropped[-1])
    console.print(table)
    if dropped:
        console.print(
            f"no room for {', '.join(name for name in header if name in dropped)}: summary.md has all columns"
        )


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
ABLATION_HEADER = ("step", "changed", "from", "to", "val_mAP", "points")


def ablation_rows(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Cells of the ablation's table."""
    cells = []
    for row in rows:
        values = ["" if row[end] is None else show_value(row[end]) for end in ("from", "to")]
        score = "diverged" if row["val_mAP"] is None or math.isnan(row["val_mAP"]) else f"{row['val_mAP']:.2%}"
        known = row["difference"] is not None and not math.isnan(row["difference"])
        difference = f"{100 * row['difference']:+.2f}" if known else ""
        cells.append([str(row["step"]), row["changed"], *values, score, difference])
    return cells


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [
        [in_markdown(name) for name in header],
        ["---"] * len(header),
        *([in_markdown(c) for c in row] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_tables(study: Study) -> None:
    """Writes trials.csv and history/<trial>.csv from the record."""
    trials = study.trials()
    tables = {"trials.csv": trials}
    if study.space.study.costs:
        tables["pareto.csv"] = pareto_front(study)
    for name, listed in tables.items():
        with replacing(study.folder / name) as temporary:
            trials_table(listed).map(in_spreadsheet).to_csv(temporary, index=False, float_format="%.6g")
    for trial in trials:
        rows = [epoch.to_record() for epoch in trial.reports]
        write_history(study.folder / "history" / f"{trial.number}.csv", rows)
