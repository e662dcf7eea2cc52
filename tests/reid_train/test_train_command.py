"""`python -m reid_train.train` from a user's side: what it leaves, says and refuses."""

import json
import logging
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from PIL import Image

import reid_train.train
from data.system.errors import UserError
from data.system.wording import clock
from reid_train.checkpoints.checkpoint import STATE, WEIGHTS, load_checkpoint
from reid_train.measure.epoch_report import EpochReport
from reid_train.settings.config import TrainConfig, read_config
from reid_train.training.folder import NowAndThen, train_into
from reid_train.training.history import read_history, write_history
from reid_train.training.loop import train_epochs
from tests.reid_train.conftest import TINY, run_module, tiny_config

SETTINGS = {**TINY, "num_epochs": 2, "learning_rate": 1e-3}


@pytest.fixture(scope="session")
def config_file(tmp_path_factory, data_dir) -> Path:
    file = tmp_path_factory.mktemp("settings") / "tiny.yaml"
    file.write_text(yaml.safe_dump({**SETTINGS, "data_dir": str(data_dir.parent)}))
    return file


@pytest.fixture(scope="session")
def trained(tmp_path_factory, config_file, cache_dir):
    """The folder of a finished run of the command, and what it printed."""
    out = tmp_path_factory.mktemp("trained") / "run"
    done = run_module("reid_train.train", "--config", config_file, "--out", out, XDG_CACHE_HOME=str(cache_dir))
    assert done.returncode == 0, done.stderr
    return out, done


@pytest.fixture
def refused(monkeypatch, capsys, cache_dir):
    """Gives the one line on stderr of a command, run in this process, that must fail with exit code 2."""

    def refused(*arguments) -> str:
        monkeypatch.setattr("sys.argv", ["train", *map(str, arguments)])
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache_dir))
        with pytest.raises(SystemExit) as ended:
            reid_train.train.main()
        out, err = capsys.readouterr()
        assert (ended.value.code, out) == (2, ""), out + err
        (line,) = err.splitlines()
        return line

    return refused


def test_it_leaves_history_log_plot_and_checkpoint(trained):
    out, done = trained
    assert sorted(file.name for file in out.iterdir()) == [
        "history.csv",
        "history.png",
        "model.json",
        "model.safetensors",
        "threshold.json",
        "train.log",
    ]
    said, *lines = [line for line in done.stdout.splitlines() if not line.startswith("decod")]
    assert said == "pretrained=none: random weights"
    assert re.fullmatch(
        r"CPU, \d+ threads?: \d+ training images of 6 identities, \d+ identities held out \(\d+ queries, \d+ gallery "
        r"images\); 2 epochs of \d+ steps",
        lines.pop(0),
    )
    assert lines[0].startswith("epoch 1/2  loss ") and "val mAP" in lines[0] and lines[1].startswith("epoch 2/2 ")
    assert re.search(r"images/s  \d+:\d\d left$", lines[0]) and lines[1].endswith("images/s")
    assert lines[-2].endswith(str(out)) and done.stderr == ""
    assert f"-m reid_train.evaluate --checkpoint {out} --data-dir " in lines[-1]
    log = (out / "train.log").read_text()
    assert "random weights" in log and lines[1] in log


def measured(report):
    return {name: value for name, value in report.items() if value is not None}


def test_history_has_a_row_an_epoch_and_the_checkpoint_agrees_with_its_last(trained):
    out, _ = trained
    rows = read_history(out / "history.csv")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert list(rows[0]) == list(EpochReport.__dataclass_fields__)
    description = json.loads((out / "model.json").read_text())
    checkpoint = load_checkpoint(out)
    assert description["config"] == checkpoint.config.model_dump(mode="json")
    assert description["epoch"] == 2 and len(description["identities"]) == 6
    assert {"torch", "torchvision"} <= description["versions"].keys()
    assert description["metrics"] == checkpoint.metrics
    assert measured(rows[1]) == pytest.approx(measured(checkpoint.metrics), rel=1e-4)


