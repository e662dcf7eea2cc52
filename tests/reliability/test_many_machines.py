"""A search on a Ray cluster of several nodes with folders of their own: one leaves in mid-trial, another joins."""

import time

import pytest

from tests.clusters import cluster
from tests.commands import start_command
from tests.tiny_space import TINY_FIXED
from tuning.record.study import Study
from tuning.record.trial import TrialState

SPACE = f"""\
{TINY_FIXED}search:
  learning_rate: {{low: 1e-3, high: 0.1, log: true}}
study:
  trials: 3
  rungs: [10]
  state_interval: 0.1s  # keeps a state at each epoch
"""


@pytest.mark.reliability
def test_trials_of_a_lost_machine_go_on_from_their_states_on_one_that_joined(tiny_data, tmp_path):
    (tmp_path / "long.yaml").write_text(SPACE)
    command = ["--space", tmp_path / "long.yaml", "--data-dir", tiny_data, "--results", tmp_path / "results"]
    command += ["--cache-dir", tmp_path / "cache", "--storage", tmp_path / "storage", "--gpus-per-trial", 0.5]
    folder = tmp_path / "results" / "long"
    with cluster() as nodes:
        lost = nodes.add(num_cpus=2, num_gpus=1)  # room for two trials with half a GPU each
        search = start_command("tuning.search", *command, "--address", nodes.address)
        before = reports_when(lambda known: sum(len(each) >= 2 for each in known.values()) == 2, folder, search)
        running = {number for number, each in before.items() if len(each) < 10}
        assert len(running) == 2, "two trials with half a GPU each run side by side"
        joined = nodes.add(num_cpus=2, num_gpus=1)
        before = reports_when(lambda known: True, folder, search)
        nodes.remove(lost)
        said = search.communicate(timeout=400)[0]
        assert search.returncode == 0, said
        assert joined in nodes.cluster.worker_nodes
    trials = Study(folder).trials()
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert all(trial.state is TrialState.COMPLETE and trial.epochs == 10 for trial in trials), said
    for number, reports in before.items():
        # Had it been trained again, an epoch would have taken other seconds. Its last one may have been told before
        # the machine was lost and its state kept before that: it is never trained twice.
        assert trials[number].reports[: len(reports)] == reports, f"trial {number} went on from its last state"
    assert "goes on from" in said


def reports_when(enough, folder, search):
    """The reports of each trial once they are enough; the search must live."""
    for _ in range(1200):
        time.sleep(0.1)
        assert search.poll() is None, search.communicate()[0]
        if (folder / "environment.json").is_file():
            known = {trial.number: trial.reports for trial in Study(folder).trials()}
            if enough(known):
                return known
    raise AssertionError("two minutes have passed")
