"""8-bit files: how they compare with float32 is computed here once more, by hand; and what the report says."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from data.sets.readers import read_test, read_train
from data.sets.splits import hold_out_images, split_identities
from reid_train import export as module
from reid_train.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from reid_train.inference.checkpoint_scores import evaluate_checkpoint
from reid_train.inference.embedder import load_model, open_model
from reid_train.inference.export_formats import export
from reid_train.inference.int8_report import Loss, Report, some_of
from reid_train.inference.quantise import choose_way
from tests.reid_train.conftest import tiny_config
from tests.reid_train.test_export import trained

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture
def of_data(narrow_checkpoint, data_dir, tmp_path):
    """The narrow checkpoint, as one that was trained on the data set's training images without those of validation."""
    data = hold_out_images(split_identities(read_train(data_dir)))
    identities = sorted({sample.identity for sample in data.train})
    loaded, folder = load_checkpoint(narrow_checkpoint), tmp_path / "of-data"
    weights = {n: w[: len(identities)] if n == "classifier.weight" else w for n, w in loaded.weights.items()}
    described = {"config": tiny_config(data_dir=str(data_dir)), "epoch": 3, "metrics": {}, "identities": identities}
    save_checkpoint(folder, weights, **described)
    return folder, data


@pytest.fixture
def run(monkeypatch, capsys, cache_dir):
    """Runs the command in this process; gives its exit code, and what it wrote to stdout and stderr."""

    def run(*arguments):
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache_dir))
        monkeypatch.setattr("sys.argv", ["export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            module.main()
        return ended.value.code, *capsys.readouterr()

    return run


def test_a_convolutional_network_is_fitted_to_its_training_images_and_judged_on_validation(of_data, run, cache_dir):
    folder, data = of_data
    code, out, errors = run("--checkpoint", folder, "--int8")
    assert (code, errors) == (0, "")
    file = folder / "model-int8.onnx"
    described = json.loads(onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map["description"])
    nodes = {node.op_type for node in onnx.load(file).graph.node}
    assert described["int8"]["way"] == "static" and nodes & {"QuantizeLinear", "QLinearConv"}
    assert f"static, scaled by {len(data.train)} images: training images" in out

    paths = [sample.path for sample in (*data.query, *data.gallery)]
    exact, small = load_model(folder, device="cpu").embed(paths), open_model(file).embed(paths)
    differences = [1 - float(one @ other) for one, other in zip(exact, small, strict=True)]
    assert described["int8"]["mean_difference"] == pytest.approx(np.mean(differences), abs=1e-4)
    assert described["int8"]["largest_difference"] == pytest.approx(max(differences), abs=1e-4)
    assert 1e-6 < max(differences) < 0.1
    before = evaluate_checkpoint(folder, data.query, data.gallery, device="cpu", cache_dir=cache_dir).mAP
    after = evaluate_checkpoint(file, data.query, data.gallery, cache_dir=cache_dir).mAP
    assert described["int8"]["validation"] == pytest.approx({"mAP_float32": before, "mAP_int8": after}, abs=1e-4)
    assert f"on 8 validation identities, not the test images: {before:.3f} before, {after:.3f} after" in out
    assert "it was trained on" not in out and "median of 30 passes" in out
    sizes = [line for line in out.splitlines() if line.startswith("size")]
    assert sizes == [f"size   {sizes[0].split()[1]} MB before, {file.stat().st_size / 1e6:.1f} MB after"]


def test_a_transformer_is_quantised_dynamically(tmp_path, data_dir, run):
    folder = trained(tmp_path / "run", backbone="timm/test_vit")
    code, out, _ = run("--checkpoint", folder, "--int8", "--calibrate", data_dir / "bounding_box_train")
    assert code == 0 and "int8   dynamic\n" in out and "mAP    not measured: " in out
    nodes = [node.op_type for node in onnx.load(folder / "model-int8.onnx").graph.node]
    assert "MatMulInteger" in nodes or "DynamicQuantizeMatMul" in nodes
    export(folder, "onnx", tmp_path / "model.onnx")
    assert choose_way(tmp_path / "model.onnx") == "dynamic"


def test_floats_go_into_8_bits_too_and_the_card_tells_of_it(of_data, run, tmp_path):
    folder, data = of_data
    code, _, _ = run("--checkpoint", folder, "--int8", "static", "--input", "float", "--card")
    assert code == 0
    path = data.query[0].path
    exact, small = (
        model.embed([path])[0] for model in (load_model(folder), open_model(folder / "model-float-int8.onnx"))
    )
    assert exact @ small > 0.9
    assert (
        "`model-float-int8.onnx` computes with 8-bit integers (static quantisation)"
        in (folder / "README.md").read_text()
    )


def test_identities_that_were_trained_on_are_told_apart(narrow_checkpoint, data_dir, run, tmp_path):
    loaded = load_checkpoint(narrow_checkpoint)
    data = split_identities(read_train(data_dir))
    seen = sorted({sample.identity for sample in data.query})[:2]
    identities = [*seen, *range(100, 107)]
    described = {"config": tiny_config(data_dir=str(data_dir)), "epoch": 3, "metrics": {}, "identities": identities}
    save_checkpoint(tmp_path / "retrained", loaded.weights, **described)
    code, out, errors = run("--checkpoint", tmp_path / "retrained", "--int8")
    assert (code, errors) == (0, "")
    assert "it was trained on 2 of these 8 identities: it tells little of others" in out


def test_pictures_are_asked_for_where_there_are_none_and_test_images_refused(narrow_checkpoint, data_dir, run):
    code, out, errors = run("--checkpoint", narrow_checkpoint, "--int8")
    assert code == 2 and out == "" and errors.count("\n") == 1
    assert "--int8 needs pictures" in errors and "--data-dir DIR" in errors and "--calibrate DIR" in errors
    code, _, errors = run("--checkpoint", narrow_checkpoint, "--int8", "--calibrate", data_dir / "query")
    assert code == 2 and "holds test images, which nothing may be fitted to" in errors
    code, _, errors = run("--checkpoint", narrow_checkpoint, "--int8", "--format", "pt2")
    assert code == 2 and "--int8: is for --format onnx, not pt2" in errors
    assert not [*narrow_checkpoint.glob("*.onnx")]


def test_a_fall_beyond_the_share_that_is_asked_for_is_warned_of():
    report = Report((4_000_000, 1_000_000), 9, 0.01, 0.03, Loss(0.62, 0.57, (0.01, 0.09), 8, 0), ([2.0] * 3, [1.0] * 3))
    *_, last = report.lines(0.01)
    assert last.startswith("warning: the mAP falls by 0.050, more than 0.01 (--most-loss)")
    assert not any(line.startswith("warning") for line in report.lines(0.06))
    assert "size   4.0 MB before, 1.0 MB after" in report.lines(0.06)[0]
    assert "before minus after 0.050 (95 % over identities: 0.010 to 0.090)" in report.lines(0.06)[2]


def test_of_many_validation_images_whole_identities_are_taken(data_dir, monkeypatch):
    data = split_identities(read_train(data_dir))
    monkeypatch.setattr("reid_train.inference.int8_report.MOST_IMAGES", 13)
    query, gallery = some_of(data)
    counted = {
        identity: sum(s.identity == identity for s in (*data.query, *data.gallery))
        for identity in {s.identity for s in gallery}
    }
    assert len(query) + len(gallery) == sum(counted.values()) == 12 and len(counted) == 2
    assert {s.identity for s in query} <= set(counted)
    assert len(read_test(data_dir)[0]) == 8
