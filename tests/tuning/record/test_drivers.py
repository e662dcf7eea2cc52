"""Several drivers on one study in a PostgreSQL server that the tests start themselves."""

import threading
from dataclasses import replace

import pytest

from data.system.errors import UserError
from tests.postgres import server
from tests.reports import epoch_report
from tuning.decide.budget import Purse
from tuning.decide.policy import Policy
from tuning.record import drivers as team
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import Decision, TrialState
from tuning.run.messages import job_of
from tuning.run.searcher import StudySearcher
from tuning.space.read import read_space

pytest.importorskip("psycopg", reason="psycopg is not installed (the extra `postgresql`)")
PASSWORD = "hunter2-is-secret"


@pytest.fixture(scope="module")
def url():
    with server(PASSWORD) as address:
        yield address


@pytest.fixture
def drivers(url, tiny_space, tmp_path, tiny_data):
    """Two drivers' views of one new study, in folders of their own."""
    space, name = read_space(tiny_space, [], str(tiny_data)), tmp_path.name[-30:]
    made = [Study(tmp_path / side / name, space, server=(url, side)) for side in ("a", "b")]
    yield made
    for study in made:
        study.leave()


def report(epoch, score=0.5):
    return epoch_report(epoch, val_mAP=score)


def test_what_one_driver_does_the_other_sees_and_does_not_do_again(drivers):
    first, second = drivers
    with first.exclusive():
        number = first.add({"learning_rate": 0.01, "weight_decay": 1.0})
    with second.exclusive():
        assert second.trial(number).parameters == {"learning_rate": 0.01, "weight_decay": 1.0}
        assert not second.is_running(number) and second.in_state(TrialState.RUNNING) == [number]
    assert second.settle() == 0, "the other driver's trial is not this one's to settle"
    with first.exclusive():
        first.record(number, 2, report(1))
        first.record(number, 2, report(2, 0.7))
        first.decide(number, 2, Decision.PAUSED)
    with second.exclusive():
        assert second.trial(number).scores == {2: 0.7} and second.in_state(TrialState.PAUSED) == [number]
        assert [epoch.report.epoch for epoch in second.trial(number).reports] == [1, 2]
        second.go_on(number)
    with first.exclusive():
        assert first.trial(number).driver == "b" and not first.is_running(number)


def test_two_drivers_at_once_add_the_trials_that_were_asked_for_and_none_twice(drivers):
    def propose(study):
        study.space = replace(study.space, study=study.space.study.model_copy(update={"trials": 24}))
        policy = Policy(study, Purse(study, None))
        searcher = StudySearcher(policy, policy.job)
        while isinstance(found := searcher.suggest(""), dict):
            number = job_of(found).number
            mine.append((study.folder.parent.name, number))
            with study.exclusive():
                study.finish(number, TrialState.FAILED, Cause(Kind.ERROR, "only proposed"))

    mine: list[tuple[str, int]] = []
    threads = [threading.Thread(target=propose, args=[study]) for study in drivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(number for _, number in mine) == list(range(24))
    assert {side for side, _ in mine} == {"a", "b"}
    settings = [tuple(sorted(trial.parameters.items())) for trial in drivers[0].trials()]
    assert len(set(settings)) == len(settings), "no configuration was proposed twice"


def test_the_trials_of_a_driver_that_fell_silent_are_taken_over_and_it_lets_go_of_them(drivers, monkeypatch):
    first, second = drivers
    with first.exclusive():
        number = first.add({"learning_rate": 0.02, "weight_decay": 1.0})
        first.record(number, 2, report(1))
    with second.exclusive():
        assert second.in_state(TrialState.RUNNING) == [number]
    first.leave()
    monkeypatch.setattr(team, "DEAD_AFTER_S", 0.0)
    with second.exclusive():
        assert second.in_state(TrialState.WAITING) == [number]
        assert len(second.trial(number).reports) == 1, "an epoch that had not ended a rung is known too"
        second.go_on(number)
    monkeypatch.undo()
    with first.exclusive():
        assert not first.is_running(number)
    assert first.settle() == 0


def test_a_driver_that_comes_back_owns_what_it_left_running(drivers, url):
    first, _ = drivers
    with first.exclusive():
        number = first.add({"learning_rate": 0.03, "weight_decay": 1.0})
    first.leave()
    again = Study(first.folder, first.space, server=(url, "a"))
    assert again.running_here() == [number] and again.settle() == 1
    again.leave()


def test_the_folder_gets_a_copy_that_other_commands_read_and_no_search_goes_on_with(drivers, tiny_space, tiny_data):
    study, _ = drivers
    with study.exclusive():
        number = study.add({"learning_rate": 0.04, "weight_decay": 1.0})
        study.record(number, 2, report(1))
    study.write_copy()
    assert Study(study.folder).trials() == study.trials()
    with pytest.raises(UserError, match=r"is a copy; .* postgresql://ann@127.0.0.1.* --study-storage") as refused:
        Study(study.folder, study.space)
    assert PASSWORD not in str(refused.value)
    assert PASSWORD.encode() not in (study.folder / "study.db").read_bytes()


def test_a_folder_with_a_study_of_its_own_is_not_mixed_with_one_in_a_server(url, tiny_space, tiny_data, tmp_path):
    space = read_space(tiny_space, [], str(tiny_data))
    Study(tmp_path / "own", space)
    with pytest.raises(UserError, match="is a study of this folder's own; choose another --name"):
        Study(tmp_path / "own", space, server=(url, "a"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("mysql://ann:geheim@127.0.0.1/x", r"mysql://ann@127.0.0.1/x: postgresql://USER@HOST/DATABASE is needed"),
        ("postgresql://ann:geheim@127.0.0.1:1/x", "postgresql://ann@127.0.0.1:1/x: .*127.0.0.1"),
    ],
)
def test_a_server_that_there_is_not_is_one_line_without_the_password(wrong, message, tiny_space, tiny_data, tmp_path):
    with pytest.raises(UserError, match=message) as refused:
        Study(tmp_path / "study", read_space(tiny_space, [], str(tiny_data)), server=(wrong, "a"))
    assert "geheim" not in str(refused.value) and "\n" not in str(refused.value)


def test_a_server_that_goes_away_is_one_line_with_the_way_on(tiny_space, tiny_data, tmp_path):
    with server(PASSWORD) as address:
        study = Study(tmp_path / "study", read_space(tiny_space, [], str(tiny_data)), server=(address, "a"))
        study.leave()
    going_on = pytest.raises(UserError, match="give the same command when the server answers again")
    with going_on as refused, team.server_errors(address), study.exclusive():
        pass
    assert "\n" not in str(refused.value) and PASSWORD not in str(refused.value)
