"""Exported files against PyTorch: every kind of head, batches of any size, and what the file says of itself."""

import json
import os
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from data.pixels.decoding import decode
from data.system.errors import UserError
from reid_train import export as module
from reid_train.checkpoints.checkpoint import build_model, load_network, save_checkpoint
from reid_train.inference.embedder import load_model
from reid_train.inference.export_formats import FORMATS, export
from tests.reid_train.conftest import HEIGHT, WIDTH, tiny_config

pytestmark = pytest.mark.usefixtures("narrow")
HEADS = {
    "parts": {"parts": 2, "part_width": 8, "pooling": "gem", "last_stride": 1},
    "vit": {"backbone": "timm/test_vit", "fc_layers": 1, "fc_width": 16},
    "experts": {"fc_layers": 2, "fc_width": 16, "moe_experts": 4, "moe_top_k": 2, "identity_loss": "arcface"},
}


def trained(folder, **settings):
    """A checkpoint whose normalisation has seen pictures, so that embeddings differ."""
    config = tiny_config(**{"image_height": 2 * HEIGHT, **settings})
    torch.manual_seed(0)
    model = build_model(config, 5).train()
    for batch in pictures(3, 8):
        model(batch)
    save_checkpoint(folder, model.state_dict(), config=config, epoch=1, metrics={}, identities=list(range(5)))
    return folder


def pictures(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    coarse = torch.rand(np.prod(shape), 3, 4, 2, generator=generator)
    return (255 * F.interpolate(coarse, (2 * HEIGHT, WIDTH))).to(torch.uint8).unflatten(0, shape)


def expected(folder, images):
    """Embeddings of unit length, by PyTorch."""
    with torch.no_grad():
        embeddings = load_network(folder)[0](images).numpy()
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def refuses_what_is_no_uint8_picture_of_its_size(run) -> bool:
    for wrong in (pictures(2) / 255, pictures(2)[:, :, :HEIGHT], pictures(2)[0]):
        with pytest.raises(Exception, match=r"(?i)uint8|expected|invalid|guard"):
            run(wrong)
    return True


@pytest.mark.parametrize("head", HEADS)
def test_onnx_gives_pytorchs_embeddings_for_batches_of_any_size(tmp_path, head):
    folder = trained(tmp_path / "run", **HEADS[head])
    described, difference = export(folder, "onnx", tmp_path / "model.onnx")
    assert 0 <= difference <= 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3, 7):
        images = pictures(batch)
        (embeddings,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(embeddings, expected(folder, images), atol=1e-4)
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-2  # else the above would say little
    (given,) = session.get_inputs()
    assert given.type == "tensor(uint8)" and given.shape == ["batch", 3, 2 * HEIGHT, WIDTH]
    assert json.loads(session.get_modelmeta().custom_metadata_map["description"]) == described
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"))
    assert refuses_what_is_no_uint8_picture_of_its_size(FORMATS["onnx"].read(tmp_path / "model.onnx").run)


@pytest.mark.filterwarnings("ignore:.*torch.jit.load.*:FutureWarning")
@pytest.mark.parametrize(
    ("format", "head"),
    [("torchscript", "parts"), ("torchscript", "experts"), ("torchscript", "vit"), ("pt2", "experts"), ("pt2", "vit")],
)
def test_torchscript_and_pt2_give_pytorchs_embeddings_for_batches_of_any_size(tmp_path, format, head):
    folder, file = trained(tmp_path / "run", **HEADS[head]), tmp_path / "model"
    described, difference = export(folder, format, file)
    extra = {"description": ""}
    if format == "pt2":
        with file.open("rb") as opened:
            run = torch.export.load(opened, extra_files=extra).module()
    else:
        run = torch.jit.load(file, _extra_files=extra)
    for batch in (1, 3):
        images = pictures(batch)
        np.testing.assert_allclose(run(images).detach(), expected(folder, images), atol=1e-6)
    assert difference <= 1e-4 and json.loads(extra["description"]) == described
    assert refuses_what_is_no_uint8_picture_of_its_size(FORMATS[format].read(file).run)


@pytest.mark.filterwarnings("ignore:.*torch.jit.load.*:FutureWarning")
def test_the_description_is_enough_to_get_the_embedding_of_a_photo(narrow_checkpoint, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 50, 3), dtype=np.uint8)).save(tmp_path / "p.png")
    described, _ = export(narrow_checkpoint, "torchscript", tmp_path / "model.pt")
    assert described["input"].startswith(f"images: uint8 RGB, B x 3 x {HEIGHT} x {WIDTH}, any B; resize pictures")
    assert described["output"].startswith("embeddings: float32, B x 64, of unit length")
    pixels = decode(tmp_path / "p.png", described["image_height"], described["image_width"])
    embedding = torch.jit.load(tmp_path / "model.pt")(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
    ours = load_model(narrow_checkpoint, device="cpu").embed([tmp_path / "p.png"])
    np.testing.assert_allclose(embedding.detach(), ours, atol=1e-6)


def test_a_file_whose_embeddings_differ_is_not_written(narrow_checkpoint, tmp_path, monkeypatch):
    real = FORMATS["torchscript"]

    def read(file):
        opened = real.read(file)
        return opened._replace(run=lambda images: opened.run(images) + 1e-4)  # 8e-4 in the length of 64 numbers

    monkeypatch.setitem(FORMATS, "torchscript", real._replace(read=read))
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.pt").write_text("of an earlier run")
    with pytest.raises(UserError, match=r"model\.pt: not written: its embeddings differ from PyTorch's by 0\.0008"):
        export(narrow_checkpoint, "torchscript", out / "model.pt")
    assert [file.name for file in out.iterdir()] == ["model.pt"]
    assert (out / "model.pt").read_text() == "of an earlier run"


def command(monkeypatch, *arguments):
    """The exit code of the command, in this process."""
    monkeypatch.setattr("sys.argv", ["export", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        module.main()
    return ended.value.code


def test_the_command_says_what_goes_in_what_comes_out_and_the_difference(narrow_checkpoint, monkeypatch, capsys):
    assert command(monkeypatch, "--checkpoint", narrow_checkpoint, "--format", "torchscript") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("in   images: uint8") and lines[1].startswith("out  embeddings: float32")
    assert lines[2] == "differs from PyTorch by 0 at most (allowed: 0.0001)"
    assert lines[3] == f"written to {narrow_checkpoint / 'model.pt'}" and (narrow_checkpoint / "model.pt").is_file()


def test_mistakes_give_one_line(narrow_checkpoint, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    for arguments, message in (
        (["--checkpoint", tmp_path / "nothing", "--format", "pt2"], "nothing: no such checkpoint; give a folder"),
        (["--checkpoint", narrow_checkpoint], "--format onnx needs onnxscript, which is not installed: "),
        (
            ["--checkpoint", narrow_checkpoint, "--format", "torchscript", "--out", tmp_path / "file" / "m.pt"],
            "m.pt: cannot be written: ",
        ),
    ):
        assert command(monkeypatch, *arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def test_the_command_offers_every_format(monkeypatch, capsys):
    assert command(monkeypatch, "--help") == 0
    assert "{" + ",".join(FORMATS) + "}" in capsys.readouterr().out


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_whose_name_is_no_utf_8_can_be_written(narrow_checkpoint, tmp_path, format):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    _, difference = export(narrow_checkpoint, format, folder / "model.bin")
    assert difference <= 1e-4 and (folder / "model.bin").stat().st_size > 0
