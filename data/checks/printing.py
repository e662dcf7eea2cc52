"""Shows a report in the terminal: a table with a column for each split, then a line for each finding. Or as JSON."""

import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data.checks.findings import Finding
from data.checks.report import Report
from data.system.errors import printable

SHOWN_FILES = 3
"""How many of a finding's files are named."""
COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def print_table(console: Console, report: Report) -> None:
    """What each split holds."""
    table = Table(title=printable(f"{report.title}, laid out as {report.layout}"), title_justify="left")
    table.add_column()
    for split in report.splits:
        table.add_column(split.split, justify="right")
    counts = [list(split.images_of.values()) or [0] for split in report.splits]
    rows: dict[str, Sequence[float]] = {
        "images": [split.images for split in report.splits],
        "identities": [len(split.images_of) for split in report.splits],
        "cameras": [split.cameras for split in report.splits],
        "images per identity: min": [min(count) for count in counts],
        "  median": [statistics.median(count) for count in counts],
        "  max": [max(count) for count in counts],
        "distractors (among the images)": [split.distractors for split in report.splits],
        "junk, left out": [split.junk for split in report.splits],
        "not understood, left out": [split.left_out for split in report.splits],
    }
    for name, numbers in rows.items():
        shown = [f"{number:,.6g}" if number or name != "cameras" else "none" for number in numbers]
        table.add_row(name, *shown)
    console.print(table)


def print_findings(console: Console, report: Report) -> None:
    """What is wrong, the worst first."""
    root = report.place if report.place.is_dir() else report.place.parent
    for finding in report.findings:
        _print_finding(console, finding, root.resolve())
    if not report.findings:
        console.print("nothing wrong was found")


def _print_finding(console: Console, finding: Finding, root: Path) -> None:
    console.print(Text.assemble((finding.severity, COLOURS[finding.severity]), ": ", finding.text), soft_wrap=True)
    for path in finding.files[:SHOWN_FILES]:
        console.print(f"    {os.path.relpath(path, root)}", soft_wrap=True)
    if len(finding.files) > SHOWN_FILES:
        console.print(f"    and {len(finding.files) - SHOWN_FILES:,} more files")


def report_answer(report: Report) -> dict[str, Any]:
    """What `data.doctor --json` gives.

    `dataset`: the reader; `place`; `can_train`: whether training and the final evaluation can start; `splits`, each
    with `split`, `images`, `identities`, `cameras`, `images_per_identity` (`least`, `median`, `most`), `distractors`,
    `junk` and `left_out`; `findings`, each with `severity` (error, warning or note), `text` and `files`; `plot`: the
    picture's file, null where there are no images.
    """
    splits = []
    for split in report.splits:
        counts = list(split.images_of.values()) or [0]
        of_identity = {"least": min(counts), "median": statistics.median(counts), "most": max(counts)}
        splits.append(
            {
                "split": split.split,
                "images": split.images,
                "identities": len(split.images_of),
                "cameras": split.cameras,
                "images_per_identity": of_identity,
                "distractors": split.distractors,
                "junk": split.junk,
                "left_out": split.left_out,
            }
        )
    findings = [{"severity": one.severity, "text": one.text, "files": one.files} for one in report.findings]
    return {
        "dataset": report.dataset,
        "place": report.place,
        "can_train": not report.breaks_training,
        "splits": splits,
        "findings": findings,
        "plot": None,
    }
