"""Checkpoints: what comes back is what was written, and a damaged file is one clear line."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import data.system.files
from data.system.errors import UserError
from data.system.files import replacing, write_json
from reid_train.checkpoints.checkpoint import (
    WEIGHTS,
    DamagedFile,
    build_model,
    load_checkpoint,
    load_network,
    load_state,
    save_checkpoint,
)
from reid_train.checkpoints.checkpoint import save_state as write_state
from tests.reid_train.conftest import tiny_config

pytestmark = pytest.mark.usefixtures("narrow")

CONFIG = tiny_config(pooling="gem", fc_layers=1, fc_width=8, margin="soft")


def write(folder, seed=0):
    torch.manual_seed(seed)
    model = build_model(CONFIG, 3).to(memory_format=torch.channels_last)
    save_checkpoint(
        folder, model.state_dict(), config=CONFIG, epoch=2, metrics={"loss": 0.1, "val_mAP": None}, identities=[4, 7, 9]
    )
    return model


def test_weights_and_description_come_back(tmp_path):
    model = write(tmp_path)
    loaded, checkpoint = load_network(tmp_path)
    assert checkpoint[:4] == (CONFIG, 2, {"loss": 0.1, "val_mAP": None}, [4, 7, 9])
    images = torch.randint(0, 256, (2, 3, 32, 16), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model.eval()(images))
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_the_weights_file_alone_is_enough(tmp_path):
    write(tmp_path)
    (tmp_path / "model.json").unlink()
    assert load_checkpoint(tmp_path / WEIGHTS).identities == [4, 7, 9]


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"description": "no JSON"},
        {"description": "[]"},
        {"description": json.dumps({"config": "x", "epoch": 1, "metrics": {}, "identities": []})},
        {"description": json.dumps({"config": {}})},
        {"description": json.dumps({"config": {"depth": 5}, "epoch": 1, "metrics": {}, "identities": []})},
    ],
)
def test_anybody_elses_safetensors_are_refused(tmp_path, description):
    save_file({"weight": torch.zeros(2)}, tmp_path / WEIGHTS, metadata=description)
    with pytest.raises(UserError) as caught:
        load_checkpoint(tmp_path)
    assert str(tmp_path / WEIGHTS) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_weights_are_refused(tmp_path, kept):
    write(tmp_path)
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[:kept])
    with pytest.raises(UserError, match="not a checkpoint of this project, or damaged"):
        load_checkpoint(tmp_path)


def test_a_failure_while_saving_leaves_the_old_checkpoint_and_no_rubbish(tmp_path, monkeypatch):
    model = write(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full_disk(tensors, file, metadata):
        file.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reid_train.checkpoints.checkpoint.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, model.state_dict(), config=CONFIG, epoch=3, metrics={}, identities=[1, 2, 3])
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("existed", [True, False])
def test_replacing_is_all_or_nothing(tmp_path, failure, existed):
    target = tmp_path / "new folder" / "file.txt"
    if existed:
        target.parent.mkdir()
        target.write_text("old")
    with pytest.raises(failure), replacing(target) as temporary:
        temporary.write_text("new, half")
        raise failure
    assert [file.name for file in target.parent.iterdir()] == (["file.txt"] if existed else [])
    assert not existed or target.read_text() == "old"


def test_replacing_flushes_before_it_replaces_and_gives_ordinary_permissions(tmp_path, monkeypatch):
    order = []
    sync, target = data.system.files.os.fsync, tmp_path / "file.json"
    monkeypatch.setattr(data.system.files.os, "fsync", lambda handle: (order.append(target.exists()), sync(handle)))
    write_json(target, {"a": [1, None]})
    assert order == [False] and json.loads(target.read_text()) == {"a": [1, None]}
    (tmp_path / "plain").touch()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_state_of_plain_values_and_tensors_comes_back_and_none_is_none(tmp_path):
    assert load_state(tmp_path) is None
    write_state(tmp_path, {"epoch": 3, "t": torch.arange(3), "x": [1.5, None, "a"]})
    state = load_state(tmp_path)
    assert state is not None and state["epoch"] == 3 and state["x"] == [1.5, None, "a"]
    assert torch.equal(state["t"], torch.arange(3))


def test_a_damaged_file_is_told_across_processes():
    error = pickle.loads(pickle.dumps(DamagedFile(Path("a/model.safetensors"), "cut")))
    assert (str(error), error.file) == ("a/model.safetensors: cut", Path("a/model.safetensors"))
