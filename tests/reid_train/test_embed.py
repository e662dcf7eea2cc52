"""Embeddings as a file: of a data set, a folder and a list, against `load_model().embed`; and what is refused."""

import json
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from data.pixels.collection import read_collection
from data.sets.readers import read_test, read_train
from reid_train import embed as module
from reid_train.embed import load_model
from reid_train.inference.embedding_file import write_embeddings
from reid_train.inference.pictures import PictureEmbedder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def embed(monkeypatch, capsys, narrow_checkpoint, tmp_path):
    """Runs the command in this process; gives its exit code, and what it wrote to stdout and stderr."""

    def embed(*arguments, checkpoint=narrow_checkpoint):
        options = ["--checkpoint", checkpoint, "--device", "cpu", "--cache-dir", tmp_path / "cache", *arguments]
        monkeypatch.setattr("sys.argv", ["embed", *map(str, options)])
        with pytest.raises(SystemExit) as ended:
            module.main()
        return ended.value.code, *capsys.readouterr()

    return embed


def test_a_data_set_is_written_with_splits_identities_and_cameras(embed, data_dir, narrow_checkpoint, tmp_path):
    code, out, _ = embed("--images", data_dir.parent, "--out", tmp_path / "emb.npz", "--batch-size", 7)
    assert code == 0 and "looks which no study counts" in out
    arrays = np.load(tmp_path / "emb.npz", allow_pickle=False)
    train, (query, gallery) = read_train(data_dir), read_test(data_dir)
    samples = [*train, *query, *gallery]
    assert [str(data_dir / path) for path in arrays["paths"]] == [sample.path for sample in samples]
    assert arrays["identity"].tolist() == [str(sample.identity) for sample in samples]
    assert arrays["camera"].tolist() == [str(sample.camera) for sample in samples]
    sides = ["train"] * len(train) + ["query"] * len(query) + ["gallery"] * len(gallery)
    assert arrays["split"].tolist() == sides
    model = load_model(narrow_checkpoint, device="cpu")
    embeddings = arrays["embeddings"]
    assert embeddings.dtype == np.float32 and str(arrays["model"]) == model.digest
    np.testing.assert_allclose(embeddings, model.embed([sample.path for sample in samples]), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    about = json.loads(str(arrays["about"]))
    assert (about["images"], about["embedding_width"], about["flip_tta"]) == (len(samples), 64, False)


def test_any_folder_is_embedded_at_any_depth_without_labels_and_into_parquet(
    embed, data_dir, narrow_checkpoint, tmp_path
):
    folder = tmp_path / "mine"
    (folder / "a" / "b").mkdir(parents=True)
    pictures = sorted((data_dir / "query").iterdir())[:3]
    for picture, place in zip(pictures, ("a/b/2.png", "a/1.png", "0.png"), strict=True):
        shutil.copy(picture, folder / place)
    code, out, _ = embed("--images", folder, "--out", tmp_path / "emb.parquet", "--flip-tta", "--json")
    told = json.loads(out)
    assert code == 0 and told["images"] == 3 and told["flip_tta"] and told["out"] == str(tmp_path / "emb.parquet")
    frame = pd.read_parquet(tmp_path / "emb.parquet")
    assert frame["path"].tolist() == ["0.png", "a/1.png", "a/b/2.png"]
    assert frame[["identity", "camera", "split"]].isna().all(axis=None)
    model = load_model(narrow_checkpoint, device="cpu")
    expected = model.embed([folder / path for path in frame["path"]], flip_tta=True)
    np.testing.assert_allclose(np.stack(frame["embedding"]), expected, atol=1e-6)
    assert np.abs(expected - model.embed([folder / path for path in frame["path"]])).max() > 1e-4
    table = parquet.read_table(tmp_path / "emb.parquet")
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 64)
    assert json.loads(table.schema.metadata[b"reid"])["model"] == model.digest


