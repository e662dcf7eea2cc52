"""Where weights may come from, and what is said about files that do not fit."""

import pickle
import re
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torchvision import models

from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import build_model, save_checkpoint
from reid_train.checkpoints.pretrained import load_pretrained
from reid_train.model.network import build_backbone
from reid_train.model.settings import ArchitectureSettings
from tests.reid_train.conftest import tiny_config

pytestmark = pytest.mark.usefixtures("narrow")


def model(identities: int = 5):
    return build_model(tiny_config(), identities)


def saved(folder: Path, identities: int = 5):
    """A checkpoint of a model with random weights, and that model."""
    trained = model(identities)
    save_checkpoint(
        folder, trained.state_dict(), config=tiny_config(), epoch=1, metrics={}, identities=list(range(identities))
    )
    return trained


def same_weights(one, other) -> bool:
    there = other.state_dict()
    return all(torch.equal(tensor, there[name]) for name, tensor in one.state_dict().items())


def refusal(path: Path) -> str:
    """What load_pretrained says of a file that it cannot take; the model must stay as it was."""
    target = model()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_pretrained(target, str(path))
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 500
    return message


@pytest.mark.parametrize("inside", ["", "model.safetensors"])
def test_a_checkpoint_of_this_project_is_taken_whole_as_folder_and_as_file(tmp_path, inside):
    trained, target = saved(tmp_path / "run"), model()
    assert not same_weights(target, trained)
    said = load_pretrained(target, str(tmp_path / "run" / inside))
    assert same_weights(target, trained)
    count = len(trained.state_dict())
    assert f"{count} of {count} tensors matched" in said


@pytest.mark.parametrize("prefix", ["", "module.", "module.model."])
@pytest.mark.parametrize("under", [None, "state_dict", "model"])
def test_a_pth_file_is_matched_whatever_stands_before_its_names(tmp_path, prefix, under):
    trained, target = model(), model()
    state = {prefix + name: tensor for name, tensor in trained.state_dict().items()}
    torch.save({under: state, "epoch": 7} if under else state, tmp_path / "other.pth")
    load_pretrained(target, str(tmp_path / "other.pth"))
    assert same_weights(target, trained)


def test_a_bare_backbone_of_torchvision_is_matched(tmp_path, monkeypatch):
    monkeypatch.undo()  # the real ResNet-18
    torchvision_net, target = models.resnet18(), model()
    torch.save(torchvision_net.state_dict(), tmp_path / "r18.pth")
    said = load_pretrained(target, str(tmp_path / "r18.pth"))
    assert torch.equal(target.backbone.layer4[1].conv2.weight, torchvision_net.layer4[1].conv2.weight)
    assert "120 of 126 tensors matched" in said and "not in it: neck.weight" in said


def test_a_classifier_of_another_class_count_keeps_its_own_weights_and_is_named(tmp_path):
    trained, target = saved(tmp_path, identities=9), model(5)
    own = target.classifier.weight.clone()
    said = load_pretrained(target, str(tmp_path))
    assert torch.equal(target.classifier.weight, own)
    assert torch.equal(target.neck.running_var, trained.neck.running_var)
    assert torch.equal(target.backbone.conv1.weight, trained.backbone.conv1.weight)
    assert "another shape: classifier.weight ((9, 64) there, (5, 64) here)" in said


def test_half_precision_weights_are_converted(tmp_path):
    trained, target = model(), model()
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in trained.state_dict().items()
    }
    torch.save(state, tmp_path / "half.pth")
    load_pretrained(target, str(tmp_path / "half.pth"))
    assert target.backbone.conv1.weight.dtype == torch.float32
    torch.testing.assert_close(target.backbone.conv1.weight, trained.backbone.conv1.weight, atol=1e-3, rtol=1e-3)


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize("writer", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path, writer):
    trap = tmp_path / "trap"
    writer({"conv1.weight": torch.zeros(1), "x": Hostile(trap)}, tmp_path / "hostile.pth")
    assert "not a file of tensors alone" in refusal(tmp_path / "hostile.pth")
    assert not trap.exists()


