"""A trained model from Python: the same pictures give the same embeddings, however they come."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.pixels.cache import open_pixels
from data.sets.readers import read_test
from data.system.errors import UserError
from reid_train.checkpoints import checkpoint as checkpoints
from reid_train.inference.checkpoint_scores import evaluate_checkpoint
from reid_train.inference.embedder import embed_cached, load_model
from reid_train.measure.features import extract_features
from tests.reid_train.conftest import HEIGHT, WIDTH, tiny_config


@pytest.fixture
def files(data_dir):
    return [sample.path for sample in read_test(data_dir)[1]]


def test_embeddings_are_the_evaluations_at_unit_length(narrow_checkpoint, data_dir, files, cache_dir):
    gallery = read_test(data_dir)[1]
    network, _ = checkpoints.load_network(narrow_checkpoint)
    pixels = open_pixels(gallery, height=HEIGHT, width=WIDTH, cache_dir=cache_dir)
    features = extract_features(network, pixels, gallery, device=torch.device("cpu"), precision=torch.float32)
    expected = network.neck(features).detach().numpy()
    embeddings = load_model(narrow_checkpoint, device="cpu").embed(files)
    assert embeddings.dtype == np.float32 and embeddings.shape == (len(files), 64)
    np.testing.assert_allclose(embeddings, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_an_index_of_one_machine_matches_the_queries_of_another(
    narrow, narrow_checkpoint, files, data_dir, cache_dir, tmp_path, monkeypatch
):
    """A server multiplies bfloat16, a laptop does not: with precision=auto both embed in float32."""
    loaded = checkpoints.load_checkpoint(narrow_checkpoint)
    described = {"config": tiny_config(precision="auto"), "epoch": 3, "metrics": {}, "identities": loaded.identities}
    checkpoints.save_checkpoint(tmp_path / "auto", loaded.weights, **described)
    found, figures = [], []
    for there in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda there=there: {"avx512_bf16": there})
        found.append(load_model(tmp_path / "auto", device="cpu").embed(files))
        scores = evaluate_checkpoint(tmp_path / "auto", *read_test(data_dir), device="cpu", cache_dir=cache_dir)
        figures.append(scores.average_precision)
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(*figures)


def test_nothing_is_rounded_to_tf32_while_features_are_computed(narrow_checkpoint, files, monkeypatch):
    model, seen = load_model(narrow_checkpoint, device="cpu"), []
    features = model.network.features
    monkeypatch.setattr(
        model.network, "features", lambda x: seen.append(torch.backends.cudnn.allow_tf32) or features(x)
    )
    before = torch.backends.cudnn.allow_tf32
    model.embed(files[:2])
    assert seen == [False] and torch.backends.cudnn.allow_tf32 == before


def test_paths_pictures_and_arrays_give_the_same(narrow_checkpoint, files):
    model = load_model(narrow_checkpoint, device="cpu")
    pictures = [Image.open(file) for file in files[:3]]
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    of_files = model.embed(files[:3])
    for same in ([Path(file) for file in files[:3]], pictures, list(arrays), arrays):
        np.testing.assert_allclose(model.embed(same), of_files, atol=1e-6)
    mixed = model.embed([files[2], pictures[0], arrays[1]])
    np.testing.assert_allclose(mixed, of_files[[2, 0, 1]], atol=1e-6)
    assert np.abs(of_files[0] - of_files[2]).max() > 1e-3  # else the above would say nothing


def test_a_photo_is_turned_upright_and_the_callers_own_is_left_as_it_was(narrow_checkpoint, files, tmp_path):
    model = load_model(narrow_checkpoint, device="cpu")
    upright = Image.open(files[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its left side
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    lying = Image.open(tmp_path / "lying.png")
    np.testing.assert_allclose(model.embed([lying, tmp_path / "lying.png"]), model.embed([upright] * 2), atol=1e-6)
    assert lying.size == (HEIGHT, WIDTH)


def test_none_gives_none(narrow_checkpoint):
    assert load_model(narrow_checkpoint, device="cpu").embed([]).shape == (0, 64)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("a.jpg", "embed takes a list of pictures: put the one in brackets"),
        (np.zeros((8, 4, 3), dtype=np.uint8), "embed takes a list of pictures: put the one in brackets"),
        ((name for name in ["a.jpg"]), "embed takes a list of pictures, not generator"),
        (["/nowhere.jpg"], "/nowhere.jpg: No such file or directory"),
        ([np.zeros((4, 4, 3))], r"an array of float64 \(4, 4, 3\) is no picture: give uint8 RGB"),
        ([np.zeros((3, 8, 4), dtype=np.uint8)], r"an array of uint8 \(3, 8, 4\) is no picture"),
        ([np.zeros((0, 4, 3), dtype=np.uint8)], "is no picture"),
        ([7], "int is no picture: give a path"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_line(narrow_checkpoint, images, message):
    with pytest.raises(UserError, match=message):
        load_model(narrow_checkpoint, device="cpu").embed(images)


def test_only_new_contents_are_computed_wherever_they_lie(narrow_checkpoint, files, tmp_path):
    model = load_model(narrow_checkpoint, device="cpu")
    first, computed = embed_cached(model, files, tmp_path / "cache")
    assert computed == len(files)
    copies = [str(shutil.copy(file, tmp_path)) for file in reversed(files)]
    again, computed = embed_cached(model, copies, tmp_path / "cache")
    assert computed == 0
    np.testing.assert_array_equal(again, first[::-1])
    Image.open(files[0]).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(copies[0])
    changed, computed = embed_cached(model, copies, tmp_path / "cache")
    assert computed == 1
    np.testing.assert_allclose(changed, model.embed(copies), atol=1e-6)
    assert not np.allclose(changed[0], again[0], atol=1e-3)


def test_other_weights_and_a_damaged_cache_are_computed_anew(narrow_checkpoint, files, tmp_path):
    model = load_model(narrow_checkpoint, device="cpu")
    expected, _ = embed_cached(model, files, tmp_path)
    (kept,) = (tmp_path / "embeddings").iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])
    again, computed = embed_cached(model, files, tmp_path)
    assert computed == len(files)
    np.testing.assert_array_equal(again, expected)
    network, loaded = checkpoints.load_network(narrow_checkpoint)
    network.neck.weight.data[:32] *= 3
    described = {"config": loaded.config, "epoch": 3, "metrics": {}, "identities": loaded.identities}
    checkpoints.save_checkpoint(tmp_path / "other", network.state_dict(), **described)
    other, computed = embed_cached(load_model(tmp_path / "other", device="cpu"), files, tmp_path)
    assert computed == len(files) and not np.allclose(other, expected, atol=1e-3)
