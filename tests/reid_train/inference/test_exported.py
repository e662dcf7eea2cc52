"""Exported files as models: the checkpoint's embeddings and figures, and what a foreign ONNX file has to be told."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

import reid_train.evaluate
import reid_train.query
from data.sets.readers import read_test
from data.system.errors import UserError
from reid_train.inference.checkpoint_scores import evaluate_checkpoint
from reid_train.inference.embedder import embed_cached, load_model, open_model
from reid_train.inference.evaluation_count import read_test_metrics
from reid_train.inference.export_formats import FORMATS, export
from reid_train.inference.exported import ExportedEmbedder, GivenInput
from reid_train.measure.scores import summary
from tests.reid_train.conftest import HEIGHT, WIDTH

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def files(data_dir):
    return [sample.path for sample in read_test(data_dir)[1]]


def without_description(file):
    """The same ONNX file as somebody else would have exported it."""
    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.save(model, file.with_name("foreign.onnx"))
    return file.with_name("foreign.onnx")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_an_exported_file_embeds_as_its_checkpoint_does(narrow_checkpoint, files, tmp_path, format, kind):
    file = tmp_path / f"model{FORMATS[format].ending}"
    export(narrow_checkpoint, format, file, kind)
    exported, own = open_model(file), load_model(narrow_checkpoint, device="cpu")
    assert (exported.width, exported.image_height, exported.image_width) == (64, HEIGHT, WIDTH)
    np.testing.assert_allclose(exported.embed(files), own.embed(files), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(exported.embed(files, flip_tta=True), axis=1), 1, atol=1e-5)
    embedded, computed = embed_cached(exported, files[:3], tmp_path / "cache")
    assert computed == 3
    np.testing.assert_allclose(embedded, own.embed(files[:3]), atol=1e-4)


def test_floats_are_what_a_tracker_makes_of_a_crop(narrow_checkpoint, files, tmp_path):
    """Resized, divided by 255, normalised by ImageNet's mean and deviation, as BoxMOT and torchvision do."""
    described, difference = export(narrow_checkpoint, "onnx", tmp_path / "model.onnx", "float")
    assert difference <= 1e-4 and (described["mean"], described["std"]) == (list(MEAN), list(STD))
    assert described["colour_order"] == "RGB" and "(image / 255 - mean) / std" in described["input"]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    crops = [Image.open(file).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR) for file in files[:4]]
    batch = np.stack([((np.asarray(crop) / 255 - MEAN) / STD).transpose(2, 0, 1) for crop in crops]).astype(np.float32)
    (embeddings,) = session.run(None, {session.get_inputs()[0].name: batch})
    np.testing.assert_allclose(embeddings, load_model(narrow_checkpoint, device="cpu").embed(files[:4]), atol=1e-4)


