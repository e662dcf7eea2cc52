"""A frozen backbone's features: kept, checked, and the same as those computed in every step."""

import logging
from dataclasses import asdict
from pathlib import Path

import pytest

from data.pixels.cache import open_pixels
from data.sets.readers import read_train
from data.system import kept
from reid_train.model.network import ReIDModel
from reid_train.training import run as training_run
from reid_train.training.loop import train_epochs
from tests.reid_train.conftest import HEIGHT, WIDTH, tiny_config

STILL = {"freeze": "backbone", "crop_scale": 1, "randaugment_operations": 0, "holdout_images_per_identity": 1}


@pytest.fixture
def own_pixels(data_dir, tmp_path):
    """The pixels in a cache that holds nothing else."""
    return open_pixels(read_train(data_dir), height=HEIGHT, width=WIDTH, cache_dir=tmp_path / "cache")


@pytest.fixture
def passes(monkeypatch):
    """How many images the model has seen as images, as a list of batches."""
    seen: list[int] = []
    pooled = ReIDModel.pooled
    monkeypatch.setattr(ReIDModel, "pooled", lambda self, images: (seen.append(len(images)), pooled(self, images))[1])
    return seen


def figures(config, data, pixels, out_dir: Path | None = None) -> list[dict[str, float]]:
    timed = ("seconds", "images_per_s")
    reports = [asdict(report) for report in train_epochs(config, data, pixels, out_dir=out_dir)]
    return [{name: v for name, v in report.items() if name not in timed and v is not None} for report in reports]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "timm/test_vit"},
        {"fc_layers": 1, "fc_width": 16, "dropout": 0.3, "ema_rate": 0.3, "freeze": "backbone"},
    ],
)
def test_a_run_on_kept_features_is_the_run_without_them(data, own_pixels, passes, monkeypatch, changes):
    config = tiny_config(**{**STILL, "num_epochs": 3, **changes})
    kept = figures(config, data, own_pixels)
    assert sum(passes) == 2 * len(own_pixels)
    passes.clear()
    assert figures(config, data, own_pixels) == kept and not passes  # the second run computes nothing
    monkeypatch.setattr(training_run, "frozen_features", lambda *arguments, **options: None)
    computed = figures(config, data, own_pixels)
    assert sum(passes) > 3 * len(data.train)
    for one, other in zip(kept, computed, strict=True):
        for name, value in one.items():
            assert value == pytest.approx(other[name], rel=2e-3, abs=2e-4), name


@pytest.mark.usefixtures("narrow")
def test_mirror_images_have_features_of_their_own(data, own_pixels):
    always, never = (figures(tiny_config(**STILL, flip_probability=p), data, own_pixels) for p in (1, 0))
    assert always != never


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    "changes",
    [
        {"freeze": "none"},
        {"freeze": "first_2"},
        {"crop_scale": 0.8},
        {"erasing_probability": 0.5},
        {"pooling": "gem"},
        {"randaugment_operations": 1},
        {"parts": 2, "part_width": 8, "last_stride": 1},
    ],
)
def test_what_changes_the_features_in_training_goes_the_ordinary_way(data, own_pixels, tmp_path, passes, changes):
    config = tiny_config(**{**STILL, "num_epochs": 1, "pct_start": 0.6, **changes})
    next(train_epochs(config, data, own_pixels))
    assert not list((tmp_path / "cache").glob("*.features")) and sum(passes) >= len(data.train)


@pytest.mark.usefixtures("narrow")
def test_other_weights_settings_and_images_have_files_of_their_own(data, data_dir, own_pixels, tmp_path):
    def kept() -> set[Path]:
        return set((tmp_path / "cache").glob("*.features"))

    config = tiny_config(**STILL, num_epochs=1, pct_start=0.6)
    next(train_epochs(config, data, own_pixels))
    next(train_epochs(config.changed(learning_rate=0.01, fc_layers=1, fc_width=8), data, own_pixels))
    assert len(kept()) == 1
    next(train_epochs(config.changed(seed=1), data, own_pixels))  # other random weights
    next(train_epochs(config.changed(last_stride=1), data, own_pixels))
    larger = open_pixels(read_train(data_dir), height=40, width=WIDTH, cache_dir=tmp_path / "cache")
    next(train_epochs(config.changed(image_height=40), data, larger))
    assert len(kept()) == 4


@pytest.mark.usefixtures("narrow")
def test_a_damaged_file_is_made_again(data, own_pixels, tmp_path, passes, caplog):
    config = tiny_config(**STILL, num_epochs=1, pct_start=0.6)
    first = figures(config, data, own_pixels)
    (file,) = (tmp_path / "cache").glob("*.features")
    whole = file.read_bytes()
    for damaged in (whole[:-40] + bytes(40), whole[:-40], b""):
        file.write_bytes(damaged)
        passes.clear()
        with caplog.at_level(logging.WARNING):
            assert figures(config, data, own_pixels) == first
        assert sum(passes) == 2 * len(own_pixels) and "is damaged; it is made again" in caplog.text
        assert file.read_bytes() == whole


@pytest.mark.usefixtures("narrow")
def test_a_run_that_waited_for_another_computes_nothing(data, own_pixels, tmp_path, passes, monkeypatch):
    config = tiny_config(**STILL, num_epochs=1, pct_start=0.6)
    first = figures(config, data, own_pixels)
    passes.clear()
    read, asked = kept.read_arrays, []

    def read_late(file, key):
        """As the file looks to one who asks before the other has written it, and gets the lock after."""
        asked.append(file)
        return None if len(asked) == 1 else read(file, key)

    monkeypatch.setattr(kept, "read_arrays", read_late)
    assert figures(config, data, own_pixels) == first and len(asked) == 2 and not passes


@pytest.mark.usefixtures("narrow")
def test_an_interrupted_run_on_kept_features_goes_on_bit_for_bit(data, own_pixels, tmp_path):
    config = tiny_config(**STILL, num_epochs=3, dropout=0.3)
    whole = figures(config, data, own_pixels)
    epochs = train_epochs(config, data, own_pixels, out_dir=tmp_path / "run", state_interval_s=0)
    next(epochs)
    epochs.close()
    assert figures(config, data, own_pixels, tmp_path / "run") == whole


@pytest.mark.usefixtures("narrow")
def test_without_a_pixel_file_features_are_kept_in_memory(data, data_dir, tmp_path, passes):
    unkept = open_pixels(read_train(data_dir), height=HEIGHT, width=WIDTH, cache_dir=tmp_path / "none", limit_bytes=1)
    figures(tiny_config(**STILL), data, unkept)
    assert sum(passes) == 2 * len(unkept) and not list(tmp_path.rglob("*.features"))
