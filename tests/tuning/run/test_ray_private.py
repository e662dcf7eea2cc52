"""What is relied upon of Ray beyond its public interface: it is there in the version that is installed."""

import inspect
import mmap
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray._private import node, ray_constants, worker
from ray.exceptions import ActorDiedError, RayActorError
from ray.train._internal.storage import StorageContext
from ray.tune import Trainable
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial

from tuning.run import ray_private
from tuning.run.ray_private import (
    OWN_PROCESSES,
    dead_ray_processes,
    ended_for_memory,
    error_of,
    keep_processes_alike,
    kill_process,
    process_died,
)


@pytest.fixture
def make_trial(tmp_path, monkeypatch):
    """Makes one of Ray's own trials, which ended with an error or has not ended."""
    monkeypatch.setattr("ray.train._internal.storage._get_ray_train_session_dir", lambda: str(tmp_path / "session"))

    def make(error=None):
        name = f"trial_{len(list(tmp_path.glob('kept/tune/*')))}"
        storage = StorageContext(storage_path=str(tmp_path / "kept"), experiment_dir_name="tune", trial_dir_name=name)
        trial = Trial("stub", stub=True, storage=storage, trial_id=name)
        trial.init_local_path()
        if error is not None:
            trial.handle_error(error)
            shutil.copytree(trial.local_path, trial.storage.trial_fs_path)  # as Tune does after each change
        return trial

    return make


def test_rays_node_tells_which_of_its_processes_have_died(monkeypatch):
    assert {ray_constants.PROCESS_TYPE_RAYLET, ray_constants.PROCESS_TYPE_GCS_SERVER} == set(OWN_PROCESSES)
    assert dead_ray_processes() == [], "nothing was started here"

    def process(ended):
        return [SimpleNamespace(process=SimpleNamespace(poll=lambda: ended))]

    of_node = SimpleNamespace(
        all_processes={"raylet": process(None), "gcs_server": process(1), "log_monitor": process(1)}
    )
    of_node.dead_processes = lambda: node.Node.dead_processes(of_node)
    assert hasattr(worker, "_global_node")
    monkeypatch.setattr(worker, "_global_node", of_node)
    assert dead_ray_processes() == ["gcs_server"], "a search does without the log monitor"


def test_tune_gives_trials_the_variables_of_a_dict_that_can_be_emptied(monkeypatch):
    """A process that Ray started ahead is taken for a trial only where the trial's variables are those it has."""
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    for name in class_cache.ENV_VARS_TO_PROPAGATE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(class_cache, "DEFAULT_ENV_VARS", {"PL_DISABLE_FORK": "1"})
    given = []
    monkeypatch.setattr(ray, "remote", lambda runtime_env: given.append(runtime_env) or (lambda cls: cls))
    keep_processes_alike()
    class_cache._ActorClassCache().get(Trainable)
    assert given == [{"env_vars": {}}]


def test_a_trials_process_is_its_ray_actor(make_trial, monkeypatch):
    killed, trial = [], make_trial()
    monkeypatch.setattr(ray_private.ray, "kill", killed.append)
    kill_process(trial)
    assert killed == [], "it has none yet"
    trial.temporary_state.ray_actor = "actor"
    kill_process(trial)
    assert killed == ["actor"]


def test_a_trial_keeps_the_error_that_ended_it_and_has_none_before(make_trial):
    assert error_of(make_trial()) is None and process_died(make_trial()), "Ray tells nothing of some deaths"
    died = make_trial(ActorDiedError())
    assert isinstance(error_of(died), ActorDiedError) and process_died(died) and not ended_for_memory(died)
    raised = make_trial(RayActorError(actor_init_failed=True))
    assert isinstance(error_of(raised), RayActorError) and not process_died(raised), "it raised while it was made"
    of_code = make_trial(RuntimeError("a fault of code"))
    assert "a fault of code" in str(error_of(of_code)) and not process_died(of_code)


def test_rays_watch_over_the_memory_says_the_words_that_are_looked_for(make_trial):
    message = "1 worker(s) were killed due to the node running low on memory."
    assert ended_for_memory(make_trial(RayActorError(error_msg=message)))
    raylet = Path(inspect.getfile(ray)).parent / "core" / "src" / "ray" / "raylet" / "raylet"
    with raylet.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program:
        assert program.find(b"running low on memory") > 0