def evaluate(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        reid_train.evaluate.main()
    return ended.value.code, *capsys.readouterr()


def test_an_exported_file_scores_as_its_checkpoint_and_its_study_counts_it(
    narrow_checkpoint, data_dir, cache_dir, tmp_path, monkeypatch, capsys
):
    (tmp_path / "study.db").touch()
    own = summary(evaluate_checkpoint(narrow_checkpoint, *read_test(data_dir), device="cpu", cache_dir=cache_dir))
    for number, (format, kind) in enumerate([("onnx", "float"), ("torchscript", "uint8")], start=1):
        file = narrow_checkpoint / f"model{FORMATS[format].ending}"
        export(narrow_checkpoint, format, file, kind)
        code, out, errors = evaluate(
            monkeypatch, capsys, "--checkpoint", file, "--data-dir", data_dir, "--cache-dir", cache_dir
        )
        assert (code, errors) == (0, "") and len(read_test_metrics(tmp_path)["evaluations"]) == number
        assert "for this study (evaluate" in out
        figures = json.loads((narrow_checkpoint / f"evaluation-{file.name}.json").read_text())
        for name in ("mAP", "rank1", "mINP", "queries"):
            assert figures[name] == pytest.approx(own[name], abs=1e-3)
    assert not (narrow_checkpoint / "evaluation.json").exists()


def test_a_query_is_asked_of_an_exported_file(narrow_checkpoint, data_dir, tmp_path, monkeypatch, capsys):
    export(narrow_checkpoint, "onnx", tmp_path / "model.onnx")
    image, tables = next((data_dir / "query").iterdir()), []
    for checkpoint in (narrow_checkpoint, tmp_path / "model.onnx"):
        arguments = ["--checkpoint", checkpoint, "--gallery", data_dir, "--image", image, "--cache-dir", tmp_path / "c"]
        monkeypatch.setattr("sys.argv", ["query", *map(str, arguments), "--out", str(tmp_path / "ranks.png")])
        with pytest.raises(SystemExit) as ended:
            reid_train.query.main()
        assert ended.value.code == 0
        tables.append([line for line in capsys.readouterr().out.splitlines() if line.startswith("│")])
    assert tables[0] == tables[1]


def test_a_foreign_file_is_evaluated_with_what_the_options_say(
    narrow_checkpoint, data_dir, cache_dir, files, tmp_path, monkeypatch, capsys
):
    export(narrow_checkpoint, "onnx", tmp_path / "model.onnx", "float")
    foreign = without_description(tmp_path / "model.onnx")
    where = ["--checkpoint", foreign, "--data-dir", data_dir, "--cache-dir", cache_dir]
    code, out, errors = evaluate(monkeypatch, capsys, *where)
    assert code == 2 and out == "" and errors.count("\n") == 1
    assert "takes floats and does not say how they are normalised" in errors
    assert "--mean 0.485 0.456 0.406 --std 0.229 0.224 0.225" in errors
    given = ["--mean", *MEAN, "--std", *STD]
    assert evaluate(monkeypatch, capsys, *where, *given)[0] == 0
    figures = json.loads((tmp_path / "evaluation-foreign.onnx.json").read_text())
    own = summary(evaluate_checkpoint(narrow_checkpoint, *read_test(data_dir), device="cpu", cache_dir=cache_dir))
    assert figures["mAP"] == pytest.approx(own["mAP"], abs=1e-3)
    code, _, errors = evaluate(monkeypatch, capsys, *where, *given, "--input-size", 64, 64)
    assert code == 2 and f"--input-size 64 64: {foreign} takes images of {HEIGHT} x {WIDTH}" in errors
    export(narrow_checkpoint, "onnx", tmp_path / "uint8.onnx")
    shutil.move(without_description(tmp_path / "uint8.onnx"), tmp_path / "other.onnx")
    own_embeddings = load_model(narrow_checkpoint, device="cpu").embed(files[:3])
    np.testing.assert_allclose(open_model(tmp_path / "other.onnx").embed(files[:3]), own_embeddings, atol=1e-4)


def made(file, shape, *, kind=TensorProto.FLOAT, rank=2):
    """An ONNX file that gives each image's mean colour (rank 2), or the images themselves."""
    image = helper.make_tensor_value_info("input", kind, shape)
    output = helper.make_tensor_value_info("output", kind, [None] * rank)
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    node = (
        helper.make_node("ReduceMean", ["input", "axes"], ["output"], keepdims=0)
        if rank == 2
        else helper.make_node("Identity", ["input"], ["output"])
    )
    graph = helper.make_graph([node], "g", [image], [output], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.save(model, file)
    return file


def test_what_a_foreign_file_does_not_say_is_asked_for(files, tmp_path):
    free = made(tmp_path / "free.onnx", ["batch", 3, "height", "width"])
    with pytest.raises(UserError, match="does not say the size of its images; give it: --input-size HEIGHT WIDTH"):
        ExportedEmbedder(free, given=GivenInput(mean=MEAN, std=STD))
    model = ExportedEmbedder(free, given=GivenInput((20, 10), MEAN, STD))
    crop = np.asarray(Image.open(files[0]).convert("RGB").resize((10, 20), Image.Resampling.BILINEAR))
    expected = ((crop / 255 - MEAN) / STD).mean((0, 1))
    np.testing.assert_allclose(model.embed(files[:1])[0], expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ([None, 1, 8, 8], {}, r"its input input is .*uint8 or float32 images, B x 3 x H x W, are taken"),
        ([None, 3, 8, 8], {"kind": TensorProto.DOUBLE}, "uint8 or float32 images"),
        ([1, 3, 8, 8], {}, "does not take 2 images of 8 x 8 .*; export it for batches of any size"),
        ([None, 3, 8, 8], {"rank": 4}, r"gives \(2, 3, 8, 8\) for 2 images, which are no 2 embeddings"),
    ],
)
def test_a_foreign_file_that_gives_no_embeddings_of_images_is_refused(tmp_path, shape, options, said):
    file = made(tmp_path / "foreign.onnx", shape, **options)
    with pytest.raises(UserError, match=said) as caught:
        ExportedEmbedder(file, given=GivenInput(mean=MEAN, std=STD))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["onnx", "pt", "pt2"])
def test_damaged_files_are_refused_in_a_line(narrow_checkpoint, tmp_path, ending):
    file = tmp_path / f"model.{ending}"
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=rf"model\.{ending}: no file of --format \w+, or damaged") as caught:
        open_model(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="--device cuda: an exported file runs on the CPU here"):
        open_model(file, device="cuda")
