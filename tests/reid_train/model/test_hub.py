"""Models of the hub and of folders as backbone, starting weights and teacher; nothing here asks the network."""

import json
import shutil

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import save_for_hf

from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import build_model, load_network, save_checkpoint
from reid_train.checkpoints.pretrained import load_pretrained
from reid_train.model import hub
from reid_train.model.foundation import _found_out
from reid_train.training.learned_from import weights_digest_at
from reid_train.training.teacher import foundation_settings, load_teacher
from tests.reid_train.conftest import tiny_config

NAME = "timm/hf-hub:ann/street-vit"
MEAN = (0.1, 0.2, 0.3)


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    """As in a new process."""
    monkeypatch.setattr(hub, "_known", {})
    _found_out.cache_clear()


@pytest.fixture
def published():
    torch.manual_seed(3)
    model = timm.create_model("test_vit", num_classes=4)
    model.pretrained_cfg = {**model.pretrained_cfg, "mean": MEAN, "num_classes": 4}
    return model.eval()


@pytest.fixture
def folder(tmp_path, published):
    """What timm itself saves of a model."""
    save_for_hf(published, tmp_path / "saved", safe_serialization=True)
    return tmp_path / "saved"


@pytest.fixture
def cache(empty_hub, folder):
    """The Hugging Face cache with the model in it."""
    repository, commit = empty_hub / "models--ann--street-vit", "1" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.move(folder, repository / "snapshots" / commit)
    return empty_hub


def built(backbone):
    config = tiny_config(backbone=backbone, pretrained="imagenet")
    return config, build_model(config, 5).eval()


def images():
    return torch.randint(0, 256, (2, 3, 32, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def check_weights(model, published):
    assert torch.equal(model.backbone.net.blocks[0].attn.qkv.weight, published.blocks[0].attn.qkv.weight)
    assert (model.mean / 255).flatten().tolist() == pytest.approx(MEAN)


def test_a_backbone_of_the_hub_is_made_as_its_config_says_with_its_weights(cache, published):
    _, model = built(NAME)
    load_pretrained(model, "imagenet")
    check_weights(model, published)
    own = timm.create_model("test_vit", num_classes=0, img_size=(32, 16)).eval()
    own.load_state_dict(model.backbone.net.state_dict())
    normalised = (images() / 255 - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(model.backbone.std).view(
        1, 3, 1, 1
    )
    with torch.no_grad():
        torch.testing.assert_close(model.pooled(images()), own(normalised), atol=1e-4, rtol=1e-4)


def test_a_backbone_of_a_folder_is_made_in_the_same_way(folder, published):
    _, model = built(f"timm/local-dir:{folder}")
    load_pretrained(model, "imagenet")
    check_weights(model, published)


def test_a_checkpoint_needs_neither_hub_nor_folder(cache, tmp_path, monkeypatch):
    config, model = built(NAME)
    described = {"config": config, "epoch": 1, "metrics": {}, "identities": list(range(5))}
    save_checkpoint(tmp_path / "run", model.state_dict(), **described)
    shutil.rmtree(cache / "models--ann--street-vit")
    monkeypatch.setattr(hub, "_known", {})
    _found_out.cache_clear()
    again, _ = load_network(tmp_path / "run")
    with torch.no_grad():
        torch.testing.assert_close(again(images()), model(images()))


def test_weights_of_the_hub_start_a_backbone_of_timms(cache, published):
    _, model = built("timm/test_vit")
    said = load_pretrained(model, NAME)
    assert torch.equal(model.backbone.net.blocks[0].attn.qkv.weight, published.blocks[0].attn.qkv.weight)
    assert said.startswith(NAME) and weights_digest_at(NAME) == NAME
    with pytest.raises(UserError, match="for the weights that timm has of a backbone set pretrained=imagenet"):
        load_pretrained(model, "timm/test_vit")


def test_a_teacher_of_the_hub_teaches_at_the_size_that_it_was_trained_at(cache, published, data):
    settings = foundation_settings(NAME)
    assert (settings.image_height, settings.image_width) == tuple(published.pretrained_cfg["input_size"][1:])
    config = tiny_config(teacher=NAME, kd_logits_weight=0, kd_embedding_weight=1)
    teacher = load_teacher(config, data)
    check_weights(teacher.model, published)
    assert teacher(images()).embedding_BD.shape == (2, published.num_features)


def test_without_network_and_cache_one_line_says_where_the_files_belong(empty_hub):
    with pytest.raises(UserError) as caught:
        built(NAME)
    message = str(caught.value)
    assert message.startswith(f"backbone={NAME}: https://huggingface.co/ann/street-vit could not be fetched (")
    for said in ("`hf download ann/street-vit`", str(empty_hub), "HF_HOME", "timm/local-dir:/PATH"):
        assert said in message
    assert "\n" not in message


def test_a_host_that_does_not_answer_is_told_in_one_line(empty_hub, monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "get_session", lambda: type("Session", (), {"head": refuse})())
    with pytest.raises(UserError, match=r"could not be fetched \(no route to host\)") as caught:
        load_pretrained(build_model(tiny_config(), 2), NAME)
    assert str(caught.value).startswith(f"pretrained={NAME}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"architectures": ["BertModel"]}, "names no architecture, so timm cannot make this model"),
        ({"architecture": "test_vit_9000"}, "the architecture test_vit_9000, which timm"),
        (None, "config.json: no such file; a folder of timm's models holds config.json"),
    ],
)
def test_a_folder_of_no_model_that_timm_can_make_is_refused(folder, content, said):
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"backbone=timm/local-dir:{folder}: .*{said}"):
        built(f"timm/local-dir:{folder}")


def test_weights_that_are_gone_or_of_another_model_are_refused(folder):
    _, model = built(f"timm/local-dir:{folder}")
    save_file({"conv1.weight": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors: of another architecture") as caught:
        load_pretrained(model, "imagenet")
    assert "\n" not in str(caught.value)
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match=r"model\.safetensors: no safetensors file, or damaged"):
        load_pretrained(model, "imagenet")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no file of weights"):
        load_pretrained(model, "imagenet")


@pytest.mark.parametrize("name", ["timm/hf-hub:", "timm/hf-hub:owner", "timm/hub:a/b", "timm/local-dir:models/x"])
def test_a_name_of_another_form_is_refused_with_the_forms_that_there_are(name):
    with pytest.raises(UserError, match="timm/hf-hub:OWNER/NAME or timm/local-dir:/FOLDER"):
        tiny_config_of(name)


def tiny_config_of(name):
    from reid_train.settings.config import make_config

    return make_config({"backbone": name}, "settings")
