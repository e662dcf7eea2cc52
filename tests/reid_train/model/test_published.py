"""Weights as other toolboxes publish them: each test has our own backbone's tensors under their names."""

import argparse
import functools
import gzip
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torchvision import models

from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import build_model
from reid_train.checkpoints.pretrained import load_pretrained
from reid_train.model.network import ReIDModel
from reid_train.model.settings import ModelSettings
from tests.reid_train.conftest import tiny_config

State = dict[str, torch.Tensor]


def resnet(seed: int, backbone: str = "resnet18", **settings) -> ReIDModel:
    """A model whose weights and statistics are all random."""
    torch.manual_seed(seed)
    built = build_model(tiny_config(backbone=backbone, **settings), 5)
    for name, tensor in built.state_dict().items():
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5 if name.endswith("var") else -0.5, 1.0)
    return built


def before(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def fast_reid(one: State, neck: State, other: State) -> dict:
    model = {**before("backbone.", one), **before("heads.bottleneck.0.", neck), "pixel_mean": torch.zeros(1, 3, 1, 1)}
    return {"model": {**model, "heads.weight": torch.zeros(751, 64)}, "optimizer": {"state": {}}, "iteration": 9}


def fast_reid_of_2020(one: State, neck: State, other: State) -> dict:
    return {"model": {**before("backbone.", one), **before("heads.bnneck.", neck)}}


def torchreid(one: State, neck: State, other: State) -> dict:
    state = before("module.", {**one, "classifier.weight": torch.zeros(751, 64), "classifier.bias": torch.zeros(751)})
    return {"state_dict": state, "epoch": 60, "rank1": np.float32(0.9), "optimizer": {"param_groups": [{"lr": 0.1}]}}


def strong_baseline(one: State, neck: State, other: State) -> dict:
    return {**before("base.", one), **before("bottleneck.", neck), "classifier.weight": torch.zeros(751, 64)}


def moco(one: State, neck: State, other: State) -> dict:
    both = {**before("module.encoder_k.", other), **before("module.encoder_q.", one)}
    fc = {"module.encoder_q.fc.0.weight": torch.zeros(64, 64), "module.queue": torch.zeros(128, 99)}
    return {"epoch": 800, "arch": "resnet50", "state_dict": both | fc}


def moco_v3(one: State, neck: State, other: State) -> dict:
    return {"state_dict": before("module.momentum_encoder.", other) | before("module.base_encoder.", one)}


def dino(one: State, neck: State, other: State) -> dict:
    student, teacher = before("module.backbone.", other), before("backbone.", one)
    args = argparse.Namespace(arch="resnet50", output_dir=Path("/checkpoint"))
    return {"student": student, "teacher": teacher, "epoch": 300, "args": args, "fp16_scaler": None}


def oml(one: State, neck: State, other: State) -> dict:
    return {"state_dict": {**before("model.model.", one), "criterion.weight": torch.zeros(3, 64)}, "callbacks": {}}


def timm_script(one: State, neck: State, other: State) -> dict:
    return {"arch": "resnet50", "args": argparse.Namespace(), "state_dict": other, "state_dict_ema": one, "metric": 1.0}


class Attributes(dict):
    """A dictionary of a class that nobody but its toolbox has, as Lightning's AttributeDict."""


class Items(list):
    """Likewise a list."""


def lightning(one: State, neck: State, other: State) -> dict:
    parts = {"optimizer": functools.partial(torch.optim.AdamW, lr=1e-3), "sizes": Items([1, 2])}
    return {"hyper_parameters": Attributes(lr=0.1, **parts), "state_dict": before("net.encoder.", one), "loops": {}}


def ddp_compiled(one: State, neck: State, other: State) -> dict:
    return before("module._orig_mod.", one)


def compiled_inside(one: State, neck: State, other: State) -> dict:
    return {"model": {f"reid.{name}".replace(".layer3.", ".layer3._orig_mod."): one[name] for name in one}}


def numbered(one: State, neck: State, other: State) -> dict:
    """nn.Sequential(*list(resnet.children())[:-2])"""
    number = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    return before("module.base.", {f"{number[n.split('.')[0]]}.{n.partition('.')[2]}": one[n] for n in one})


def averaged(one: State, neck: State, other: State) -> dict:
    return {**before("module.", one), "n_averaged": torch.tensor(7)}


def before_torch_04(one: State, neck: State, other: State) -> dict:
    return {name: tensor for name, tensor in one.items() if not name.endswith("num_batches_tracked")}


WITH_NECK = (fast_reid, fast_reid_of_2020, strong_baseline)
WRITERS = (
    *WITH_NECK,
    torchreid,
    moco,
    moco_v3,
    dino,
    oml,
    timm_script,
    lightning,
    ddp_compiled,
    compiled_inside,
    numbered,
    averaged,
    before_torch_04,
)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("publish", WRITERS, ids=lambda writer: writer.__name__)
def test_a_resnet_is_found_in_what_each_toolbox_publishes(tmp_path, narrow, publish, zipped):
    one, other, target = resnet(1), resnet(2), resnet(3)
    held = publish(one.backbone.state_dict(), one.neck.state_dict(), other.backbone.state_dict())
    torch.save(held, tmp_path / "x.pth.tar", _use_new_zipfile_serialization=zipped)
    said = load_pretrained(target, str(tmp_path / "x.pth.tar"))
    there = one.backbone.state_dict()
    for name, tensor in target.backbone.state_dict().items():
        assert torch.equal(tensor, there[name]) or name.endswith("num_batches_tracked"), name
    assert all(map(torch.equal, target.neck.state_dict().values(), one.neck.state_dict().values())) == (
        publish in WITH_NECK
    )
    assert "tensors matched" in said and "\n" not in said


def test_the_line_says_where_it_was_found_and_what_went_unused(tmp_path, narrow):
    one = resnet(1).backbone.state_dict()
    torch.save(moco(one, {}, one), tmp_path / "moco.pth")
    said = load_pretrained(resnet(3), str(tmp_path / "moco.pth"))
    assert "under state_dict.module.encoder_q" in said
    unused = said.partition("unused, ")[2]
    assert [group in unused for group in ("encoder_k", "queue", "encoder_q.fc")] == [True] * 3


def test_a_learned_gem_exponent_comes_along(tmp_path, narrow):
    one, target = resnet(1, pooling="gem"), resnet(3, pooling="gem")
    held = fast_reid(one.backbone.state_dict(), one.neck.state_dict(), {})
    held["model"]["heads.pool_layer.p"] = torch.tensor([3.7])
    torch.save(held, tmp_path / "x.pth")
    load_pretrained(target, str(tmp_path / "x.pth"))
    assert target.pooling.p.item() == pytest.approx(3.7)


def test_ibn_weights_are_found_as_fast_reid_publishes_them(tmp_path):
    one, target = resnet(1, "resnet50_ibn"), resnet(2, "resnet50_ibn")
    torch.save(fast_reid(one.backbone.state_dict(), one.neck.state_dict(), {}), tmp_path / "x.pth")
    load_pretrained(target, str(tmp_path / "x.pth"))
    assert torch.equal(target.backbone.layer1[0].bn1.IN.weight, one.backbone.layer1[0].bn1.IN.weight)


def test_a_safetensors_file_of_timm_starts_a_resnet_of_torchvision(tmp_path, narrow):
    one, target = resnet(1), resnet(3)
    save_file(one.backbone.state_dict(), tmp_path / "model.safetensors")
    for path in (tmp_path / "model.safetensors", tmp_path):
        load_pretrained(target, str(path))
    assert torch.equal(target.backbone.conv1.weight, one.backbone.conv1.weight)


def test_a_whole_pickled_network_gives_its_weights(tmp_path, narrow):
    one, target = resnet(1), resnet(3)
    torch.save({"model": one.backbone, "trainer": SimpleNamespace(epoch=3)}, tmp_path / "x.pth")
    load_pretrained(target, str(tmp_path / "x.pth"))
    assert torch.equal(target.backbone.layer4[0].conv2.weight, one.backbone.layer4[0].conv2.weight)


def test_torchs_moving_average_is_taken_by_its_own_names(tmp_path, narrow):
    one, target = resnet(1), resnet(3)
    torch.save({"model_ema": AveragedModel(one).state_dict(), "model": resnet(2).state_dict()}, tmp_path / "x.pth")
    load_pretrained(target, str(tmp_path / "x.pth"))
    assert torch.equal(target.neck.running_mean, one.neck.running_mean)
    assert torch.equal(target.backbone.conv1.weight, one.backbone.conv1.weight)


# --- files of other architectures ---

OTHERS = {
    "resnet50": models.resnet50,
    "resnet101": models.resnet101,
    "resnet34": models.resnet34,
    "resnet18": models.resnet18,
    "wide_resnet50": models.wide_resnet50_2,
    "resnext50": models.resnext50_32x4d,
}


@pytest.mark.parametrize(
    ("file", "backbone"),
    [
        ("resnet50", "resnet18"),
        ("resnet18", "resnet50"),
        ("resnet34", "resnet50"),
        ("wide_resnet50", "resnet50"),
        ("resnext50", "resnet50"),
        ("resnet50", "resnet50_ibn"),
        ("resnet50", "timm/resnet101"),
        ("resnet18", "timm/resnet34"),
    ],
)
def test_a_file_of_another_architecture_is_refused_and_changes_nothing(tmp_path, file, backbone):
    torch.save(OTHERS[file]().state_dict(), tmp_path / "x.pth")
    target = build_model(tiny_config(backbone=backbone), 5)
    kept = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(UserError, match=r"of another architecture: .*% of the backbone's numbers") as caught:
        load_pretrained(target, str(tmp_path / "x.pth"))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in target.state_dict().items())


