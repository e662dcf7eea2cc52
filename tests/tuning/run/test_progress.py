"""What a search shows while it runs: lines, and on a terminal a panel (test_panel.py)."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from tests.reports import epoch_report
from tests.without_ray import StubTrial, tell
from tuning.decide.budget import Purse
from tuning.decide.policy import Policy
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.run.messages import EpochEnded, Failed
from tuning.run.progress import Progress
from tuning.run.resources import Resources
from tuning.run.scheduler import RungScheduler
from tuning.space.read import read_space

SPACE = """\
search: {learning_rate: [0.001, 0.002, 0.005, 0.01, 0.02]}
study: {trials: 4, rungs: [1, 2]}
"""


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    study = Study(tmp_path / "study", read_space(tmp_path / "space.yaml"), in_memory=True)
    return Policy(study, Purse(study, None))


@pytest.fixture(params=[False, True], ids=["lines", "terminal"])
def shown(request, policy, monkeypatch):
    """A display, and what it has written to."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=request.param, width=300)
    monkeypatch.setattr("tuning.run.progress.open_console", lambda: console)
    return Progress(policy, Resources(cpus=2, gpus=0.5, concurrency=3)), out


def begin(policy, progress):
    """The next trial, begun."""
    trial = StubTrial(policy.job(policy.next_trial()))
    progress.on_trial_start(0, [trial], trial)
    return trial


def test_it_says_what_is_to_be_done_and_with_what(shown):
    progress, out = shown
    with progress:
        pass
    assert f"{progress.study.folder}: about 4 configurations, 3 at once, 2 CPUs and 0.5 GPU each" in out.getvalue()


def test_each_trial_has_a_line_when_it_ends(policy, shown):
    progress, out = shown
    scheduler = RungScheduler(policy)
    with progress:
        tell(scheduler, begin(policy, progress), [EpochEnded(1, epoch_report(1, val_mAP=0.25))], progress)
        tell(scheduler, begin(policy, progress), [Failed(Cause(Kind.DIVERGED, "loss is not finite"))], progress)
    first, second = re.findall(r"\[\d+:\d\d\] (trial .*)", out.getvalue())
    assert first.startswith("trial 0 paused: val_mAP 0.250 at 1 epoch  (learning_rate ")
    assert second.startswith("trial 1 failed: diverged: loss is not finite  (learning_rate ")


def test_without_a_panel_long_schedules_are_told_of_now_and_then(policy, shown, monkeypatch):
    progress, out = shown
    policy.study.space = replace(policy.study.space, study=policy.settings.model_copy(update={"rungs": (3, 9)}))
    scheduler = RungScheduler(policy)
    with progress:
        trial = begin(policy, progress)
        out.truncate(0)
        tell(scheduler, trial, [EpochEnded(3, epoch_report(1, num_epochs=3, val_mAP=0.1, seconds=40.0))], progress)
        assert "epochs" not in out.getvalue() or progress.console.is_terminal
        monkeypatch.setattr("tuning.run.progress.SILENT_S", 0.0)
        tell(scheduler, trial, [EpochEnded(3, epoch_report(2, num_epochs=3, val_mAP=0.1, seconds=40.0))], progress)
    assert ("] trial 0: 2 of 3 epochs, 0:40 left\n" in out.getvalue()) is not progress.console.is_terminal


def test_a_trial_whose_process_died_waits_and_says_so(policy, shown):
    progress, out = shown
    scheduler = RungScheduler(policy)
    with progress:
        trial = begin(policy, progress)
        scheduler.on_trial_error(None, trial)
        progress.on_trial_error(0, [trial], trial)
        begin(policy, progress)
    assert "trial 0 waiting: its process died; it goes on from its last state" in out.getvalue()


def test_a_promoted_trial_begins_a_longer_schedule(policy, shown):
    progress, out = shown
    scheduler = RungScheduler(policy)
    with progress:
        for score in (0.4, 0.3, 0.2, 0.1):
            tell(scheduler, begin(policy, progress), [EpochEnded(1, epoch_report(1, val_mAP=score))], progress)
        trial = begin(policy, progress)
        assert trial.config["job"].number == 0
        tell(scheduler, trial, [EpochEnded(2, epoch_report(2, val_mAP=0.5))], progress)
    assert progress.console.is_terminal or "trial 0 begins anew, for 2 epochs" in out.getvalue()
    assert "trial 0 complete: val_mAP 0.500 at 2 epochs" in out.getvalue()


def test_a_studys_name_is_shown_as_it_is(policy, shown):
    progress, out = shown
    progress.study.folder = progress.study.folder.with_name("[red]50%[b] :smile: [x]")
    with progress:
        out.truncate(0)
    table = Console(file=io.StringIO(), width=100, record=True)
    table.print(progress._panel())
    assert "search [red]50%[b] :smile: [x]" in table.export_text()
