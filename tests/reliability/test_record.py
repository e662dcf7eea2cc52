"""The harness sees what it looks for: each fault, made by hand, is counted as that fault and no other."""

from dataclasses import replace

import pytest
import torch

from tests.reliability.record import Findings, Snapshot, compare, rows_of, snapshot
from tests.reliability.searches import write_space
from tests.reports import epoch_report
from tuning.record.cause import Cause, Kind
from tuning.record.folders import rung_folder, trial_folder
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.space.read import read_space

NOT_AMONG_THE_BEST = Cause(Kind.NOT_PROMOTED, "z")


@pytest.fixture
def study(tmp_path):
    """Two trials that were trained to their ends, one of them in two sessions."""
    made = Study(tmp_path / "study", read_space(write_space(tmp_path / "space.yaml", trials=2)))
    for number in range(2):
        made.add({"learning_rate": 0.01, "weight_decay": 1.0})
        for epoch in (1, 2, 3):
            made.record(number, 3, epoch_report(epoch, val_mAP=0.1, loss=1.0 / epoch, seconds=epoch + number / 10))
        made.finish(number, TrialState.PRUNED, NOT_AMONG_THE_BEST)
    return made.folder


def findings(folder, moment, said=""):
    found = Findings()
    compare(folder, [moment], said, 2, found)
    named = ("lost", "trained_twice", "left_running", "repeated_epochs", "problems")
    return {name for name in named if getattr(found, name)}, found


def test_a_study_that_went_well_shows_nothing(study):
    rows = rows_of(study)
    said = "[0:10] trial 0 pruned: z\n[0:20] trial 1 pruned: z\n"
    names, found = findings(study, Snapshot(rows, {}), said)
    assert names == set() and found.finished_before_kills == 2


def again(row, epoch, **changes):
    """The row with that epoch's report as another training of it gave it."""
    changed = [e._replace(report=replace(e.report, **changes)) if e.report.epoch == epoch else e for e in row.reports]
    return replace(row, reports=changed)


def test_each_fault_is_seen(study):
    rows = rows_of(study)
    first, second = ("study", 0), ("study", 1)
    assert findings(study, Snapshot({**rows, first: again(rows[first], 2, seconds=9.0)}, {}))[0] == {"trained_twice"}
    assert findings(study, Snapshot({**rows, first: replace(rows[first], state=TrialState.COMPLETE)}, {}))[0] == {
        "lost"
    }
    assert findings(study, Snapshot({**rows, ("study", 2): rows[first]}, {}))[0] == {"lost"}
    assert findings(study, Snapshot(rows, {}), "[0:10] trial 0 complete: x\n")[0] == {"lost"}
    twice = "[0:10] trial 0 pruned: x\n" * 2
    assert findings(study, Snapshot(rows, {}), twice)[0] == {"trained_twice"}

    running = replace(again(rows[second], 2, seconds=9.0), state=TrialState.RUNNING)
    names, found = findings(study, Snapshot({**rows, second: running}, {second: 1}))
    assert names == {"repeated_epochs"} and found.repeated_epochs == 1, "the state was that of epoch 1"
    assert findings(study, Snapshot({**rows, second: running}, {second: 2}))[0] == {"repeated_epochs", "problems"}
    otherwise = replace(again(rows[second], 2, seconds=9.0, loss=7.0), state=TrialState.RUNNING)
    assert findings(study, Snapshot({**rows, second: otherwise}, {second: 1}))[0] == {"repeated_epochs", "problems"}


def write_state(folder, epoch, **figures):
    """The state of the schedule to 6 epochs, which begins after 3, at an epoch of the trial."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"report": epoch_report(epoch - 3, **figures).to_record()}, folder / "state.pt")


def test_an_epoch_that_a_second_session_has_saved_and_not_told_may_replace_that_of_the_first(tmp_path):
    """The first session trained epoch 4 and died before a state of it was written."""
    made = Study(tmp_path / "study", read_space(write_space(tmp_path / "space.yaml", trials=2)))
    made.add({"learning_rate": 0.01, "weight_decay": 1.0})
    for epoch in (1, 2, 3, 4):
        made.record(0, 6 if epoch == 4 else 3, epoch_report(epoch, val_mAP=0.1, seconds=float(epoch)))
    (made.folder / "environment.json").write_text("{}")
    place = rung_folder(trial_folder(made.folder, 0), 6)
    key = ("study", 0)
    write_state(place, 4, seconds=4.5)
    assert snapshot(made.folder).saved_epoch == {key: 3}, "the second session trained it too, which is not told yet"
    made.record(0, 6, epoch_report(4, val_mAP=0.1, seconds=4.5))
    moment = snapshot(made.folder)
    assert moment.saved_epoch == {key: 4}, "now it is: a third training of it would be a fault"
    made.record(0, 6, epoch_report(4, val_mAP=0.1, seconds=4.7))
    assert any("in spite of the state of 4" in problem for problem in findings(made.folder, moment)[1].problems)


def test_a_trial_left_running_one_too_many_and_a_missing_epoch_are_seen(study):
    made = Study(study, read_space(write_space(study.parent / "space.yaml", trials=2)))
    number = made.add({"learning_rate": 0.01, "weight_decay": 1.0})
    assert findings(study, Snapshot({}, {}))[0] == {"left_running", "problems"}
    made.record(number, 3, epoch_report(3, val_mAP=0.1))
    made.finish(number, TrialState.PRUNED, NOT_AMONG_THE_BEST)
    found = findings(study, Snapshot({}, {}))[1]
    assert any("epochs [(3, 3)]" in problem for problem in found.problems)
