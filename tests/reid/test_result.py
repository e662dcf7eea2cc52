"""A study as a program reads it, compared with its record and its files."""

import pandas as pd
import pytest

import reid
from reid.result import Result
from tests.concluded_study import concluded_study
from tests.made_once import made_once
from tests.reports import epoch_report
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.space.read import read_space


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A study's folder, its search over; not to be changed."""
    return made_once(tmp_path_factory, "concluded", lambda place: concluded_study(place / "made") and None) / "made"


def test_frame_has_the_rows_of_trials_csv_with_their_types(folder):
    frame, table = reid.open_study(folder).frame(), pd.read_csv(folder / "trials.csv")
    assert list(frame) == list(table) and len(frame) == len(table)
    assert frame["number"].tolist() == table["number"].tolist()
    assert [str(state) for state in frame["state"]] == table["state"].tolist()
    assert frame["epochs"].dtype == "Int64" and frame["val_mAP"].dtype == "Float64"
    assert frame["learning_rate"].tolist() == pytest.approx(table["learning_rate"].tolist(), rel=1e-5)
    best = frame.nlargest(1, "val_mAP").iloc[0]
    assert best["val_mAP"] == pytest.approx(table["val_mAP"].max(), rel=1e-5)


def test_best_is_the_first_row_of_the_confirmation(folder):
    result, table = reid.open_study(folder), pd.read_csv(folder / "confirmation.csv")
    row = table.iloc[0]
    assert result.best.of == row["configuration"] and result.best.score == pytest.approx(row["mean"])
    assert result.best.interval == pytest.approx((row["low"], row["high"]))
    assert result.best.parameters["learning_rate"] == pytest.approx(row["learning_rate"])
    assert result.best.model == folder / "best"
    assert result.confirmation["configuration"].tolist() == table["configuration"].tolist()
    assert result.test["mAP"] == 0.4 and "winner: " in result.summary
    assert result.report is None and not result.running


def test_history_and_settings_are_those_of_the_trial(folder):
    result, study = reid.open_study(folder), Study(folder)
    history = result.history(0)
    assert history["val_mAP"].tolist() == [epoch.report.val_mAP for epoch in study.trial(0).reports]
    assert result.configurations.loc[3, "learning_rate"] == study.config(3).learning_rate
    assert result.config(3) == study.config(3)
    with pytest.raises(reid.UserError, match="has no trial 99"):
        result.history(99)


def test_a_study_that_has_just_begun_has_no_best(tmp_path, tiny_space):
    study = Study(tmp_path / "study", read_space(tiny_space))
    result = Result(study.folder)
    assert result.best is None and result.frame().empty and "no score yet" in repr(result)
    assert "<ul>" in result._repr_html_()
    study.add({"learning_rate": 0.05, "weight_decay": 0.0001})
    for epoch in (1, 2, 3):
        study.record(0, 3, epoch_report(epoch, val_mAP=0.2))
    study.finish(0, TrialState.COMPLETE)
    best = Result(study.folder).best
    assert (best.of, best.score, best.interval, best.model) == ("trial 0", 0.2, None, None)
    with pytest.raises(reid.UserError, match="holds no best"):
        reid.load_model(study.folder)


def test_what_a_notebook_shows_is_escaped(tmp_path):
    space = "search:\n  pretrained: ['/w/<script>alert(1)</script>.pth', none]\nstudy: {trials: 2, rungs: [3]}\n"
    (tmp_path / "space.yaml").write_text(space)
    study = Study(tmp_path / "<b>name", read_space(tmp_path / "space.yaml"))
    study.add({"pretrained": "/w/<script>alert(1)</script>.pth"})
    study.record(0, 3, epoch_report(3, val_mAP=0.2))
    study.finish(0, TrialState.COMPLETE)
    shown = Result(study.folder)._repr_html_()
    assert "<script" not in shown and "&lt;script&gt;" in shown and "<b>name" not in shown


def test_a_folder_without_a_study_is_an_exception(tmp_path):
    with pytest.raises(reid.UserError, match="holds no study"):
        reid.open_study(tmp_path)