def test_a_deeper_network_of_the_same_names_is_refused_by_its_layers(tmp_path):
    torch.save({"state_dict": before("module.", OTHERS["resnet101"]().state_dict())}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"architecture: state_dict\.module\.layer3 has 23 layers there, 6 here; give"):
        load_pretrained(build_model(tiny_config(backbone="resnet50"), 5), str(tmp_path / "x.pth"))


def test_a_file_without_weights_is_refused_with_its_keys(tmp_path, narrow):
    torch.save({"epoch": 3, "optimizer": {"param_groups": []}, "config": "x"}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"holds no state dict; its keys: epoch, optimizer, config"):
        load_pretrained(resnet(1), str(tmp_path / "x.pth"))


@pytest.mark.parametrize("state", [{"x\ny": torch.zeros(2)}, {"x\ny": "no tensor"}])
def test_names_of_a_file_cannot_break_a_message_into_lines(tmp_path, narrow, state):
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\\ny") as caught:
        load_pretrained(resnet(1), str(tmp_path / "x.pth"))
    assert "\n" not in str(caught.value)


def test_names_that_begin_with_a_digit_that_is_no_number_are_names(tmp_path, narrow):
    torch.save({"\u00b2.weight": torch.zeros(2)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="of another architecture: none"):
        load_pretrained(resnet(1), str(tmp_path / "x.pth"))


# --- transformers ---


def vit(seed: int, height: int = 64, width: int = 32, name: str = "test_vit") -> ReIDModel:
    torch.manual_seed(seed)
    settings = ModelSettings(backbone=f"timm/{name}", image_height=height, image_width=width)
    built = ReIDModel(settings, identities=5)
    for tensor in built.parameters():
        nn.init.uniform_(tensor, -0.5, 0.5)
    return built


def trans_reid(state: State) -> dict:
    head = {"bottleneck.running_mean": torch.full((64,), 0.25), "classifier.weight": torch.zeros(751, 64)}
    jpm = {"b1.0.norm1.weight": torch.zeros(64), "base.sie_embed": torch.zeros(6, 1, 64)}
    return {**before("base.", state), "base.fc.weight": torch.zeros(1000, 64), **head, **jpm}


def dino_vit(state: State) -> dict:
    wrong = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    head = {"module.head.last_layer.weight_g": torch.zeros(9, 1)}
    return {"student": before("module.backbone.", wrong) | head, "teacher": before("module.backbone.", state) | head}


def lightning_vit(state: State) -> dict:
    return {"state_dict": before("model.", before("backbone._orig_mod.", state))}


def oml_vit(state: State) -> dict:
    return {"state_dict": before("model.model.", state), "hyper_parameters": Attributes(lr=1)}


@pytest.mark.parametrize("publish", [dict, trans_reid, dino_vit, lightning_vit, oml_vit])
def test_a_transformer_is_found_in_what_each_toolbox_publishes(tmp_path, publish):
    one, target = vit(1), vit(2)
    torch.save(publish(one.backbone.net.state_dict()), tmp_path / "x.pth")
    said = load_pretrained(target, str(tmp_path / "x.pth"))
    there = one.backbone.state_dict()
    assert all(torch.equal(tensor, there[name]) for name, tensor in target.backbone.state_dict().items())
    assert ("bottleneck" in said) is False and "tensors matched" in said
    assert bool((target.neck.running_mean == 0.25).all()) == (publish is trans_reid)


@pytest.mark.parametrize("layers", [11, 13])
def test_a_transformer_of_another_depth_is_refused_by_its_layers(tmp_path, layers):
    """11 of 12 layers are more than 90 % of the numbers."""
    state = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=layers).state_dict()
    torch.save(before("base.", state), tmp_path / "x.pth")
    with pytest.raises(UserError, match=rf"base\.blocks has {layers} layers there, 12 here"):
        load_pretrained(vit(1, 224, 224, "vit_tiny_patch16_224"), str(tmp_path / "x.pth"))


