"""A search on a Ray cluster: what travels to the machines, what comes back, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import load_checkpoint
from tests.clusters import cluster
from tests.commands import ROOT, start_command
from tests.tiny_space import TINY_FIXED
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.run.cluster import NO_TOKEN, PACKAGES, check_address

SPACE = f"""\
{TINY_FIXED}search:
  learning_rate: [0.05, 0.02]
study: {{epochs: 18, rungs: [2, 3]}}
"""
"""Both configurations come to the top; two repeats are left."""


@pytest.fixture(scope="module")
def searched(tmp_path_factory, tiny_data):
    """A search on a head that trains too and another machine, after one that was refused: folder, what both said, and
    the files that each machine was left with."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "space.yaml").write_text(SPACE)
    command = ["--space", folder / "space.yaml", "--data-dir", tiny_data, "--results", folder / "results"]
    command += ["--cache-dir", folder / "cache", "--name", "far"]
    torch.save(resnet18().state_dict(), folder / "start.pth")
    command += ["--set", f"pretrained={os.path.relpath(folder / 'start.pth', ROOT)}"]
    with cluster(head_cpus=1) as nodes:
        nodes.add(num_cpus=1)
        command += ["--address", nodes.address]
        refused = start_command("tuning.search", *command)
        refusal = refused.communicate(timeout=120)[0]
        assert refused.returncode == 2, refusal
        search = start_command("tuning.search", *command, "--storage", folder / "storage")
        said = search.communicate(timeout=400)[0]
        assert search.returncode == 0, said
        left = {place.name: [file for file in place.rglob("*") if file.is_file()] for place in nodes.folder.iterdir()}
    return folder, refusal, said, left


def test_several_machines_without_a_storage_are_refused_with_the_reason(searched):
    _, refusal, _, _ = searched
    assert "error: --storage is missing: the cluster has 2 machines" in refusal
    assert "name a folder that all of them see, or a URL such as s3://" in refusal


def test_pixels_travel_once_to_each_machine_but_the_drivers(searched):
    folder, _, _, left = searched
    copies = {name: [file for file in files if file.suffix == ".pixels"] for name, files in left.items()}
    assert [len(copies[name]) for name in ("head", "n1")] == [0, 1]
    assert copies["n1"][0].name in {file.name for file in (folder / "cache").glob("*.pixels")}


def test_code_travels_with_the_job_and_nothing_else_does(searched):
    _, _, _, left = searched
    here = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    ours = {file.relative_to(ROOT) for file in here if (file.parent / "__init__.py").is_file()}
    for name in ("head", "n1"):
        sent = [file.parts for file in left[name] if "working_dir_files" in file.parts[:-2]]
        inside = [Path(*parts[parts.index("working_dir_files") + 2 :]) for parts in sent]
        modules = {file for file in inside if file.suffix == ".py"}
        assert modules == ours, f"{name}: every module of every package"
        assert {file.suffix for file in inside} <= {".py", ".pyc"}, "no image, no result"


def test_states_are_in_the_storage_and_the_winner_comes_back(searched):
    folder, _, _, _ = searched
    study, repeats = Study(folder / "results/far"), Study(folder / "results/far", name="repeats")
    assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE] * 2
    assert {run.state for run in repeats.trials()} == {TrialState.COMPLETE}
    (kept,) = (folder / "storage").iterdir()
    assert {path.name for path in kept.iterdir()} == {"study.txt", "trials", "repeats"}, "nothing of Ray's own"
    label = json.loads((folder / "results/far/best/trial.json").read_text())
    best = load_checkpoint(folder / "results/far/best")
    assert best.metrics["val_mAP"] == pytest.approx(label["score"])
    assert json.loads((folder / "results/far/test_metrics.json").read_text())["mAP"] > 0


def test_a_cluster_without_a_token_is_warned_of(searched):
    _, _, said, _ = searched
    assert NO_TOKEN in " ".join(said.split("\n"))
    assert "RAY_AUTH_MODE=token" in NO_TOKEN and "RAY_AUTH_TOKEN" in NO_TOKEN


@pytest.mark.reliability
def test_a_cluster_that_asks_for_a_token_is_joined_with_it_alone(tmp_path, tiny_data, tiny_space):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment["HOME"] = str(tmp_path)  # no token of the user's
    locked = {**environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a-token-of-this-test-alone-0123456789"}
    program = (
        "import sys; sys.path.insert(0, '.'); from tests.clusters import cluster\n"
        "with cluster(head_cpus=1) as nodes:\n"
        "    print(nodes.address, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], env=locked, **pipes) as host:
        address = host.stdout.readline().strip()
        command = ["--space", tiny_space, "--data-dir", tiny_data, "--results", tmp_path / "results"]
        command += ["--address", address]
        command += ["--cache-dir", tmp_path / "cache", "--trials", 1]
        without = start_command("tuning.search", *command, **environment, RAY_AUTH_MODE="disabled")
        said = without.communicate(timeout=120)[0]
        assert without.returncode == 2 and "where it asks for a token, set" in said, said
        assert "RAY_AUTH_MODE=token" in said and "Traceback" not in said
        with_it = start_command("tuning.search", *command, **locked)
        said = with_it.communicate(timeout=200)[0]
        assert with_it.returncode == 0 and "asks for no token" not in said, said
        host.stdin.close()
        host.wait(60)


def test_rays_client_is_refused_and_a_wrong_address_too():
    with pytest.raises(UserError, match=r"ray://head:10001: Ray Client is not supported; give this command on a mach"):
        check_address("ray://head:10001")
    with pytest.raises(UserError, match=r"127.0.0.1:1: nothing answers there .*; start it with `\S*ray start`") as told:
        check_address("127.0.0.1:1")
    assert Path(str(told.value).split("`")[1].removesuffix(" start")).is_file(), "the command works as it is printed"
