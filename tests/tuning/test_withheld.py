"""A trial is given the training listing, its pixels and a configuration: this tries to reach the test images by them.

What it cannot rule out: a training image's path has a folder above it, and a trial runs as the user who may read all.
"""

import csv
import os
import shutil
import sys
from pathlib import Path

import pytest
from ray import tune

from data.pixels.cache import open_pixels
from data.pixels.decoding import decode
from data.sets.readers import READERS, read_test, read_train
from data.sets.splits import split_identities
from data.system.errors import UserError
from reid_train.model.backbones import BACKBONES
from tests.narrow_resnet import NarrowResNet
from tuning.decide.budget import Purse
from tuning.decide.policy import Policy
from tuning.record.study import Study
from tuning.run import trials
from tuning.run.messages import EpochEnded, job_of, told_in
from tuning.run.resources import Resources
from tuning.run.trainable import ReIDTrainable
from tuning.space.read import read_space


@pytest.fixture
def images(tiny_data, tmp_path):
    """A copy of the data set, beside which a manifest may lie."""
    return Path(shutil.copytree(tiny_data, tmp_path / "images" / "market"))


opened: list[str] | None = None
"""What Python opens and lists while this is a list."""


def note(event, arguments):
    if opened is not None and event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, Path)):
        opened.append(os.path.realpath(arguments[0]))


@pytest.fixture(params=["market1501", "manifest"])
def data_dir(request, images):
    """The same images in Market-1501's layout and as a manifest, whose one file lists training and test images."""
    if request.param == "market1501":
        return images
    (query, gallery), train = read_test(images), read_train(images)
    manifest = images.parent / "manifest.csv"
    with manifest.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "identity", "camera", "split"])
        for split, samples in (("train", train), ("query", query), ("gallery", gallery)):
            rows.writerows([os.path.relpath(s.path, manifest.parent), s.identity, s.camera, split] for s in samples)
    return manifest


@pytest.fixture
def given(data_dir, tiny_space, tmp_path, monkeypatch):
    """All that `run_trials` hands Ray for a trial: its configuration, and what goes with the trainable."""
    found = {}

    class Tuner:
        def __init__(self, trainable, *, tune_config, run_config):
            assert trainable is ReIDTrainable
            self.searcher = tune_config.search_alg

        def fit(self):
            found["config"] = self.searcher.suggest("0")

    monkeypatch.setattr(tune, "with_parameters", lambda trainable, **objects: found.update(objects) or trainable)
    monkeypatch.setattr(tune, "with_resources", lambda trainable, resources: trainable)
    monkeypatch.setattr(tune, "Tuner", Tuner)
    monkeypatch.setattr(trials, "wait_for_ray", lambda address, resources: None)
    monkeypatch.setattr(trials, "keep_processes_alike", lambda: None)
    space = read_space(tiny_space, [], str(data_dir))
    samples = read_train(data_dir)
    pixels = open_pixels(samples, height=32, width=16, cache_dir=tmp_path / "cache")
    study = Study(tmp_path / "study", space)
    resources = Resources(cpus=1, gpus=0, concurrency=1)
    trials.run_trials(Policy(study, Purse(study, None)), split_identities(samples), pixels, resources)
    assert set(found) == {"config", "data", "pixels", "storage"}
    return found


def texts(thing, seen):
    """Every text and path in a thing, whatever it is made of."""
    if isinstance(thing, (str, Path)):
        yield str(thing)
    elif id(thing) not in seen:
        seen.add(id(thing))
        if isinstance(thing, dict):
            parts = [*thing.keys(), *thing.values()]
        elif isinstance(thing, (list, tuple, set, frozenset)):
            parts = list(thing)
        else:
            parts = [getattr(thing, "__dict__", {})]
        for part in parts:
            yield from texts(part, seen)


def ways_to_the_test_images(thing, images):
    """The texts in it that name a test image or its folder, or by which a reader finds query and gallery."""
    test_files = {os.path.realpath(sample.path) for side in read_test(images) for sample in side}
    test_folders = {str(Path(file).parent) for file in test_files}
    ways = set()
    for text in set(texts(thing, set())):
        if any(os.path.realpath(text).startswith(folder) for folder in test_folders):
            ways.add(text)
        for dataset in (None, *READERS):
            try:
                if test_files & {os.path.realpath(sample.path) for side in read_test(text, dataset) for sample in side}:
                    ways.add(text)
            except (UserError, OSError):
                pass
    return ways


def test_nothing_that_a_trial_is_given_names_the_test_images_or_a_folder_where_a_reader_finds_them(
    given, data_dir, images, tmp_path, monkeypatch
):
    assert str(data_dir) in ways_to_the_test_images({"data_dir": [data_dir]}, images), "the attempt itself works"
    for place in (Path.cwd(), images, images.parent, tmp_path):
        monkeypatch.chdir(place)  # a trial may run anywhere
        assert not ways_to_the_test_images(given, images)


def test_samples_and_pixels_are_those_of_the_training_folder_alone(given, images):
    listed = {sample.path for sample in read_train(images)}
    data, pixels = given["data"], given["pixels"]
    assert {sample.path for part in data for sample in part} == set(pixels.paths)
    assert {os.path.realpath(path) for path in pixels.paths} == listed
    held = {image.tobytes() for image in pixels.read(range(len(pixels)))}
    tested = {decode(s.path, 32, 16).tobytes() for side in read_test(images) for s in side}
    assert len(held) == len(listed) and not held & tested
    assert pixels.file.stat().st_size - len(listed) * 32 * 16 * 3 < 8192, "nor are others in its file"


def test_a_trial_that_trains_opens_and_lists_nothing_of_the_data_set_and_writes_down_no_way_there(
    given, data_dir, images, monkeypatch
):
    global opened
    monkeypatch.setitem(BACKBONES, "resnet18", (NarrowResNet, BACKBONES["resnet18"][1], 64))
    sys.addaudithook(note)
    trial = object.__new__(ReIDTrainable)
    opened = []
    try:
        trial.setup(given["config"], data=given["data"], pixels=given["pixels"])
        told = [told_in(trial.step()) for _ in range(3)]
    finally:
        seen, opened = opened, None
    trial.cleanup()
    assert all(isinstance(each, EpochEnded) for each in told), told
    assert [each.rung for each in told] == [2, 2, 3] and told[2].report.val_mAP > 0
    assert str(given["pixels"].file) in seen, "the attempt itself works"
    hidden = {images, data_dir}
    assert not [file for file in seen if hidden & {Path(file), *Path(file).parents}]
    written = [file for file in Path(job_of(given["config"]).folder).rglob("*") if file.is_file()]
    assert written and not [file for file in written if str(data_dir).encode() in file.read_bytes()]


def test_the_winners_configuration_has_the_true_folder(given, data_dir, tiny_space, tmp_path):
    study = Study(tmp_path / "study", read_space(tiny_space, [], str(data_dir)))
    job = job_of(given["config"])
    assert study.config(0).data_dir == str(data_dir) != job.config.data_dir
    assert job.rungs == (2, 3)


def test_what_the_trials_of_a_real_search_left_names_no_folder_of_the_data_set(finished_search):
    data_dir = finished_search[0].parents[3] / "tiny" / "market"
    assert data_dir.is_dir() and str(data_dir) in (finished_search[0] / "best_config.yaml").read_text()
    written = [file for file in (finished_search[0] / "trials").rglob("*") if file.is_file()]
    assert written and not [file for file in written if str(data_dir).encode() in file.read_bytes()]