def test_the_picture_is_a_readable_png(trained):
    out, _ = trained
    with Image.open(out / "history.png") as image:
        image.load()
        assert image.width > 1000 and image.height > 500


def test_a_finished_run_says_so_and_other_settings_are_refused(trained, data, pixels, config_file, capsys):
    out, _ = trained
    before = (out / WEIGHTS).read_bytes(), (out / "history.csv").read_text()
    config = read_config(config_file)
    for same in ({"num_threads": 1}, {"data_dir": "elsewhere"}):
        train_into(config.changed(**same), data, pixels, out)
        assert capsys.readouterr().out == f"{out}: this run is finished\n"
    with pytest.raises(UserError, match=r"holds a run on other training images; choose"):
        train_into(config, data._replace(train=data.train[1:]), pixels, out)
    with pytest.raises(UserError, match=r"holds a run with other settings: margin=0\.3 there, 0\.5 here; choose"):
        train_into(config.changed(margin=0.5), data, pixels, out)
    assert ((out / WEIGHTS).read_bytes(), (out / "history.csv").read_text()) == before


def test_an_unreachable_data_dir_is_one_line(tmp_path, refused):
    """The brief's own file: its data_dir does not exist here."""
    (tmp_path / "config.yaml").write_text(
        "data_dir: data/nowhere\nbatch_size: 32\nlearning_rate: 1e-3\nweight_decay: 1e-4\nnum_epochs: 50\n"
    )
    assert "data/nowhere: no such folder" in refused("--config", tmp_path / "config.yaml")


@pytest.mark.parametrize("wrong", ["pretrained=/nowhere.pth", "device=mps", "teacher=/nowhere", "pct_start=0.0001"])
def test_mistakes_are_told_before_images_are_decoded(config_file, tmp_path, refused, monkeypatch, narrow, wrong):
    monkeypatch.setattr("data.pixels.cache.open_pixels", lambda *_, **__: pytest.fail("decoded"))
    more = ["--set", "kd_embedding_weight=1"] if wrong.startswith("teacher") else []
    line = refused("--config", config_file, "--out", tmp_path / "run", "--set", wrong, *more)
    assert wrong.partition("=")[0] in line and not (tmp_path / "run").exists()


def test_decoding_is_told_while_it_is_done_and_a_bad_image_leaves_no_folder(config_file, data_dir, tmp_path):
    folder = shutil.copytree(data_dir, tmp_path / "set")
    next((folder / "bounding_box_train").iterdir()).write_text("no picture")
    arguments = ["--config", config_file, "--set", f"data_dir={folder}", "--out", tmp_path / "run"]
    done = run_module("reid_train.train", *arguments, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 2 and "on_bad_image=skip" in done.stderr
    assert re.match(r"decoding \d+ images once, to 32 x 16 pixels", done.stdout) and not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, config_file, refused):
    (tmp_path / "file").touch()
    line = refused("--config", config_file, "--out", tmp_path / "file" / "run")
    assert "cannot be written" in line and "choose another --out" in line


def test_divergence_is_one_line_that_says_what_to_change(tmp_path, data, pixels, narrow):
    config = tiny_config(optimizer="sgd", learning_rate=10.0, weight_decay=1.0, num_epochs=20, fc_layers=3)
    with pytest.raises(UserError, match=r"training diverged: .*; try a smaller learning_rate"):
        train_into(config, data, pixels, tmp_path)
    assert not (tmp_path / WEIGHTS).exists()


def test_an_interrupted_run_goes_on_without_a_row_too_many(tmp_path, data, pixels, narrow, capsys):
    config = tiny_config(num_epochs=3)
    epochs = train_epochs(config, data, pixels, out_dir=tmp_path, state_interval_s=0)
    write_history(tmp_path / "history.csv", [asdict(next(epochs)), {**asdict(next(epochs)), "epoch": 2}])
    shutil.copy(tmp_path / STATE, tmp_path / "kept")
    epochs.close()  # type: ignore[attr-defined]
    train_into(config, data, pixels, tmp_path)
    assert [row["epoch"] for row in read_history(tmp_path / "history.csv")] == [1, 2, 3]
    assert "epoch 3/3" in capsys.readouterr().out and not (tmp_path / STATE).exists()