def test_a_torchscript_archive_is_refused_with_what_helps(tmp_path, narrow):
    """OpenAI publishes CLIP so."""
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"a TorchScript archive.*torch\.jit\.load\(FILE\)\.state_dict\(\)"):
        load_pretrained(resnet(1), str(tmp_path / "x.pt"))


@pytest.mark.parametrize(("rows", "columns"), [(16, 8), (21, 10)])
def test_position_embeddings_of_high_pictures_are_resized_by_rows_and_columns(tmp_path, rows, columns):
    """TransReID's grid at 256 x 128 with a stride of 16, and of 12."""
    one, target = vit(1), vit(2)
    rising = torch.linspace(0, 1, rows)[:, None].expand(rows, columns).reshape(1, -1, 1)
    embedding = nn.functional.pad(rising, (0, 0, 1, 0)).repeat(1, 1, 64)
    torch.save(before("base.", {**one.backbone.net.state_dict(), "pos_embed": embedding}), tmp_path / "x.pth")
    load_pretrained(target, str(tmp_path / "x.pth"))
    grid = target.backbone.net.pos_embed[0, 1:, 0].unflatten(0, (4, 2))
    assert torch.allclose(grid[:, 0], grid[:, 1], atol=1e-5) and bool((grid.diff(dim=0) > 0.1).all())


