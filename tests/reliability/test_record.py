"""The harness sees what it looks for: each fault, made by hand, is counted as that fault and no other."""

from dataclasses import replace

import pytest

from tests.reliability.record import Findings, Snapshot, compare, rows_of
from tests.reliability.searches import write_space
from tests.reports import epoch_report
from tuning.record.cause import Cause, Kind
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


def test_a_trial_left_running_one_too_many_and_a_missing_epoch_are_seen(study):
    made = Study(study, read_space(write_space(study.parent / "space.yaml", trials=2)))
    number = made.add({"learning_rate": 0.01, "weight_decay": 1.0})
    assert findings(study, Snapshot({}, {}))[0] == {"left_running", "problems"}
    made.record(number, 3, epoch_report(3, val_mAP=0.1))
    made.finish(number, TrialState.PRUNED, NOT_AMONG_THE_BEST)
    found = findings(study, Snapshot({}, {}))[1]
    assert any("epochs [(3, 3)]" in problem for problem in found.problems)