def test_a_run_that_ended_between_weights_and_table_is_completed(tmp_path, data, pixels, narrow):
    config = tiny_config(num_epochs=2)
    epochs = train_epochs(config, data, pixels, out_dir=tmp_path, state_interval_s=0)
    write_history(tmp_path / "history.csv", [asdict(next(epochs))])
    last = next(epochs)  # its weights are written, then the process dies
    train_into(config, data, pixels, tmp_path)
    rows = read_history(tmp_path / "history.csv")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert measured(rows[1]) == pytest.approx(measured(asdict(last)), rel=1e-4)
    assert (tmp_path / "history.png").is_file() and not (tmp_path / STATE).exists()


def test_a_short_run_without_pct_start_trains_and_is_finished_when_given_again(tmp_path, data, pixels, narrow, capsys):
    """8 steps: a tenth of them, the default, holds no 2 of warm-up."""
    given = {name: value for name, value in TINY.items() if name != "pct_start"}
    for _ in range(2):
        train_into(TrainConfig(**given), data, pixels, tmp_path)
    assert load_checkpoint(tmp_path).config.pct_start == 0.25 and "this run is finished" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"pct_start=0\.1 of 8 steps"):
        train_into(TrainConfig(**given, pct_start=0.1), data, pixels, tmp_path / "other")


def test_weights_of_another_class_count_start_a_run(tmp_path, narrow_checkpoint, data, pixels, caplog):
    """5 identities to learn from, started from the checkpoint of 9."""
    fewer = data._replace(train=[s for s in data.train if s.identity != data.train[0].identity], holdout=())
    config = tiny_config(pretrained=str(narrow_checkpoint), num_epochs=1, pct_start=0.6)
    with caplog.at_level(logging.INFO):
        train_into(config, fewer, pixels, tmp_path / "run")
    assert "another shape: classifier.weight ((9, 64) there, (5, 64) here)" in caplog.text
    assert len(load_checkpoint(tmp_path / "run").identities) == 5


def test_history_survives_csv_with_empty_cells(tmp_path):
    rows = [{"epoch": 1, "loss": 0.5, "val_mAP": None}, {"epoch": 2, "loss": 1.23456789e-7, "val_mAP": 0.25}]
    write_history(tmp_path / "h.csv", rows)
    assert read_history(tmp_path / "h.csv") == [rows[0], {"epoch": 2, "loss": 1.23457e-07, "val_mAP": 0.25}]
    assert read_history(tmp_path / "none.csv") == []


@pytest.mark.parametrize("module", [f"reid_train.{name}" for name in ("train", "evaluate", "query", "export")])
def test_help_imports_nothing_heavy(module):
    done = run_module(module, "--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0 and "usage: python -m " + module in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & {"torch", "torchvision", "ray", "pandas", "numpy", "matplotlib", "optuna", "scipy"}


def test_steps_are_told_of_now_and_then_with_the_time_that_is_left(monkeypatch):
    now, shown = [100.0], []
    monkeypatch.setattr("reid_train.training.folder.time.monotonic", lambda: now[0])
    told = NowAndThen()
    for step in range(41, 61):  # a run that goes on from step 41
        record = logging.LogRecord("x", logging.INFO, "", 0, "step %d", (step,), None)
        record.step, record.steps = step, 100
        if told.filter(record):
            shown.append(record.getMessage())
        now[0] += 5.0
    assert shown == [f"step {step}, {clock((100 - step) * 5)} left" for step in range(44, 61, 3)]
    other = logging.LogRecord("x", logging.INFO, "", 0, "another line", (), None)
    assert told.filter(other)