CLIP = {"cls_token": "class_embedding", "pos_embed": "positional_embedding", "patch_embed.proj": "conv1"}
CLIP |= {"norm_pre": "ln_pre", "norm.": "ln_post.", ".norm": ".ln_", "blocks.": "transformer.resblocks."}
CLIP |= {"qkv.": "in_proj_", "attn.proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}


def test_clip_reids_image_encoder_is_found(tmp_path):
    """OpenAI's names under image_encoder, beside prompts and the text tower."""
    one, target = vit(1), vit(2)
    state = {}
    for own, tensor in one.backbone.net.state_dict().items():
        theirs = own
        for ours, clips in CLIP.items():
            theirs = theirs.replace(ours, clips) if not ours.startswith("norm") or own.startswith(ours) else theirs
        state[theirs] = tensor[0, 0] if own == "cls_token" else tensor[0] if own == "pos_embed" else tensor
    state["ln_pre.weight"], state["proj"] = torch.ones(64), torch.zeros(64, 32)
    text = {f"text_encoder.transformer.resblocks.{n}.ln_1.weight": torch.zeros(512) for n in range(200)}
    neck = {"bottleneck.weight": torch.full((64,), 0.5), "bottleneck_proj.weight": torch.zeros(512)}
    torch.save({**before("image_encoder.", state), **text, **neck}, tmp_path / "x.pth")
    load_pretrained(target, str(tmp_path / "x.pth"))
    there = one.backbone.state_dict()
    assert all(torch.equal(tensor, there[name]) for name, tensor in target.backbone.state_dict().items())
    assert bool((target.neck.weight == 0.5).all())


MMCV = {"attn.": "attn.w_msa.", "mlp.fc1": "ffn.layers.0.0", "mlp.fc2": "ffn.layers.1"}


class UnfoldMerging(nn.Module):
    """OpenMMLab's merging of 2 x 2 patches, in SOLIDER's Swin: nn.Unfold, norm, linear layer."""

    def __init__(self, merging: nn.Module):
        super().__init__()
        width = merging.norm.normalized_shape[0]
        self.norm, self.reduction = nn.LayerNorm(width), nn.Linear(width, merging.reduction.out_features, bias=False)
        nn.init.uniform_(self.norm.weight)
        nn.init.uniform_(self.norm.bias)

    def forward(self, map_BHWC: torch.Tensor) -> torch.Tensor:
        batch, height, width, _ = map_BHWC.shape
        unfolded_BLC = nn.functional.unfold(map_BHWC.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)
        return self.reduction(self.norm(unfolded_BLC)).view(batch, height // 2, width // 2, -1)


@pytest.mark.parametrize(
    "wrap", [lambda state: {"teacher": before("backbone.", state)}, lambda state: before("base.", state), dict]
)
def test_soliders_swin_is_found_and_merges_patches_as_it_did(tmp_path, wrap):
    name = "swin_tiny_patch4_window7_224"
    one, target = vit(1, 64, 32, name), vit(2, 64, 32, name)
    state, merging = {}, {}
    for own, tensor in one.backbone.net.state_dict().items():
        first, _, rest = own.partition(".")
        if ".downsample." in own:
            continue
        for ours, mmcv in MMCV.items():
            rest = rest.replace(ours, mmcv)
        theirs = {"layers": "stages", "norm": "norm3"}.get(first, first) + "." + rest
        if first == "patch_embed":
            theirs = own.replace("proj", "projection")
        state[theirs] = tensor
    for stage in range(3):
        merging[stage] = UnfoldMerging(one.backbone.net.layers[stage + 1].downsample)
        state |= before(f"stages.{stage}.downsample.", merging[stage].state_dict())
        state |= {f"norm{stage}.weight": torch.ones(96 * 2**stage)}
    state["semantic_embed_w.0.weight"] = torch.zeros(96, 2)
    torch.save(wrap(state), tmp_path / "x.pth")
    load_pretrained(target, str(tmp_path / "x.pth"))
    net = target.backbone.net
    for stage, theirs in merging.items():
        map_BHWC = torch.randn(2, 8, 4, 96 * 2**stage)
        torch.testing.assert_close(net.layers[stage + 1].downsample(map_BHWC), theirs(map_BHWC), atol=1e-5, rtol=1e-5)
    there = one.backbone.net.state_dict()
    assert all(torch.equal(t, there[n]) for n, t in net.state_dict().items() if ".downsample." not in n)


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("test_vit", {"pos_embed": torch.zeros(2, 129, 64)}),
        ("swin_tiny_patch4_window7_224", {"stages.0.downsample.norm.weight": torch.zeros(3)}),
    ],
)
def test_tensors_of_shapes_that_no_such_model_has_are_refused(tmp_path, name, odd):
    torch.save({"layers.0.blocks.0.attn.w_msa.qkv.weight": torch.zeros(2), **odd}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=f"its tensors are not those of timm/{name}"):
        load_pretrained(vit(1, name=name), str(tmp_path / "x.pth"))


