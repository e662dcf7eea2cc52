"""A file that was cut, at any byte: it is named, made again or passed over, and never taken for what it was."""

import json
import logging
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.pixels.cache import open_pixels
from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.errors import UserError
from data.system.files import read_json, write_json
from reid_train.checkpoints.checkpoint import (
    STATE,
    WEIGHTS,
    DamagedFile,
    load_checkpoint,
    load_state,
    save_checkpoint,
    save_state,
)
from reid_train.inference.evaluation_count import read_test_metrics
from reid_train.model.backbones import BACKBONES
from reid_train.settings.config import TrainConfig
from reid_train.training.folder import train_into
from reid_train.training.history import read_history, write_history
from tests.narrow_resnet import NarrowResNet
from tests.reports import epoch_report
from tuning.record.cause import Cause, Kind
from tuning.record.folders import rung_folder
from tuning.record.job import TrialJob
from tuning.record.sqlite_file import check_database
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.result.summary import summary_text
from tuning.run.climb import climb
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
study: {trials: 8, rungs: [2, 4]}
"""
ROOT = Path(__file__).resolve().parents[2]


def cuts(size: int, count: int, page: int = 4096) -> list[int]:
    """Lengths to cut a file to: near its ends, at and around every page, and some at random."""
    around = {place + off for place in range(0, size, page) for off in (-1, 0, 1)}
    chosen = (
        around | {1, 15, 16, 27, 28, 99, 100, size - 2, size - 1} | set(random.Random(0).sample(range(size), count))
    )
    return sorted(cut for cut in chosen if 0 <= cut < size)


# --- what a run leaves ---


def test_a_cut_state_is_named_and_so_is_one_with_a_bit_flipped(tmp_path):
    save_state(tmp_path, {"model": {"a": torch.arange(500.0)}, "report": {"epoch": 2}, "seen": ["x"] * 10})
    file = tmp_path / STATE
    whole = file.read_bytes()
    for cut in cuts(len(whole), 60, page=512):
        file.write_bytes(whole[:cut])
        with pytest.raises(DamagedFile, match=r"state\.pt: damaged training state"):
            load_state(tmp_path)
    begin = whole.index(torch.arange(500.0).numpy().tobytes())
    for place in (begin, begin + 1000, begin + 1999):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DamagedFile):
            load_state(tmp_path)
    file.write_bytes(whole)
    assert load_state(tmp_path)["report"] == {"epoch": 2}


def test_a_cut_checkpoint_is_named(tmp_path):
    weights = {"a": torch.arange(500.0), "b": torch.zeros(3)}
    save_checkpoint(tmp_path, weights, config=TrainConfig(), epoch=3, metrics={"val_mAP": 0.5}, identities=[1])
    whole = (tmp_path / WEIGHTS).read_bytes()
    for cut in cuts(len(whole), 60, page=512):
        (tmp_path / WEIGHTS).write_bytes(whole[:cut])
        with pytest.raises(DamagedFile, match=r"model\.safetensors: not a checkpoint of this project, or damaged"):
            load_checkpoint(tmp_path)


def test_a_cut_history_loses_rows_and_says_so(tmp_path, caplog):
    file = tmp_path / "history.csv"
    rows = [{"epoch": epoch, "loss": 1.0 / epoch, "val_mAP": 0.125 * epoch} for epoch in range(1, 5)]
    write_history(file, rows)
    rows, whole = read_history(file), file.read_bytes()
    for cut in range(len(whole)):
        caplog.clear()
        file.write_bytes(whole[:cut])
        found = read_history(file)
        assert found == rows[: len(found)], "no row is half a row"
        assert bool(caplog.records) == (cut > 0 and not whole[:cut].endswith((b"\n", b"\r")))
    assert len(found) == 4, "only half of the last line's end is missing"


def test_a_cut_json_is_named_at_every_byte_and_the_count_of_evaluations_is_not_begun_anew(tmp_path):
    file = tmp_path / "test_metrics.json"
    write_json(file, {"mAP": 0.5, "evaluations": [{"for": "search's end"}]})
    whole = file.read_bytes()
    for cut in range(len(whole) - 1):  # the last byte is a line feed
        file.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"test_metrics\.json: damaged"):
            read_json(file)
        with pytest.raises(UserError, match=r"test_metrics\.json: damaged"):
            read_test_metrics(tmp_path)


# --- the cache ---


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """8 identities of one colour each to train on, 4 to validate with, 4 images each by 2 cameras."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    found = []
    for identity in range(12):
        colour = rng.uniform(30, 220, 3)
        for number in range(4):
            file = folder / f"{identity}_{number}.png"
            picture = np.clip(colour * rng.uniform(0.7, 1.2) + rng.normal(0, 15, (32, 16, 3)), 0, 255)
            Image.fromarray(picture.astype(np.uint8)).save(file)
            found.append(Sample(str(file), identity, number % 2))
    return found


