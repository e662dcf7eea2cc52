"""What is asked for is checked before the first trial, and what is cheap to check before the images are read."""

import shutil
import socket
import sys

import pytest

from data.system.errors import UserError
from tests.tiny_space import TINY_FIXED
from tuning import search
from tuning.prepare import begin
from tuning.prepare.request import SearchRequest
from tuning.run.resources import NO_GPUS
from tuning.space.read import read_space

SPACE = f"{TINY_FIXED}search:\n  learning_rate: [0.05, 0.02]\nstudy: {{epochs: 18, rungs: [2, 3]}}\n"


@pytest.fixture
def unread(monkeypatch, tmp_path, tiny_data):
    """Gives the error of a search whose images must not be read before it is told."""
    (tmp_path / "space.yaml").write_text(SPACE)

    def read(*_):
        raise AssertionError("the images were read first")

    monkeypatch.setattr(begin, "read_training", read)

    def told(*options):
        command = ["--space", tmp_path / "space.yaml", "--data-dir", tiny_data, "--results", tmp_path / "results"]
        monkeypatch.setattr(sys, "argv", ["search", *map(str, [*command, *options])])
        with pytest.raises(UserError) as caught:
            begin.prepare(SearchRequest.of(search.parse_arguments()))
        assert "\n" not in str(caught.value) and not (tmp_path / "results").exists()
        return str(caught.value)

    return told


def test_a_server_that_does_not_answer_is_told_before_the_images_are_read(unread):
    pytest.importorskip("psycopg")
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        said = unread("--study-storage", f"postgresql://ann:secret@127.0.0.1:{port}/reid")
    assert said.startswith("--study-storage postgresql://") and "secret" not in said


def test_a_storage_that_cannot_be_written_is_told_before_the_images_are_read(unread, tmp_path):
    (tmp_path / "file").touch()
    assert unread("--storage", tmp_path / "file" / "below").startswith("--storage ")


@pytest.mark.parametrize("options", [["--gpus-per-trial", "1"], ["--set", "device=cuda"], ["--cpus-per-trial", "9999"]])
def test_a_device_that_is_not_there_is_told_before_the_images_are_read(unread, monkeypatch, options):
    monkeypatch.setattr("tuning.run.resources.look_for_gpus", lambda: NO_GPUS)
    assert options[-1].partition("=")[0] in unread(*options)


def test_a_path_that_is_not_there_is_told_before_machines_are_asked(unread, monkeypatch, tmp_path):
    monkeypatch.setattr(begin, "find_machines", lambda *_: pytest.fail("machines were asked first"))
    assert "nowhere" in unread("--data-dir", tmp_path / "nowhere")


@pytest.mark.parametrize("broken", [None, "gone", "empty", "one camera"])
def test_a_winner_that_cannot_be_tested_is_told_at_the_beginning(tmp_path, tiny_data, broken):
    images = shutil.copytree(tiny_data, tmp_path / "market")
    gallery = images / "bounding_box_test"
    if broken == "one camera":
        for file in gallery.iterdir():
            if "c1" not in file.name:
                file.unlink()
        for file in (images / "query").iterdir():
            if "c1" not in file.name:
                file.unlink()
    elif broken is not None:
        shutil.rmtree(gallery)
        if broken == "empty":
            gallery.mkdir()
    (tmp_path / "space.yaml").write_text(SPACE)
    config = read_space(tmp_path / "space.yaml", [], str(images)).base_config()
    lines = begin.missing_test(config)
    assert len(lines) == (broken is not None)
    assert all(line.startswith("note: the winner will not be tested: ") and str(images) in line for line in lines)
