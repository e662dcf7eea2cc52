"""A real search whose disk goes away while it runs stops, and goes on with all its trials when the disk is back."""

import re
import shutil

import pytest

from tests.commands import start_command
from tests.tiny_space import TINY_FIXED
from tuning.record.study import Study
from tuning.record.trial import TrialState

SPACE = f"""\
{TINY_FIXED}search:
  learning_rate: {{low: 1e-3, high: 1e-1, log: true}}
study: {{trials: 8, rungs: [2, 3]}}
"""


@pytest.mark.reliability
def test_a_disk_that_is_unmounted_costs_no_trial(tmp_path, tiny_data):
    (tmp_path / "space.yaml").write_text(SPACE)
    cache, disk, gone = tmp_path / "disk" / "cache", tmp_path / "disk", tmp_path / "gone"
    images = shutil.copytree(tiny_data, disk / "market")
    command = ["--space", tmp_path / "space.yaml", "--data-dir", images, "--results", tmp_path / "results"]
    command += ["--cache-dir", cache, "--name", "one", "--set", "num_workers=0"]
    search = start_command("tuning.search", *command)
    for line in search.stdout:
        if line.startswith("plan:"):
            disk.rename(gone)  # images and decoded pixels
            break
    said = search.communicate(timeout=300)[0]
    assert search.returncode == 2 and "Traceback" not in said, said
    assert re.search(r"error: \d+ trials failed alike and none has trained since: .*give the same command", said), said
    states = {trial.state for trial in Study(tmp_path / "results" / "one").trials()}
    assert states == {TrialState.WAITING}
    shutil.rmtree(disk, ignore_errors=True)  # what a trial may have made there
    gone.rename(disk)
    again = start_command("tuning.search", *command)
    said = again.communicate(timeout=400)[0]
    assert again.returncode == 0, said
    trials = Study(tmp_path / "results" / "one").trials()
    assert len(trials) == 8 and all(trial.scores for trial in trials)
