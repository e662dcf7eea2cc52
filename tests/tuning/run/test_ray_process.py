"""What starting Ray leaves behind in this process: nothing that its next start or another program would find."""

import os
import pwd
import tempfile

import pytest

from data.system.errors import UserError
from tuning.run import ray_process
from tuning.run.ray_process import ROOT, environment_of_processes, set_variables
from tuning.run.resources import Resources

OF_TRIALS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "PYTHONPATH")


@pytest.fixture
def environment():
    """The variables of this process, which are as they were after the test."""
    before = dict(os.environ)
    for name in OF_TRIALS:
        os.environ.pop(name, None)
    yield os.environ
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize(
    ("before", "path"),
    [
        ({}, str(ROOT)),
        ({"PYTHONPATH": "/mine", "OMP_NUM_THREADS": "3"}, os.pathsep.join([str(ROOT), "/mine"])),
    ],
)
def test_what_processes_of_trials_inherit_is_taken_back_however_often_ray_is_started(before, path, environment):
    environment |= before
    for _ in range(2):
        with environment_of_processes(None, Resources(2, 0, 1)):
            assert environment["OMP_NUM_THREADS"] == "2" and environment["PYTHONPATH"] == path
        assert {name: environment[name] for name in OF_TRIALS if name in environment} == before


def test_it_is_taken_back_after_an_error_too(environment):
    with pytest.raises(RuntimeError), environment_of_processes(None, Resources(2, 0, 1)):
        raise RuntimeError("Ray did not start")
    assert not set(OF_TRIALS) & environment.keys()


def test_ray_writes_no_token_into_a_home_and_needs_none(environment, monkeypatch):
    def unknown(_):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "RAY_AUTH_TOKEN"):
        environment.pop(name, None)
    set_variables(None, Resources(1, 0, 1))
    token = environment["RAY_AUTH_TOKEN"]
    set_variables(None, Resources(1, 0, 1))
    assert len(token) == 64 and environment["RAY_AUTH_TOKEN"] == token
    assert environment["HOME"] == tempfile.gettempdir()
    environment["HOME"] = "/home/ann"
    set_variables(None, Resources(1, 0, 1))
    assert environment["HOME"] == "/home/ann"


def test_ray_that_does_not_start_is_told_in_one_line(environment, monkeypatch, tmp_path):
    def init(**_):
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(UserError, match=r"Ray does not start here: The current node timed out .*ulimit -a"):
        ray_process._start(None, Resources(1, 0, 1), tmp_path)
