"""The three ways up the rungs, on real (tiny) training runs."""

import shutil
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from data.pixels.cache import open_pixels
from data.sets.samples import Sample
from data.sets.splits import TrainingData
from reid_train.checkpoints.checkpoint import WEIGHTS, load_checkpoint
from reid_train.model.backbones import BACKBONES
from reid_train.settings.config import TrainConfig
from reid_train.training.loop import train_epochs
from tests.narrow_resnet import NarrowResNet
from tuning.record.folders import rung_folder, weights_folder
from tuning.record.job import TrialJob
from tuning.run.climb import climb
from tuning.space.schedules import Schedule, schedules

RUNGS = (1, 2, 4)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    monkeypatch.setitem(BACKBONES, "resnet18", (NarrowResNet, BACKBONES["resnet18"][1], 64))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """8 identities of one colour each to train on, 4 to validate with, 4 images each by 2 cameras."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    samples = []
    for identity in range(12):
        colour = rng.uniform(30, 220, 3)
        for number in range(4):
            noise = rng.normal(0, 15, (32, 16, 3))
            file = folder / f"{identity}_{number}.png"
            Image.fromarray(np.clip(colour * rng.uniform(0.7, 1.2) + noise, 0, 255).astype(np.uint8)).save(file)
            samples.append(Sample(str(file), identity, number % 2))
    held = [sample for sample in samples if sample.identity >= 8]
    query = [sample for sample in held if sample.path.endswith("_0.png")]
    gallery = [sample for sample in held if sample not in query]
    return TrainingData([sample for sample in samples if sample.identity < 8], query, gallery)


@pytest.fixture(scope="module")
def pixels(data, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return open_pixels([*data.train, *data.query, *data.gallery], height=32, width=16, cache_dir=cache)


@pytest.fixture(scope="module")
def config():
    torch.set_num_threads(1)
    return TrainConfig(
        image_height=32, image_width=16, batch_size=8, images_per_identity=2, backbone="resnet18", pretrained="none",
        last_stride=2, pct_start=0.5, device="cpu", precision="float32", learning_rate=1e-3, seed=3,
    )  # fmt: skip


def job(config, promotion, behind=0):
    """A trial that climbs RUNGS; `climb` is told of its folder apart."""
    return TrialJob(
        number=0, config=config, rungs=RUNGS, promotion=promotion, behind=behind, folder="", state_interval_s=60
    )


def places(climbed):
    return [(rung, report.epoch) for rung, report in climbed]


def figures(report):
    """What does not depend on the clock."""
    return {k: v for k, v in vars(report).items() if k not in ("seconds", "images_per_s", "epoch", "num_epochs")}


def test_the_schedules_of_each_way():
    assert schedules((1, 3, 9), "restart") == [(0, 1), (0, 3), (0, 9)]
    assert schedules((1, 3, 9), "continue") == [(0, 1), (1, 3), (3, 9)]
    assert schedules((1, 3, 9), "cut") == [(0, 9)]
    assert [schedule.num_epochs for schedule in schedules((1, 3, 9), "continue")] == [1, 2, 6]
    assert schedules((5,), "restart") == schedules((5,), "continue") == schedules((5,), "cut") == [Schedule(0, 5)]


def test_restart_is_a_complete_schedule_of_each_length(data, pixels, config, tmp_path):
    climbed = list(climb(job(config, "restart"), data, pixels, tmp_path))
    assert places(climbed) == [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 3), (4, 4)]
    *_, alone = train_epochs(config.changed(num_epochs=2), data, pixels)
    assert figures(climbed[2][1]) == figures(alone)


def test_continue_starts_each_cycle_from_the_weights_of_the_last(data, pixels, config, tmp_path):
    climbing = climb(job(config, "continue"), data, pixels, tmp_path)
    climbed = list(islice(climbing, 1))
    kept = tmp_path / "kept"
    shutil.copytree(rung_folder(tmp_path, 1), kept)
    climbed += climbing
    assert places(climbed) == [(1, 1), (2, 2), (4, 3), (4, 4)]
    assert [report.num_epochs for _, report in climbed] == [1, 2, 4, 4]
    # A run of one epoch from those weights, with other batches than the first.
    *_, alone = train_epochs(config.changed(num_epochs=1, pretrained=str(kept), seed=config.seed + 1), data, pixels)
    assert figures(climbed[1][1]) == figures(alone)


def test_cut_is_one_long_schedule(data, pixels, config, tmp_path):
    climbed = list(climb(job(config, "cut"), data, pixels, tmp_path))
    assert places(climbed) == [(1, 1), (2, 2), (4, 3), (4, 4)]
    whole = list(train_epochs(config.changed(num_epochs=4), data, pixels))
    assert [figures(report) for _, report in climbed] == [figures(report) for report in whole]


@pytest.mark.parametrize("mode", ["restart", "continue", "cut"])
@pytest.mark.parametrize("stops", [(1,), (2, 1, 3)])
def test_a_trial_that_pauses_goes_on_as_if_it_had_not(data, pixels, config, tmp_path, mode, stops):
    whole = {
        (rung, report.epoch): figures(report)
        for rung, report in climb(job(config, mode), data, pixels, tmp_path / "whole")
    }
    seen = {}
    for stop in (*stops, None):  # after so many reports; what is told again counts
        climbing = climb(job(config, mode), data, pixels, tmp_path / "pieces")
        for rung, report in islice(climbing, stop):
            assert whole[rung, report.epoch] == figures(report)
            seen[rung, report.epoch] = figures(report)
        climbing.close()
    assert seen == whole
    ends = [load_checkpoint(rung_folder(tmp_path / name, 4)).weights for name in ("whole", "pieces")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("mode", ["restart", "continue", "cut"])
@pytest.mark.parametrize("told", [1, 2, 3])
def test_a_trial_goes_on_in_another_folder(data, pixels, config, tmp_path, mode, told):
    """Its results were moved or mounted elsewhere, or it works in a folder of its own each time (--storage)."""
    trial = replace(job(config, mode), state_interval_s=0)

    def seen(climbed):
        return {(rung, report.epoch): figures(report) for rung, report in climbed}

    whole = seen(climb(trial, data, pixels, tmp_path / "whole"))
    first = climb(trial, data, pixels, tmp_path / "here")
    begun = seen(islice(first, told))
    first.close()
    moved = shutil.move(tmp_path / "here", tmp_path / "there")
    rest = climb(trial, data, pixels, moved)
    assert begun | seen(rest) == whole and len(begun) == told
    ends = [load_checkpoint(rung_folder(tmp_path / name, 4)).weights for name in ("whole", "there")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_restart_needs_no_weights_of_the_rungs_that_are_over(data, pixels, config, tmp_path):
    climbed = list(climb(job(config, "restart"), data, pixels, tmp_path / "whole"))
    rest = list(climb(job(config, "restart", behind=2), data, pixels, tmp_path / "rest"))
    assert places(rest) == [(4, 1), (4, 2), (4, 3), (4, 4)]
    assert figures(rest[-1][1]) == figures(climbed[-1][1])


@pytest.mark.parametrize("mode", ["restart", "continue", "cut"])
def test_at_a_rungs_end_its_weights_alone_are_kept(data, pixels, config, tmp_path, mode):
    assert weights_folder(tmp_path) is None
    for rung, report in climb(job(config, mode), data, pixels, tmp_path):
        if report.epoch == rung:
            place = weights_folder(tmp_path)
            assert load_checkpoint(place).metrics["val_mAP"] == report.val_mAP
            assert len(list(tmp_path.rglob(WEIGHTS))) == 1
