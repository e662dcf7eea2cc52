"""The page's last sections: data, cost, how to reproduce; plain tables made from the study's record.

data_facts(study), cost_rows(study, record), versions(study.folder)
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from data.system.errors import UserError
from data.system.files import read_json
from data.system.passwords import without_passwords
from data.system.wording import clock, counted, show_value
from reid_train.inference.evaluation_count import read_test_metrics
from tuning.record.folders import BEST_CONFIG, ENVIRONMENT, SPACE
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState

Rows = list[tuple[str, str]]
MOST_NAMED = 20
"""Images left out that are named."""


def data_facts(study: Study) -> Rows:
    """What the search was about."""
    config, facts, test = study.space.base_config(), study.facts, read_test_metrics(study.folder)
    left_out = facts.get("images_left_out", [])
    named = ", ".join(left_out[:MOST_NAMED]) + (" …" if len(left_out) > MOST_NAMED else "")
    tested = ", ".join(f"{test[name]:,} {name}" for name in ("identities", "queries") if name in test)
    rows = [
        ("folder", without_passwords(str(config.data_dir))),
        ("layout", str(test.get("dataset") or config.dataset or "detected")),
        ("drawn", "yes: the pictures are synthetic" if study.space.sample_data is not None else ""),
        ("validation", str(facts.get("validation_split", ""))),
        ("test", tested),
        ("protocol", str(test.get("protocol", ""))),
        ("left out", f"{counted(len(left_out), 'training image')}: {named}" if left_out else ""),
        ("fingerprint", str(facts.get("data_fingerprint", ""))),
    ]
    return [row for row in rows if row[1]]


def cost_rows(study: Study, record: Study | None) -> list[tuple[str, str, str, str]]:
    """What was trained: runs, epochs and time, by the state of trials; the repeats; the sum."""
    groups = [(str(state), [t for t in study.trials() if t.state is state]) for state in TrialState]
    groups.append(("repeats of the best", [] if record is None else record.trials()))
    rows = [(f"{name} trials" if name in set(TrialState) else name, *_spent(runs)) for name, runs in groups if runs]
    return [*rows, ("together", *_spent([run for _, runs in groups for run in runs]))]


def _spent(runs: Iterable[TrialRecord]) -> tuple[str, str, str]:
    runs = list(runs)
    return f"{len(runs):,}", f"{sum(run.epochs for run in runs):,}", clock(sum(run.seconds for run in runs))


def cost_facts(study: Study) -> Rows:
    """Time on the clock, the pace, and what the winner's model costs."""
    reports = [epoch.report for trial in study.trials() for epoch in trial.reports]
    rows = [("time on the clock", clock(study.facts.get("elapsed_s", 0)))]
    if reports:
        rows.append(("an epoch, median", f"{median(report.seconds for report in reports):.1f} s"))
        rows.append(("training, median", f"{median(report.images_per_s for report in reports):,.0f} images/s"))
    row: dict[str, Any] = (study.facts.get("confirmation", {}).get("rows") or [{}])[0]
    return rows + [(f"the winner's {cost}", show_value(row[cost])) for cost in study.space.study.costs if cost in row]


def versions(study: Study) -> Rows:
    """Versions, commit, machine and seeds that the study began with."""
    known: dict[str, Any] = {}
    with suppress(FileNotFoundError, UserError):
        known = read_json(study.folder / ENVIRONMENT)
    config = study.space.base_config()
    rows = [(name, str(version)) for name, version in known.get("versions", {}).items() if version]
    rows += [(name, str(known[name])) for name in ("commit", "machine", "processor", "cpus") if known.get(name)]
    rows += [("gpus", ", ".join(known["gpus"]))] if known.get("gpus") else []
    seeds = f"seed {config.seed}, split_seed {config.split_seed}, sampler_seed {study.space.study.sampler_seed}"
    return [*rows, ("seeds", seeds)]


def texts(folder: Path) -> Rows:
    """The files that say what was searched and found: their names and what is in them."""
    files = [folder / name for name in (SPACE, BEST_CONFIG)]
    return [(file.name, file.read_text(encoding="utf-8", errors="replace")) for file in files if file.is_file()]


def retrained(folder: Path) -> tuple[list[str], list[list[str]]] | None:
    """Header and cells of tuning.retrain's table, the mean over seeds last; None where it was not run."""
    file = folder / "retrain" / "results.csv"
    if not file.is_file():
        return None
    frame = pd.read_csv(file)
    shown = {"mAP": "mAP", "rank1": "rank 1", "rank5": "rank 5", "rank10": "rank 10", "mINP": "mINP"}
    names = [name for name in shown if name in frame]
    rows = [[str(int(row["seed"])), *(f"{row[name]:.1%}" for name in names)] for _, row in frame.iterrows()]
    spread = [f"{frame[name].mean():.1%} ± {frame[name].std():.1%}" for name in names] if len(frame) > 1 else []
    return ["seed", *(shown[name] for name in names)], [*rows, *([["mean ± sd", *spread]] if spread else [])]
