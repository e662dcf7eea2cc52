"""What a study's folder holds at one moment, and whether what it holds in the end agrees with that and with itself."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import load_checkpoint
from reid_train.measure.epoch_report import EpochReport
from tuning.confirm.candidates import DEFAULT
from tuning.record.folders import BEST, BEST_LABEL
from tuning.record.study import Study
from tuning.record.trial import ENDED, TrialEpoch, TrialRecord, TrialState

Key = tuple[str, int]
"""The record ("study" or "repeats") and the number of a row in it."""
TOLD = re.compile(r"\] (trial \d+|(?:default|trial \d+), seed \d+) (complete|pruned|failed): ")


@dataclass(frozen=True)
class Snapshot:
    """The rows, and the last epoch of each unfinished one that must not be trained again."""

    rows: dict[Key, TrialRecord]
    saved_epoch: dict[Key, int]


@dataclass
class Findings:
    """What was not as it should be, over all kills."""

    finished_before_kills: int = 0
    """Trials and runs that had ended at some kill."""
    lost: list[str] = field(default_factory=list)
    trained_twice: list[str] = field(default_factory=list)
    left_running: list[str] = field(default_factory=list)
    repeated_epochs: int = 0
    """Epochs after the last saved state, trained once more: the price of a kill."""
    problems: list[str] = field(default_factory=list)


def rows_of(folder: Path) -> dict[Key, TrialRecord]:
    rows = {("study", row.number): row for row in Study(folder).trials()}
    with suppress(UserError):  # there are none yet
        rows |= {("repeats", row.number): row for row in Study(folder, name="repeats").trials()}
    return rows


def snapshot(folder: Path) -> Snapshot:
    """To be taken where environment.json is there: opening a data base that is being made disturbs its making.

    A search may go on meanwhile. The files come first: then the record knows all that was trained before they were
    written.
    """
    files = {}
    for record, place in (("study", folder / "trials"), ("repeats", folder / "repeats")):
        files |= {(record, int(each.name)): saved_in(each) for each in place.glob("*")}
    rows = rows_of(folder)
    unfinished = [key for key, row in rows.items() if row.state not in ENDED]
    return Snapshot(rows, {key: lasting_epoch(rows[key], files.get(key)) for key in unfinished})


def saved_in(folder: Path) -> TrialEpoch | None:
    """The epoch that the files of a trial or repeat stand at, with rungs [3, 6] and promotion continue: the schedule
    to 6 begins after 3 epochs. None where they hold none."""
    found = list[TrialEpoch]()
    for schedule in folder.glob("*-epochs"):
        ends = int(schedule.name.split("-")[0])
        with suppress(FileNotFoundError):  # the search goes on
            if (schedule / "model.safetensors").is_file():
                report = load_checkpoint(schedule).metrics
            else:
                report = torch.load(schedule / "state.pt", weights_only=True)["report"]
            own = EpochReport.from_record(report)
            found.append(TrialEpoch(ends, replace(own, epoch=own.epoch + (3 if ends == 6 else 0))))
    return max(found, key=lambda epoch: epoch.report.epoch, default=None)


def lasting_epoch(row: TrialRecord, saved: TrialEpoch | None) -> int:
    """The last epoch on record that is never trained again; 0 for none.

    A process writes its state before it tells the epoch. Until the driver has heard of it, the record may hold that
    epoch as an earlier session trained it, after the last state that was written then: this is replaced.
    """
    if saved is None:
        return 0
    number = saved.report.epoch
    return number if _stamp(saved) in map(_stamp, row.reports) else number - 1


def compare(folder: Path, snapshots: list[Snapshot], said: str, trials: int, found: Findings) -> None:
    """Adds to `found` what the finished study shows when it is held against what was known at each kill."""
    final = rows_of(folder)
    numbers = sorted(number for record, number in final if record == "study")
    if numbers != list(range(trials)):
        found.problems.append(f"{folder}: trials {numbers} instead of {trials}")
    found.left_running += [
        str(key) for key, row in final.items() if row.state in (TrialState.RUNNING, TrialState.WAITING)
    ]
    ended: set[Key] = set()
    repeated: set[tuple[Any, ...]] = set()
    for moment in snapshots:
        for key, before in moment.rows.items():
            if key not in final:
                found.lost.append(f"{folder} {key}")
            elif before.state in ENDED:
                ended.add(key)
                _compare_finished(f"{folder} {key}", before, final[key], found)
            else:
                of = f"{folder} {key}"
                for again in _compare_unfinished(of, before, final[key], moment.saved_epoch[key], found):
                    repeated.add((key, *again))
    found.finished_before_kills += len(ended)
    found.repeated_epochs += len(repeated)
    _compare_told(folder, said, final, found)
    for key, row in final.items():
        _check_epochs(f"{folder} {key}", row, found)


def _compare_finished(what: str, before: TrialRecord, after: TrialRecord, found: Findings) -> None:
    if [*map(_stamp, after.reports)] != [*map(_stamp, before.reports)]:
        found.trained_twice.append(what)
    elif after != before:
        found.lost.append(f"{what}: was {before.state}, is {after.state}")


def _compare_unfinished(
    what: str, before: TrialRecord, after: TrialRecord, saved_epoch: int, found: Findings
) -> list[tuple[Any, ...]]:
    """Gives the epochs that were trained once more; those that a state had behind it must not have been."""
    again = []
    then = {(epoch.rung, epoch.report.epoch): epoch for epoch in after.reports}
    if after.parameters != before.parameters:
        found.lost.append(f"{what}: other parameters")
    for epoch in before.reports:
        later, number = then.get((epoch.rung, epoch.report.epoch)), epoch.report.epoch
        if later is None:
            found.lost.append(f"{what}: epoch {number}")
        elif _stamp(later) != _stamp(epoch):
            again.append(_stamp(epoch))
            if number <= saved_epoch:
                found.problems.append(f"{what}: epoch {number} again, in spite of the state of {saved_epoch}")
            if (later.report.loss, later.report.val_mAP) != (epoch.report.loss, epoch.report.val_mAP):
                found.problems.append(f"{what}: epoch {number} came out otherwise the second time")
    return again


def _stamp(epoch: TrialEpoch) -> tuple[Any, ...]:
    """Tells one training of an epoch from another: no two take the same time."""
    return epoch.rung, epoch.report.epoch, epoch.report.seconds, epoch.report.images_per_s


def _compare_told(folder: Path, said: str, final: dict[Key, TrialRecord], found: Findings) -> None:
    """What the command said of trials that ended, in all of its sessions, is on record."""
    names: dict[str, str] = {_name(key, row): row.state for key, row in final.items()}
    told: dict[str, str] = {}
    for name, state in TOLD.findall(said):
        if name in told:
            found.trained_twice.append(f"{folder} {name}: told {told[name]}, then {state}")
        told[name] = state
        if names.get(name) != state:
            found.lost.append(f"{folder} {name}: told {state}, is {names.get(name)}")


def _name(key: Key, row: TrialRecord) -> str:
    return f"trial {row.number}" if key[0] == "study" else f"{row.notes['of']}, seed {row.notes['seed']}"


def _name_of(folder: Path, trial: TrialRecord) -> str:
    """What the confirmation calls a trial."""
    default = Study(folder).space.default
    return DEFAULT if {**default, **trial.parameters} == default else f"trial {trial.number}"


def _check_epochs(what: str, row: TrialRecord, found: Findings) -> None:
    """Every epoch of a trial that was trained to its end is there once."""
    if row.state is TrialState.FAILED:
        return
    continued = [(3, 1), (3, 2), (3, 3), (6, 4), (6, 5), (6, 6)][: row.rung]
    if (epochs := [(epoch.rung, epoch.report.epoch) for epoch in row.reports]) != continued:
        found.problems.append(f"{what}: epochs {epochs}")


def check_files(folder: Path, found: Findings) -> None:
    """The files that people read say what the record says."""
    rows = rows_of(folder)
    trials = [row for (record, _), row in sorted(rows.items()) if record == "study"]
    table = pd.read_csv(folder / "trials.csv", keep_default_na=False)
    agree = [
        (table["number"].tolist(), [row.number for row in trials]),
        (table["state"].tolist(), [row.state for row in trials]),
        (table["cause"].tolist(), ["" if row.cause is None else str(row.cause) for row in trials]),
        (table["epochs"].tolist(), [row.epochs for row in trials]),
        ([f"{float(v):.5f}" if v else "" for v in table["val_mAP"].astype(str)],
         ["" if row.score is None else f"{float(f'{row.score:.6g}'):.5f}" for row in trials]),
        ([len(pd.read_csv(folder / "history" / f"{row.number}.csv")) for row in trials if row.epochs],
         [row.epochs for row in trials if row.epochs]),
    ]  # fmt: skip
    found.problems += [f"{folder}: trials.csv or history: {one} is not {other}" for one, other in agree if one != other]
    label = json.loads((folder / BEST / BEST_LABEL).read_text())
    weights = load_checkpoint(folder / BEST)
    runs = [row for (record, _), row in rows.items() if record == "repeats" and row.state is TrialState.COMPLETE]
    of_trial = {_name_of(folder, row): row for row in trials}
    confirmed = pd.read_csv(folder / "confirmation.csv")
    for line in confirmed.to_dict("records"):
        if not line["runs"]:  # the default, which was not trained so long
            continue
        of = line["configuration"]
        known = [of_trial[of], *(run for run in runs if run.notes["of"] == of)]
        if (shown := str(line["scores"]).split()) != (scores := [f"{run.score or 0:.6f}" for run in known]):
            found.problems.append(f"{folder}: confirmation.csv: {shown} is not {scores}")
    if label["of"] != confirmed["configuration"][0]:
        found.problems.append(f"{folder}: best/ is {label['of']}, not {confirmed['configuration'][0]}")
    winners = [run for run in runs if run.notes["of"] == label["of"]]
    best = next((run for run in winners if run.notes["seed"] == label["seed"]), of_trial.get(label["of"]))
    if best is None or weights.metrics["val_mAP"] != best.score or label["score"] != best.score:
        found.problems.append(f"{folder}: best/ scored {weights.metrics['val_mAP']}, the record has {best}")
    test = json.loads((folder / "test_metrics.json").read_text())
    if test.get("best") != label or not 0 < test["mAP"] <= 1 or len(test["evaluations"]) != 1:
        found.problems.append(f"{folder}: test_metrics.json is not of best/, or was counted wrongly: {test}")
