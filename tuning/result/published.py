"""A study as runs that a logger can hold: one a trial, and one for the winner. Made from the record alone.

for run in runs_of(study):
    run.key, run.settings, run.curve  # "trial-7", {"margin": 0.3, ...}, [Point(1, {"val_mAP": 0.1}, 3.2), ...]
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reid_train.inference.evaluation_count import read_test_metrics
from reid_train.settings.config import TrainConfig
from tuning.record.study import Study
from tuning.record.trial import TrialRecord
from tuning.result.summary import headline

SUMMARY = "summary"
PLACES = {"data_dir"}
"""Settings that lead to images, and are not published."""
OF_TEST = ("mAP", "mAP_trapezoid", "rank1", "rank5", "rank10", "mINP")


class Point(NamedTuple):
    """What an epoch gave."""

    epoch: int
    """From 1, over all schedules of the trial."""
    figures: dict[str, float]
    seconds: float
    """Since the trial's first epoch began, pauses left out."""


@dataclass(frozen=True)
class Run:
    """What a logger calls a run."""

    key: str
    """trial-7, or summary: its name within the study."""
    state: str
    settings: dict[str, str | int | float | bool]
    curve: list[Point]
    final: dict[str, float] = field(default_factory=dict)
    note: str = ""
    """In words: a failure's cause, or the study's result."""

    @property
    def seconds(self) -> float:
        """That all of its epochs took."""
        return self.curve[-1].seconds if self.curve else 0.0

    @property
    def digest(self) -> str:
        """Of all that is published: the same means that nothing is new."""
        said = json.dumps([self.key, self.state, self.settings, self.curve, self.final, self.note])
        return hashlib.sha256(said.encode()).hexdigest()


def runs_of(study: Study) -> list[Run]:
    """A run for each trial that trained an epoch or ended, by number, and one for the winner where there is one."""
    runs = [_of_trial(study, trial) for trial in study.trials() if trial.reports or trial.cause]
    summary = _summary(study)
    return runs if summary is None else [*runs, summary]


def study_key(study: Study) -> str:
    """What tells this study from others of its name: the same wherever its folder lies."""
    return str(study.facts.get("storage", {}).get("folder") or study.folder.name)


def _of_trial(study: Study, trial: TrialRecord) -> Run:
    final: dict[str, float] = {"epochs": trial.epochs, "seconds": round(trial.seconds, 1), **trial.costs}
    if trial.score is not None:
        final |= {f"final_{study.space.study.metric}": trial.score, "final_rung": trial.rung}
    curve, seconds = list[Point](), 0.0
    for place, epoch in enumerate(trial.reports, start=1):
        seconds += epoch.report.seconds
        record = {"schedule": epoch.rung, **epoch.report.to_record()}
        curve.append(Point(place, _figures(record), round(seconds, 3)))
    cause = "" if trial.cause is None else str(trial.cause)
    return Run(f"trial-{trial.number}", str(trial.state), _plain(study.config(trial.number)), curve, final, cause)


def _summary(study: Study) -> Run | None:
    """The winner's."""
    rows = study.facts.get("confirmation", {}).get("rows")
    if not rows:
        return None
    row, metric = rows[0], study.space.study.metric
    parameters = {name: row[name] for name in study.space.searched if row[name] is not None}
    final = {f"expected_{metric}": row["mean"], f"low_{metric}": row["low"], f"high_{metric}": row["high"]}
    final |= {"runs": row["runs"]} | ({} if row["p_best"] is None else {"p_best": row["p_best"]})
    test = read_test_metrics(study.folder)
    for name in OF_TEST:
        if name in test:
            final[f"test_{name}"] = test[name]
        for end, bound in zip(("low", "high"), test.get("intervals", {}).get(name, ()), strict=False):
            final[f"test_{name}_{end}"] = bound
    settings = {**_plain(study.space.config(parameters)), "winner": row["configuration"]}
    return Run(SUMMARY, "finished", settings, [], final, "\n".join(headline(study)))


def _figures(record: dict[str, Any]) -> dict[str, float]:
    """The numbers; those of experts one by one. Losses that are no number are left out, as JSON has none."""
    figures = dict[str, float]()
    for name, value in record.items():
        if isinstance(value, list):
            figures |= {f"{name}/{place}": float(share) for place, share in enumerate(value)}
        elif isinstance(value, (int, float)) and value == value and abs(value) != float("inf"):
            figures[name] = value
    return figures


def _plain(config: TrainConfig) -> dict[str, str | int | float | bool]:
    """All settings, as loggers hold them."""
    values = config.model_dump(mode="json", exclude=PLACES)
    return {
        name: value if isinstance(value, (str, int, float)) else json.dumps(value) for name, value in values.items()
    }
