"""Two searches on one study in a PostgreSQL server, one of which is killed and comes back."""

import json
import os
import signal
import time

import optuna
import pytest

from tests.commands import start_command
from tests.postgres import server
from tuning.record.drivers import engine_url
from tuning.record.study import Study
from tuning.record.trial import ENDED, record_of

pytest.importorskip("psycopg", reason="psycopg is not installed (the extra `postgresql`)")
PASSWORD = "hunter2-is-secret"


@pytest.mark.reliability
def test_two_searches_share_a_study_and_one_is_killed(tiny_space, tiny_data, tmp_path):
    with server(PASSWORD) as url:
        common = ["--space", tiny_space, "--data-dir", tiny_data, "--study-storage", url, "--name", "shared"]
        common += ["--trials", 6, "--cpus-per-trial", 1, "--cache-dir", tmp_path / "cache"]
        common += ["--storage", tmp_path / "storage", "--results"]
        killed, lives = (start_command("tuning.search", *common, tmp_path / side) for side in ("killed", "lives"))
        watched, known = None, []
        while not any(trial.reports and trial.driver == watched for trial in known):
            time.sleep(0.5)
            assert killed.poll() is None, killed.communicate()[0]
            name = tmp_path / "killed/shared/search.driver"
            if watched is None and name.is_file():
                watched = name.read_text().strip()
            if watched is not None and (tmp_path / "killed/shared/environment.json").is_file():
                known = trials_in(url, tmp_path)
        before = {trial.number: trial.reports for trial in known}
        os.killpg(killed.pid, signal.SIGKILL)
        text = killed.communicate()[0] + lives.communicate(timeout=500)[0]
        assert lives.returncode == 0, text
        again = start_command("tuning.search", *common, tmp_path / "killed")
        text += again.communicate(timeout=300)[0]
        assert again.returncode == 0, text

        first, second = (Study(tmp_path / side / "shared") for side in ("killed", "lives"))
        assert [trial.number for trial in first.trials()] == list(range(6))
        assert first.trials() == second.trials()
        assert {trial.state for trial in first.trials()} <= ENDED
        for trial in first.trials():
            places = [(epoch.rung, epoch.report.epoch) for epoch in trial.reports]
            assert places == sorted(set(places)), "no epoch twice"
            assert len(trial.reports) >= len(before.get(trial.number, []))
        sides = [json.loads((tmp_path / s / "shared" / "test_metrics.json").read_text()) for s in ("killed", "lives")]
        assert sides[0] == sides[1] and len(sides[0]["evaluations"]) == 1, "the test images were looked at once"
        for side in ("killed", "lives"):
            for file in (tmp_path / side).rglob("*"):
                assert not file.is_file() or PASSWORD.encode() not in file.read_bytes(), file
        assert PASSWORD not in text


def trials_in(url, tmp_path):
    """The study's rows as the server has them now."""
    study = optuna.load_study(study_name="shared/study", storage=engine_url(url))
    names = {parameter.key: parameter.name for parameter in Study(tmp_path / "killed/shared").space.parameters}
    return [record_of(row, names) for row in study.get_trials()]
