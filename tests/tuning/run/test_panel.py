"""The panel that a search's record alone gives: what runs, the best, the time that is left."""

import io
import time

import pytest
from rich.console import Console

from tests.reports import epoch_report
from tuning.decide.budget import Purse
from tuning.decide.pareto import best_trials
from tuning.record.study import Study
from tuning.record.trial import Decision, TrialState
from tuning.run.panel import curve, ends_at, highest_so_far, panel, running
from tuning.space.read import read_space

SPACE = """\
search: {learning_rate: {low: 0.001, high: 0.1, log: true}, margin: [0.1, 0.3, soft]}
study: {epochs: 40, rungs: [2, 4]}
"""


@pytest.fixture
def purse(tmp_path):
    """Seven trials that ended their first schedule, and one in the first epoch but one of its second."""
    (tmp_path / "space.yaml").write_text(SPACE)
    space = read_space(tmp_path / "space.yaml")
    study = Study(tmp_path / "[red]a study", space, in_memory=True)
    for number, score in enumerate((0.2, 0.1, 0.4, 0.3, 0.15, 0.25, 0.35)):
        study.add({"learning_rate": 0.001 * (number + 1), "margin": 0.3}, {}, {})
        for epoch in (1, 2):
            study.record(number, 2, epoch_report(epoch, num_epochs=2, val_mAP=score * epoch / 2, seconds=10.0))
        study.decide(number, 2, Decision.PAUSED)
    study.go_on(2)
    study.record(2, 4, epoch_report(1, num_epochs=4, val_mAP=0.2, seconds=30.0, images_per_s=55.0))
    return Purse(study, Study("repeats", space, name="repeats", in_memory=True), 1)


def text(purse, width=80, **options):
    console = Console(file=io.StringIO(), width=width)
    console.print(panel(purse, width=width, **options))
    return console.file.getvalue()


def test_what_runs_says_its_epochs_and_the_time_it_still_takes(purse):
    (one,) = running(purse)
    assert str(one) == "trial 2: 1 of 4 epochs, 1:30 left"  # three epochs of its own 30 s
    (one,) = running(purse, {2: 20.0})
    assert one.left_s == 70.0


def test_a_repeat_is_called_what_it_repeats(purse):
    purse.study.interrupt(2)
    purse.record.add({}, {"of": "trial 2", "parameters": {}, "seed": 9})
    assert [str(one).split(",")[:2] for one in running(purse)] == [["trial 2", " seed 9: 0 of 4 epochs"]]


def test_it_fits_eighty_columns_and_shows_names_as_they_are(purse):
    lines = text(purse).splitlines()
    assert {len(line) for line in lines} == {80}
    assert "search [red]a study" in lines[0]
    shown = " ".join(text(purse).split())
    assert "trials 7 of about" in shown and "trial 2: 1 of 4 epochs" in shown
    assert "55 images/s" in shown and "; ends about " in shown
    listed = [line.split("trial ")[1].split(",")[0] for line in lines if "epochs: learning_rate" in line]
    assert listed == [str(trial.number) for trial in best_trials(purse.study)[:5]], "the five of whom most is expected"


def test_it_is_plain_where_the_terminal_knows_ascii_alone(purse):
    inside = "".join(line[1:-1] for line in text(purse, plain=True).splitlines()[1:-1])
    assert inside.isascii()


def test_the_curve_rises_to_the_highest_score_so_far(purse):
    assert highest_so_far(purse.study.trials()) == [0.2, 0.2, 0.4, 0.4, 0.4, 0.4, 0.4]
    assert curve([0, 0.5, 1.0], 10) == "▁▅█"
    assert curve([], 10) == "" and curve([0.3], 10) == "▁"
    assert curve([*range(100)], 4, plain=True) == "_-*@"  # each the last of its quarter


def test_a_study_without_trials_has_a_panel(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    study = Study(tmp_path / "study", read_space(tmp_path / "space.yaml"), in_memory=True)
    assert "between trials" in text(Purse(study, None))


@pytest.fixture
def in_utc():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_the_end_is_a_time_of_day(purse, monkeypatch, in_utc):
    monkeypatch.setattr(Purse, "expected_s", lambda self: self.study.elapsed_s + 90 * 60)
    morning = 1_700_000_000 // 86400 * 86400 + 9 * 3600
    assert ends_at(purse, morning).startswith(("10:29", "10:30"))
    assert ends_at(purse, morning + 14 * 3600).split()[1] in ("00:29", "00:30"), "tomorrow: the day is said"


def test_states_are_counted(purse):
    assert f"1 {TrialState.RUNNING}, 6 {TrialState.PAUSED}" in " ".join(text(purse).split())