def test_a_cut_pixel_file_or_digest_file_is_made_again(samples, tmp_path):
    whole = open_pixels(samples, height=32, width=16, cache_dir=tmp_path)
    expected, file = whole.read(range(len(samples))), whole.file
    content = file.read_bytes()
    for cut in [*cuts(len(content), 5, page=32768), len(content) - 1]:
        file.write_bytes(content[:cut])
        again = open_pixels(samples, height=32, width=16, cache_dir=tmp_path)
        assert again.decoded == len(samples), "the cut file was not taken for whole"
        assert np.array_equal(again.read(range(len(samples))), expected)
    for memo in [*(tmp_path / "digests").glob("*.json"), file.with_suffix(".checked")]:
        text = memo.read_bytes()
        for cut in (0, 1, len(text) // 2, len(text) - 1):
            memo.write_bytes(text[:cut])
            assert np.array_equal(
                open_pixels(samples, height=32, width=16, cache_dir=tmp_path).read([0, 5]), expected[[0, 5]]
            )


# --- a trial goes on in spite of damage ---


@pytest.fixture
def data(samples, monkeypatch):
    monkeypatch.setitem(BACKBONES, "resnet18", (NarrowResNet, BACKBONES["resnet18"][1], 64))
    held = [sample for sample in samples if sample.identity >= 8]
    query = [sample for sample in held if sample.path.endswith("_0.png")]
    gallery = [sample for sample in held if sample not in query]
    return TrainingData([sample for sample in samples if sample.identity < 8], query, gallery)


CONFIG = TrainConfig(
    image_height=32, image_width=16, batch_size=8, images_per_identity=2, backbone="resnet18", pretrained="none",
    last_stride=2, pct_start=0.5, device="cpu", precision="float32", learning_rate=1e-3, seed=3, num_epochs=4,
)  # fmt: skip


JOB = TrialJob(
    number=0, config=CONFIG, rungs=(2, 4), promotion="continue", behind=0, folder="", state_interval_s=0
)  # fmt: skip


def plain(reports):
    """What does not depend on the machine's speed."""
    return [(rung, report.epoch, report.loss, report.val_mAP) for rung, report in reports]


@pytest.mark.parametrize(
    ("damaged", "told"),
    [("4-epochs/state.pt", [2, 3, 4]), ("2-epochs/model.safetensors", [1, 2, 3, 4])],
    ids=["state", "weights"],
)
def test_a_trial_whose_file_was_cut_trains_that_schedule_again_and_comes_out_the_same(
    damaged, told, data, samples, tmp_path, caplog
):
    pixels = open_pixels(samples, height=32, width=16, cache_dir=tmp_path / "cache")
    whole = plain(climb(JOB, data, pixels, tmp_path / "whole"))
    epochs = climb(JOB, data, pixels, tmp_path / "cut")
    assert plain(next(epochs) for _ in range(3)) == whole[:3]
    epochs.close()
    file = tmp_path / "cut" / damaged
    file.write_bytes(file.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        again = plain(climb(JOB, data, pixels, tmp_path / "cut"))
    assert str(file) in caplog.text
    reports = {entry[1]: entry for entry in again}  # of an epoch told twice, once
    assert sorted(reports) == told and [reports[epoch] for epoch in told] == [whole[epoch - 1] for epoch in told]
    assert (rung_folder(tmp_path / "cut", 4) / WEIGHTS).is_file()


def test_a_run_whose_history_was_cut_names_the_rows_that_are_missing(data, samples, tmp_path, capsys):
    pixels = open_pixels(samples, height=32, width=16, cache_dir=tmp_path / "cache")
    train_into(CONFIG, data, pixels, tmp_path / "run")
    lines = (tmp_path / "run" / "history.csv").read_bytes().splitlines(keepends=True)
    (tmp_path / "run" / "history.csv").write_bytes(b"".join(lines[:2]))
    train_into(CONFIG, data, pixels, tmp_path / "run")
    assert "history.csv: damaged: rows 2 to 3 are missing" in capsys.readouterr().out
    assert [row["epoch"] for row in read_history(tmp_path / "run" / "history.csv")] == [1, 4]


# --- the study ---


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study's folder, and its space."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "space.yaml").write_text(SPACE)
    space = read_space(folder / "space.yaml")
    made = Study(folder / "study", space)
    for number in range(6):
        made.add({"learning_rate": 1e-3})
        for epoch in (1, 2):
            made.record(number, 2, epoch_report(epoch, val_mAP=0.1 * epoch))
        made.finish(number, TrialState.PRUNED, Cause(Kind.NOT_PROMOTED, "z"))
    (folder / "study" / "environment.json").write_text("{}")
    return folder / "study", space


def test_a_cut_study_is_refused_wherever_it_was_cut(study, tmp_path):
    folder, space = study
    whole = (folder / "study.db").read_bytes()
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for cut in cuts(len(whole), 30):
        (copy / "study.db").write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"study\.db: (damaged \(|is empty, but a study began here)"):
            Study(copy, space)
    (copy / "study.db").unlink()
    with pytest.raises(UserError, match="is missing, but a study began here"):
        Study(copy, space)
    (copy / "study.db").write_bytes(whole)
    assert Study(copy, space).trials() == Study(folder).trials()


KILLED_WHILE_WRITING = """
import os, signal, sqlite3, sys
study = sqlite3.connect(sys.argv[1], isolation_level=None)
study.execute("pragma cache_size = 8")  # pages: a part of the transaction is in the file before its end
study.execute("begin")
study.execute("update rows set value = hex(randomblob(250)) where number < 150")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_write_that_was_killed_is_undone_and_not_with_a_journal_that_was_cut(tmp_path):
    file = tmp_path / "killed" / "study.db"
    file.parent.mkdir()
    connection = sqlite3.connect(file)
    connection.execute("create table rows (number integer primary key, value text)")
    connection.executemany("insert into rows values (?, ?)", [(number, "x" * 500) for number in range(400)])
    connection.commit()
    connection.close()
    before = file.read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(file)])
    journal = file.with_name("study.db-journal")
    assert killed.returncode == -signal.SIGKILL and file.read_bytes() != before and journal.is_file()
    half, whole = file.read_bytes(), journal.read_bytes()
    refused = 0
    for cut in [*range(1, 600), *random.Random(0).sample(range(600, len(whole)), 100), len(whole)]:
        file.write_bytes(half)
        journal.write_bytes(whole[:cut])
        try:
            check_database(file)
        except UserError as error:
            assert str(journal) in str(error)
            refused += 1
        else:  # what was cut off was not needed yet
            values = sqlite3.connect(file).execute("select value from rows").fetchall()
            assert values == [("x" * 500,)] * 400, cut
    assert refused > 600


def test_a_reader_that_comes_while_a_search_begins_makes_no_tables(tmp_path):
    (tmp_path / "study.db").touch()
    with pytest.raises(UserError, match="cannot be opened as a study"):
        Study(tmp_path)
    assert (tmp_path / "study.db").stat().st_size == 0


def test_the_summary_is_made_without_what_is_damaged_beside_the_record(study, tmp_path):
    folder, _ = study
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    record = Study(copy)
    expected = summary_text(record)
    (copy / "untrained.json").write_text('{"val_mAP": 0.')
    (copy / "ablation.csv").write_text("trial,step\n0,")
    (copy / "trials.csv").write_text("number,sta")
    assert summary_text(record) == expected
    assert json.loads((copy / "environment.json").read_text()) == {}