def test_original_swin_files_still_pass_through_timms_own_filter(tmp_path):
    own = timm.create_model("swin_tiny_patch4_window7_224", img_size=(64, 32)).state_dict()
    earlier = functools.partial(re.sub, r"(?<=^layers\.)\d(?=\.downsample)", lambda match: str(int(match[0]) - 1))
    moved = {earlier(name): tensor for name, tensor in own.items()}
    assert "layers.0.downsample.reduction.weight" in moved
    torch.save({"model": moved}, tmp_path / "x.pth")
    said = load_pretrained(vit(2, 64, 32, "swin_tiny_patch4_window7_224"), str(tmp_path / "x.pth"))
    assert "not in it" not in said


NUMPY = {"conv1.weight": np.zeros((2, 2), dtype=np.float32), "bn1.bias": np.zeros(2, dtype=np.float32)}
NO_WEIGHTS = {
    "pointer.pth": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        "Git LFS pointer.*git lfs pull",
    ),
    "pointer.safetensors": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
    "page.pth": (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", "a web page, not the weights; .*resolve"),
    "page.safetensors": (b"<html><body>404", "a web page"),
    "keras.h5": (b"\x89HDF\r\n\x1a\n" + bytes(90), "HDF5"),
    "squeezed.pth": (gzip.compress(b"weights"), "compressed; unpack it first"),
    "one.npy": (b"\x93NUMPY\x01\x00" + bytes(90), "one NumPy array without a name"),
}


