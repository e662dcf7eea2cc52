"""The harness sees what it looks for: each fault, made by hand, is counted as that fault and no other."""

from dataclasses import replace

import pytest

from tests.reliability.record import Findings, Snapshot, compare, rows_of
from tests.reliability.searches import write_space
from tuning.record.study import Study
from tuning.space.read import read_space


@pytest.fixture
def study(tmp_path):
    """Two trials that were trained to their ends, one of them in two sessions."""
    made = Study(tmp_path / "study", read_space(write_space(tmp_path / "space.yaml", trials=2)))
    for number in range(2):
        made.add({"learning_rate": 0.01, "weight_decay": 1.0})
        for epoch in (1, 2, 3):
            figures = {"val_mAP": 0.1, "loss": 1.0 / epoch, "images_per_s": 9.0, "seconds": epoch + number / 10}
            made.record(number, 3, {"epoch": epoch, **figures})
        made.finish(number, "pruned", "z")
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
    return replace(row, reports=[{**r, **changes} if r["epoch"] == epoch else r for r in row.reports])


def test_each_fault_is_seen(study):
    rows = rows_of(study)
    first, second = ("study", 0), ("study", 1)
    assert findings(study, Snapshot({**rows, first: again(rows[first], 2, seconds=9.0)}, {}))[0] == {"trained_twice"}
    assert findings(study, Snapshot({**rows, first: replace(rows[first], state="complete")}, {}))[0] == {"lost"}
    assert findings(study, Snapshot({**rows, ("study", 2): rows[first]}, {}))[0] == {"lost"}
    assert findings(study, Snapshot(rows, {}), "[0:10] trial 0 complete: x\n")[0] == {"lost"}
    twice = "[0:10] trial 0 pruned: x\n" * 2
    assert findings(study, Snapshot(rows, {}), twice)[0] == {"trained_twice"}

    running = replace(again(rows[second], 2, seconds=9.0), state="running")
    names, found = findings(study, Snapshot({**rows, second: running}, {second: 1}))
    assert names == {"repeated_epochs"} and found.repeated_epochs == 1, "the state was that of epoch 1"
    assert findings(study, Snapshot({**rows, second: running}, {second: 2}))[0] == {"repeated_epochs", "problems"}
    otherwise = replace(again(rows[second], 2, seconds=9.0, loss=7.0), state="running")
    assert findings(study, Snapshot({**rows, second: otherwise}, {second: 1}))[0] == {"repeated_epochs", "problems"}


def test_a_trial_left_running_one_too_many_and_a_missing_epoch_are_seen(study):
    made = Study(study, read_space(write_space(study.parent / "space.yaml", trials=2)))
    number = made.add({"learning_rate": 0.01, "weight_decay": 1.0})
    assert findings(study, Snapshot({}, {}))[0] == {"left_running", "problems"}
    made.record(number, 3, {"epoch": 3, "val_mAP": 0.1, "seconds": 1.0, "images_per_s": 9.0, "loss": 1.0})
    made.finish(number, "pruned", "z")
    found = findings(study, Snapshot({}, {}))[1]
    assert any("epochs [(3, 3)]" in problem for problem in found.problems)