def test_a_list_is_embedded_in_its_order_and_a_split_alone_is_no_look(embed, data_dir, tmp_path):
    names = [path.name for path in sorted((data_dir / "query").iterdir())[:4]][::-1]
    shutil.copytree(data_dir / "query", tmp_path / "pictures")
    (tmp_path / "list.txt").write_text("".join(f"pictures/{name}\n" for name in names))
    code, out, _ = embed("--images", tmp_path / "list.txt", "--out", tmp_path / "emb.npz")
    assert code == 0 and "no study counts" not in out
    arrays = np.load(tmp_path / "emb.npz")
    assert arrays["paths"].tolist() == [f"pictures/{name}" for name in names] and not any(arrays["identity"])
    code, out, _ = embed("--images", data_dir, "--split", "train", "--out", tmp_path / "train.npz")
    assert code == 0 and "no study counts" not in out
    assert set(np.load(tmp_path / "train.npz")["split"].tolist()) == {"train"}
    code, out, _ = embed("--images", data_dir / "query", "--out", tmp_path / "query.npz")
    assert code == 0 and "no study counts" in out and "query" in np.load(tmp_path / "query.npz")["split"]


def test_bad_pictures_stop_it_or_are_left_out_and_nothing_is_left_half_written(embed, data_dir, tmp_path):
    folder = shutil.copytree(data_dir / "query", tmp_path / "pictures")
    broken = sorted(folder.iterdir())[3]
    broken.write_bytes(broken.read_bytes()[:60])
    out = tmp_path / "out" / "emb.npz"
    code, _, errors = embed("--images", folder, "--out", out, "--batch-size", 2)
    assert code == 2 and str(broken) in errors and "--on-bad-image skip" in errors and errors.count("\n") == 1
    assert [*out.parent.iterdir()] == []
    code, printed, _ = embed("--images", folder, "--out", out, "--on-bad-image", "skip")
    assert code == 0 and f"1 given image left out, as they cannot be decoded: {broken.name}" in printed
    assert len(np.load(out)["paths"]) == len([*folder.iterdir()]) - 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--images", "{data}", "--out", "{tmp}/a.csv"], "a.csv: the name must end in .npz or .parquet"),
        (["--images", "{tmp}/none", "--out", "{tmp}/a.npz"], "none: no such folder"),
        (["--images", "{data}", "--out", "{tmp}/a.npz", "--batch-size", "0"], "--batch-size 0: at least 1"),
        (["--images", "{tmp}/empty", "--out", "{tmp}/a.npz"], "empty: no images"),
    ],
)
def test_mistakes_are_one_line(embed, data_dir, tmp_path, arguments, said):
    (tmp_path / "empty").mkdir()
    code, out, errors = embed(*(word.format(data=data_dir, tmp=tmp_path) for word in arguments))
    assert code == 2 and out == "" and said in errors and errors.count("\n") == 1


class Waves(PictureEmbedder):
    """Makes an embedding of a picture without a network."""

    image_height = image_width = 16
    width, digest, name = 2048, "0" * 64, "waves"

    def of_images(self, images, *, flip_tta=False):
        import torch

        return torch.nn.functional.normalize(torch.sin(images.float().mean((1, 2, 3))[:, None] * torch.arange(1, 2049)))


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_memory_does_not_grow_with_the_images(data_dir, tmp_path, ending):
    """2,000 embeddings are 16 MB; what is held at a time stays below a third of that."""
    found = read_collection(data_dir)
    times = 2000 // len(found.paths)
    many = found._replace(paths=found.paths * times, names=found.names * times, labels=found.labels * times)
    write_embeddings(Waves(), found, tmp_path / f"first.{ending}", batch_size=32)
    tracemalloc.start()
    write_embeddings(Waves(), many, tmp_path / f"many.{ending}", batch_size=32)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = (tmp_path / f"many.{ending}").stat().st_size
    assert most < 4 * len(many.paths) * 2048 / 3 and (ending == "parquet" or size > 15e6)


def test_the_door_for_programs_needs_no_torch_before_a_model_is_asked_for():
    program = "import sys, reid_train.embed; assert 'torch' not in sys.modules; reid_train.embed.load_model"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=120).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'load_models'"):
        module.load_models  # noqa: B018
