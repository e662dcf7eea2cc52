"""A data set with a corrupt image in each of its folders, from every command's side."""

import json
import shutil
from pathlib import Path

import pytest

from tests.commands import run_here
from tuning.record.study import Study


@pytest.fixture
def broken_data(tiny_data, tmp_path) -> Path:
    folder = tmp_path / "market"
    shutil.copytree(tiny_data, folder)
    for name in ("bounding_box_train", "query", "bounding_box_test"):
        file = next(file for file in sorted((folder / name).iterdir()) if not file.name.startswith(("-1", "0000")))
        file.write_bytes(file.read_bytes()[:100])
    return folder


def lines_of(done, code: int) -> list[str]:
    assert done.returncode == code and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_search_retrain_and_evaluate_stop_or_leave_them_out_and_say_so(broken_data, tiny_space, tmp_path, without_ray):
    cache = ["--cache-dir", tmp_path / "cache"]
    search = ["--space", tiny_space, "--data-dir", broken_data, "--results", tmp_path, "--trials", 1, *cache]
    refused = run_here("tuning.search", *search)
    assert lines_of(refused, 2) == [] and len(refused.stderr.splitlines()) == 1
    assert "bounding_box_train/" in refused.stderr and "on_bad_image=skip" in refused.stderr

    skip = ["--set", "on_bad_image=skip"]
    shown = lines_of(run_here("tuning.search", *search, *skip), 0)
    assert any(line.startswith("1 training image left out, as they cannot be decoded: ") for line in shown)
    folder = tmp_path / "tiny"
    (name,) = json.loads((folder / "environment.json").read_text())["images_left_out"]
    assert len(json.loads((folder / "test_metrics.json").read_text())["images_left_out"]) == 2
    summary = (folder / "summary.md").read_text()
    assert f"1 training image left out, as they cannot be decoded: {name}" in summary
    assert "2 test images left out" in summary

    shown = lines_of(run_here("tuning.retrain", folder, "--epochs", 2, *cache), 0)
    assert shown[:2] == [line for line in shown if "left out, as they cannot be decoded" in line]
    refused = run_here("tuning.retrain", folder, "--epochs", 2, "--on-bad-image", "stop", *cache)
    assert all(line.startswith("decoding ") for line in lines_of(refused, 2)) and "on_bad_image=skip" in refused.stderr

    evaluate = ["--checkpoint", folder / "best", "--data-dir", broken_data, *cache]
    refused = run_here("reid_train.evaluate", *evaluate)
    assert lines_of(refused, 2) == [] and "2 of " in refused.stderr and "on_bad_image=skip" in refused.stderr
    shown = lines_of(run_here("reid_train.evaluate", *evaluate, "--on-bad-image", "skip"), 0)
    assert "2 test images left out" in shown[0]
    assert len(json.loads((folder / "best" / "evaluation.json").read_text())["images_left_out"]) == 2

    # The study belongs to the images that were left: one less is another.
    before = Study(folder).facts["data_fingerprint"]
    another = sorted((broken_data / "bounding_box_train").iterdir())[7]
    another.write_text("no picture")
    refused = run_here("tuning.search", *search, *skip, "--trials", 2)
    assert refused.returncode == 2 and "the training images' fingerprint was" in refused.stderr
    assert "2 training images left out" in refused.stdout and Study(folder).facts["data_fingerprint"] == before
