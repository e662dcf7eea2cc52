"""environment.json: what a study began with."""

import json
import subprocess

import pytest

from tuning.record import environment
from tuning.record.environment import ROOT, describe
from tuning.record.study import Study
from tuning.space.read import read_space


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A checkout of somebody's own, with a commit."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "own")
    return folder


@pytest.fixture
def described(tmp_path):
    """Describes a new study; gives its environment.json."""

    def describe_it():
        file = tmp_path / "space.yaml"
        file.write_text("search: {margin: [0.1, 0.3]}\n")
        study = Study(tmp_path / "study", read_space(file))
        describe(study, study.space.source, ["NVIDIA Tesla"])
        assert (study.folder / "space.yaml").read_text() == file.read_text()
        return json.loads((study.folder / "environment.json").read_text())

    return describe_it


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_the_commit_is_the_projects_wherever_the_command_is_given(described, checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    found = described()
    assert found["commit"].rstrip("+") == git(ROOT, "rev-parse", "HEAD") != git(checkout, "rev-parse", "HEAD")
    assert found["gpus"] == ["NVIDIA Tesla"] and found["versions"]["optuna"]


def test_a_project_that_is_installed_in_somebodys_checkout_has_no_commit(described, checkout, monkeypatch):
    (checkout / "site-packages").mkdir()
    monkeypatch.setattr(environment, "ROOT", checkout / "site-packages")
    assert described()["commit"] is None


def test_files_that_differ_from_the_commit_are_told_by_a_plus(described, checkout, monkeypatch):
    (checkout / "changed.py").write_text("")
    monkeypatch.setattr(environment, "ROOT", checkout.resolve())
    assert described()["commit"] == git(checkout, "rev-parse", "HEAD") + "+"


def test_what_was_described_once_is_kept(described, checkout, monkeypatch):
    first = described()
    monkeypatch.setattr(environment, "ROOT", checkout.resolve())
    assert described() == first
