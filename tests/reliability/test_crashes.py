"""A short selection of tests/reliability/crashes.py, and what the command says and does when it is stopped."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.reliability.crashes import GOES_ON, LONGEST_DELAY_S, Run, kill_once, make_run
from tests.reliability.record import Findings, check_files, compare
from tests.reliability.searches import Search
from tuning.record.cause import Kind
from tuning.record.study import Study
from tuning.record.trial import ENDED, TrialState
from tuning.run.guard import RAY_DIED


def reported(run: Run) -> bool:
    return (run.folder / "environment.json").is_file() and any(trial.reports for trial in Study(run.folder).trials())


def test_a_search_that_is_killed_in_every_way_loses_nothing(tmp_path, monkeypatch):
    """kill -9 while another search waits at the door, the raylet's death, two Ctrl-C; then to the end."""
    monkeypatch.setitem(LONGEST_DELAY_S, "search", 2.0)  # so short a search is soon over
    run, found, rng = make_run(tmp_path, "short", trials=4), Findings(), random.Random(0)

    first = run.start()
    first.wait_until(lambda: reported(run))
    second = Search(tmp_path / "second.log", *run.command)
    assert second.wait() == 2
    assert (
        f"{run.folder}: process {first.pid} is searching here; wait for it, or choose another --name" in second.said()
    )
    assert "Traceback" not in second.said()
    assert first.process.poll() is None, "the first one goes on"
    assert first.kill("driver", rng)
    assert first.wait() == -signal.SIGKILL
    assert first.orphans() == {}
    run.take()
    run.said += first.said()

    assert kill_once(run, "search", "raylet", rng, found), "and the lock that the first one left was taken over"
    assert f"exit code {RAY_DIED}" not in "".join(found.problems)

    third = run.start()
    third.wait_until(lambda: " begins" in third.said() or " goes on" in third.said())
    for _ in range(2):  # as a terminal does: to all processes of the group
        with suppress(ProcessLookupError):  # it may have settled by then
            os.killpg(third.pid, signal.SIGINT)
        time.sleep(0.3)
    assert third.wait(limit_s=20) == 130
    told = third.said()
    assert "To go on:\n  " in told and f"python -m tuning.search {' '.join(map(str, run.command))}" in told
    assert "Traceback" not in told
    run.said += told
    run.take()

    last = run.start()
    assert last.wait() == 0, last.said()
    run.said += last.said()
    compare(run.folder, run.snapshots, run.said, 4, found)
    check_files(run.folder, found)
    assert (found.lost, found.trained_twice, found.left_running, found.problems) == ([], [], [], [])


@pytest.mark.reliability
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_settles_and_twice_leaves(number, tmp_path):
    run = make_run(tmp_path, "stopped", trials=2)
    once = run.start()
    once.wait_until(lambda: reported(run))
    os.kill(once.pid, number)
    assert once.wait(limit_s=60) == 130
    assert "interrupted; what was saved is kept" in once.said() and "tuning.search --space" in once.said()
    assert {trial.state for trial in Study(run.folder).trials()} <= {*ENDED, TrialState.WAITING, TrialState.PAUSED}, (
        "settled"
    )
    assert once.orphans() == {}

    twice = run.start()
    twice.wait_until(lambda: " begins" in twice.said() or " goes on" in twice.said())
    os.kill(twice.pid, number)
    time.sleep(0.2)
    if twice.process.poll() is None:
        os.kill(twice.pid, number)
    assert twice.wait(limit_s=20) == 130
    assert "To go on:" in twice.said() and "Traceback" not in twice.said()
    assert twice.orphans() == {}


@pytest.mark.reliability
def test_a_worker_that_dies_is_replaced_and_its_trial_goes_on_from_its_last_state(tmp_path):
    run, found = make_run(tmp_path, "worker", trials=2), Findings()
    search = run.start()
    search.wait_until(lambda: reported(run))
    run.take()
    assert search.kill("worker", random.Random(0))
    assert search.wait(300) == 0, search.said()
    assert GOES_ON in search.said()
    compare(run.folder, run.snapshots, search.said(), 2, found)
    check_files(run.folder, found)
    assert (found.lost, found.trained_twice, found.left_running, found.problems) == ([], [], [], [])


@pytest.mark.reliability
def test_a_trial_that_hangs_is_ended_with_that_cause_and_its_process_is_gone(tmp_path):
    run = make_run(tmp_path, "silent", trials=2)
    space = tmp_path / "silent.yaml"
    space.write_text(space.read_text().replace("state_interval", "trial_timeout: 40s, concurrency: 1, state_interval"))
    search = run.start()
    search.wait_until(lambda: reported(run))
    (hanging,) = [process for process, role in search.alive().items() if role == "worker"]
    os.kill(hanging, signal.SIGSTOP)
    assert search.wait(400) == 2, "the other trial diverges, so that none completed a schedule"
    first, other = Study(run.folder).trials()
    assert first.state is TrialState.FAILED
    assert str(first.cause) == "timed out: no epoch was reported for 0:40 (study.trial_timeout)"
    assert other.cause.kind is Kind.DIVERGED, "the place was free again"
    assert not Path(f"/proc/{hanging}").exists()


def _memory_group() -> Path:
    """A control group for a process that is to run out of memory; made here, removed by who asks for it."""
    for parent in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        limit = "memory.limit_in_bytes" if parent.name == "memory" else "memory.max"
        group = parent / f"reid-tuning-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).is_file() and os.access(group / limit, os.W_OK):
            return group / limit
        group.rmdir()
    pytest.skip("no control group with a memory limit can be made here: not root, or none mounted to write to")


@pytest.mark.reliability
def test_a_worker_that_the_kernel_kills_for_memory_fails_with_that_cause_and_is_not_retried(tmp_path):
    limit = _memory_group()
    try:
        run = make_run(tmp_path, "memory", trials=2)
        space = tmp_path / "memory.yaml"
        space.write_text(space.read_text().replace("state_interval", "concurrency: 1, state_interval"))
        search = run.start()
        search.wait_until(lambda: reported(run))
        (worker,) = [process for process, role in search.alive().items() if role == "worker"]
        limit.write_text(str(8 * 2**20))
        (limit.parent / "cgroup.procs").write_text(str(worker))
        assert search.wait(400) == 2, "the other trial diverges, so that none completed a schedule"
        first, other = Study(run.folder).trials()
        assert str(first.cause) == "out of memory: batch_size=16 is too large here: the kernel killed it"
        assert search.said().count("trial 0 begins") == 1 and "trial 0 goes on" not in search.said()
        assert other.cause.kind is Kind.DIVERGED
    finally:
        time.sleep(1)
        limit.parent.rmdir()