@pytest.mark.parametrize("name", NO_WEIGHTS)
def test_a_file_that_holds_no_weights_is_called_what_it_is(tmp_path, narrow, name):
    (tmp_path / name).write_bytes(NO_WEIGHTS[name][0])
    with pytest.raises(UserError, match=rf"^pretrained={tmp_path / name}: .*{NO_WEIGHTS[name][1]}"):
        load_pretrained(resnet(0), str(tmp_path / name))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numpys_arrays_are_refused_with_a_command_that_makes_a_state_dict_of_them(tmp_path, narrow, save):
    save(tmp_path / "FILE.npz", **NUMPY)
    with pytest.raises(UserError, match="NumPy's arrays by name; make a state dict of them: ") as raised:
        load_pretrained(resnet(0), str(tmp_path / "FILE.npz"))
    command = str(raised.value).partition('python -c "')[2].removesuffix('"')
    subprocess.run([sys.executable, "-c", command], cwd=tmp_path, check=True, timeout=100)
    made = torch.load(tmp_path / "FILE.pth", weights_only=True)
    assert {name: tensor.tolist() for name, tensor in made.items()} == {n: a.tolist() for n, a in NUMPY.items()}


def test_a_folder_of_another_toolbox_names_its_files(tmp_path, narrow):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    way_out = (
        f"holds no model.safetensors, but {tmp_path}/pytorch_model.bin; give the file: {tmp_path}/pytorch_model.bin"
    )
    with pytest.raises(UserError, match=f"^pretrained={tmp_path}: {way_out}$"):
        load_pretrained(resnet(0), str(tmp_path))


def test_endings_may_be_in_capitals(tmp_path, narrow):
    theirs = resnet(1)
    save_file(theirs.backbone.network.state_dict(), tmp_path / "MODEL.SAFETENSORS")
    model = resnet(2)
    load_pretrained(model, str(tmp_path / "MODEL.SAFETENSORS"))
    torch.testing.assert_close(model.backbone.network.state_dict(), theirs.backbone.network.state_dict())


@pytest.mark.parametrize("kind", [torch.int8, torch.bool, torch.float8_e4m3fn, torch.int32, torch.complex64])
def test_weights_whose_numbers_mean_something_else_are_refused_and_change_nothing(tmp_path, narrow, kind):
    """Rounded weights of 8 bits are nothing without their scales; whole numbers are no weights."""
    torch.save(
        {name: tensor.to(kind) for name, tensor in resnet(1).backbone.network.state_dict().items()}, tmp_path / "x.pth"
    )
    target = resnet(2)
    kept = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    told = "of another architecture" if kind is torch.int32 else "cannot be taken: .*; give weights in floats"
    with pytest.raises(UserError, match=told) as caught:
        load_pretrained(target, str(tmp_path / "x.pth"))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in target.state_dict().items())