def test_a_pickle_that_names_code_is_refused_with_its_name(tmp_path):
    torch.save({"state_dict": model().state_dict(), "run": exec}, tmp_path / "other.pth")
    assert "it holds exec, which is code; save its state dict alone" in refusal(tmp_path / "other.pth")


def test_a_truncated_file_is_refused(tmp_path):
    file = tmp_path / "cut.pth"
    torch.save(model().state_dict(), file)
    file.write_bytes(file.read_bytes()[:-200_000])
    assert "damaged" in refusal(file)


@pytest.mark.parametrize("content", [b"", b"weights", b"\x80\x02", b"PK\x03\x04 no zip"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    refusal(tmp_path / "x.pth")


@pytest.mark.parametrize("value", [{"epoch": 3}, [1, 2], {"state_dict": {}}, torch.zeros(3)])
def test_a_file_without_a_state_dict_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "x.pth")
    assert "holds no state dict" in refusal(tmp_path / "x.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"encoder.layer.0.weight": torch.zeros(3, 3), "conv1.weight": torch.zeros(2)}, tmp_path / "x.pth")
    assert "of another architecture: none of the model's" in refusal(tmp_path / "x.pth")
    # A ResNet-50 and a ResNet-18 have a few tensors of the same names and shapes.
    torch.save(models.resnet50().state_dict(), tmp_path / "resnet50.pth")
    assert re.search(r"of another architecture: \d\d of the model's \d+ tensors", refusal(tmp_path / "resnet50.pth"))


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors", "None"])
def test_a_missing_file_is_refused(tmp_path, name):
    assert "no such" in refusal(tmp_path / name)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    assert "no such checkpoint" in refusal(tmp_path)


def test_none_leaves_random_weights():
    target = model()
    before = target.backbone.conv1.weight.clone()
    assert "random" in load_pretrained(target, "none")
    assert torch.equal(target.backbone.conv1.weight, before)


def imagenet_state(name: str) -> dict[str, torch.Tensor]:
    return build_backbone(ArchitectureSettings(backbone=name)).imagenet_state()


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """No cached file, and no network."""

    def no_network(*arguments, **options):
        raise URLError(OSError(101, "Network is unreachable"))

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", no_network)
    return tmp_path / "hub" / "checkpoints"


def test_imagenet_without_network_and_cache_says_what_to_put_where(empty_cache):
    with pytest.raises(UserError) as caught:
        imagenet_state("resnet50")
    message = str(caught.value)
    assert "https://download.pytorch.org/models/resnet50-11ad3fa6.pth" in message
    assert f"put that file at {empty_cache}/resnet50-11ad3fa6.pth" in message
    assert "Network is unreachable" in message and "\n" not in message


def test_imagenet_takes_the_file_that_was_put_there(empty_cache):
    empty_cache.mkdir(parents=True)
    network = models.resnet18()
    torch.save(network.state_dict(), empty_cache / "resnet18-f37072fd.pth")
    state = imagenet_state("resnet18")
    assert "fc.weight" in state and torch.equal(state["conv1.weight"], network.conv1.weight)


@pytest.mark.parametrize("content", [b"", b"<html>proxy</html>", b"PK\x03\x04 cut"])
def test_a_damaged_cached_file_is_one_line_that_names_it(empty_cache, content):
    empty_cache.mkdir(parents=True)
    (empty_cache / "resnet18-f37072fd.pth").write_bytes(content)
    with pytest.raises(UserError) as caught:
        imagenet_state("resnet18")
    message = str(caught.value)
    assert f"{empty_cache}/resnet18-f37072fd.pth" in message and "\n" not in message


@pytest.mark.parametrize(("height", "last_stride"), [(256, 1), (250, 2), (33, 1), (16, 2)])
def test_the_rows_of_the_feature_map_are_known_beforehand(height, last_stride):
    built = build_backbone(ArchitectureSettings(backbone="resnet18", last_stride=last_stride, image_height=height))
    with torch.no_grad():
        assert built.eval()(torch.zeros(1, 3, height, 32)).shape[2] == built.rows
