"""A study in TensorBoard, W&B and MLflow: what is written is read back, and written again it is there once."""

import json
import shutil
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from importlib.machinery import ModuleSpec

import pytest

from tests.commands import run_here
from tests.read_only import read_only
from tests.reports import epoch_report
from tuning.record.study import Study
from tuning.result.loggers import run_id
from tuning.result.published import SUMMARY, runs_of
from tuning.run.publishing import publishing


def epochs_of(study, number):
    return [epoch.report.val_mAP for epoch in study.trial(number).reports]


def longest(study):
    """The number of a trial that was trained to the top."""
    return max(study.trials(), key=lambda trial: (len(trial.reports), -trial.number)).number


def test_runs_have_every_epoch_once_and_no_path_to_images(study):
    runs = {run.key: run for run in runs_of(study)}
    assert set(runs) == {f"trial-{trial.number}" for trial in study.trials()} | {SUMMARY}
    number = longest(study)
    run = runs[f"trial-{number}"]
    assert [point.figures["val_mAP"] for point in run.curve] == epochs_of(study, number)
    assert [point.epoch for point in run.curve] == list(range(1, 9)), "2 epochs, then 6 anew"
    assert run.settings["learning_rate"] == study.trial(number).parameters["learning_rate"]
    assert all("data_dir" not in run.settings for run in runs.values())
    row = study.facts["confirmation"]["rows"][0]
    assert runs[SUMMARY].final["expected_val_mAP"] == row["mean"] and runs[SUMMARY].final["test_mAP"] == 0.4
    assert runs[SUMMARY].settings["margin"] == row["margin"] or runs[SUMMARY].settings["margin"] == str(row["margin"])


def events(folder):
    """The events of a folder's only file: TensorBoard's records, parsed by their lengths."""
    from tensorboardX.proto.event_pb2 import Event

    (file,) = folder.iterdir()
    content, found = file.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(Event.FromString(content[12 : 12 + length]))
        content = content[12 + length + 4 :]
    return found


def scalars(folder, tag):
    values = [(event.step, value) for event in events(folder) for value in event.summary.value]
    return [(step, value.simple_value) for step, value in values if value.tag == tag]


def test_tensorboard_has_each_trials_curve_settings_and_final_score_once(study):
    number = longest(study)
    for _ in range(2):
        done = run_here("tuning.publish", study.folder, "--to", "tensorboard", "--again")
        assert done.returncode == 0, done.stderr
        place = study.folder / "tensorboard" / f"trial-{number}"
        expected = [(place, pytest.approx(value)) for place, value in enumerate(epochs_of(study, number), start=1)]
        assert scalars(place, "val_mAP") == expected
        assert scalars(place, "final_val_mAP") == [(8, pytest.approx(study.trial(number).score))]
    tags = [value.tag for event in events(place) for value in event.summary.value]
    assert "_hparams_/session_start_info" in tags
    assert scalars(study.folder / "tensorboard" / SUMMARY, "test_mAP") == [(0, pytest.approx(0.4))]
    assert not list((study.folder / "tensorboard").glob(".*"))


def test_what_is_new_alone_is_written_again(study):
    first = run_here("tuning.publish", study.folder, "--to", "tensorboard")
    assert first.stdout.startswith(f"{len(study.trials()) + 1} runs written: tensorboard --logdir ")
    assert run_here("tuning.publish", study.folder, "--to", "tensorboard").stdout.startswith("0 runs written")
    number = study.add({"learning_rate": 0.01, "margin": 0.3})
    study.record(number, 2, epoch_report(1, num_epochs=2, val_mAP=0.1))
    again = run_here("tuning.publish", study.folder, "--to", "tensorboard")
    assert again.stdout.startswith("2 runs written"), "the trial, and the summary, which counts it"


@pytest.mark.parametrize("store", ["sqlite:///{}/mlflow.db", "file:{}/mlruns"])
def test_mlflow_finds_its_runs_again(study, tmp_path, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri, number = store.format(tmp_path), longest(study)
    for again in ([], ["--again"]):
        done = run_here("tuning.publish", study.folder, "--to", "mlflow", "--uri", uri, "--project", "mine", *again)
        assert done.returncode == 0 and "INFO" not in done.stderr, done.stderr
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    (experiment,) = (one for one in client.search_experiments() if one.name == "mine")
    runs = {run.data.tags["reid.run"]: run for run in client.search_runs([experiment.experiment_id])}
    assert len(runs) == len(study.trials()) + 1
    run = runs[run_id("made-12345678", f"trial-{number}")]
    history = client.get_metric_history(run.info.run_id, "val_mAP")
    expected = list(enumerate(epochs_of(study, number), start=1))
    assert [(one.step, one.value) for one in sorted(history, key=lambda one: one.step)] == expected
    assert run.data.params["learning_rate"] == str(study.trial(number).parameters["learning_rate"])
    assert run.data.metrics["final_val_mAP"] == study.trial(number).score
    assert runs[run_id("made-12345678", "summary")].data.metrics["test_mAP"] == 0.4
    ended = {name: run.info.status for name, run in runs.items()}
    failed = [run_id("made-12345678", f"trial-{trial.number}") for trial in study.trials() if trial.cause]
    assert all(ended[name] == "FAILED" for name in failed)


def test_mlflow_takes_a_study_of_any_name_in_a_folder_of_any_name(study, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    results = tmp_path / "a?x=1 %20#y"
    named = Study(shutil.copytree(study.folder, results / 'it\'s "%s" `{{7*7}}`'))
    named.note(storage={})
    for expected in (len(runs_of(named)), 0):
        done = run_here("tuning.publish", named.folder, "--to", "mlflow")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{expected} runs written")
    again = run_here("tuning.publish", named.folder, "--to", "mlflow", "--again")
    assert again.returncode == 0, again.stderr
    database = results / "mlflow.db"
    with closing(sqlite3.connect(database)) as opened:
        (there,) = opened.execute("SELECT COUNT(*) FROM runs").fetchone()
    assert there == len(runs_of(named)), "each is there once, in the file beside the study"


def test_studies_in_one_folder_of_event_files_do_not_replace_each_other(study, tmp_path):
    other = Study(shutil.copytree(study.folder, tmp_path / "elsewhere" / study.folder.name))
    other.note(storage={"folder": "made-87654321"})
    for one in (study, other):
        done = run_here("tuning.publish", one.folder, "--to", "tensorboard", "--out", tmp_path / "tb")
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "tb").glob("*/summary"))) == 2


def test_a_password_in_a_uri_is_neither_shown_nor_kept(study, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db?token=secret"
    done = run_here("tuning.publish", study.folder, "--to", "mlflow", "--uri", uri)
    kept = study.folder / "published.json"
    assert "secret" not in done.stdout + done.stderr + (kept.read_text() if kept.is_file() else "")
    refused = run_here("tuning.publish", study.folder, "--to", "mlflow", "--uri", "nosuch://ann:secret@host/x")
    assert refused.returncode == 2 and "secret" not in refused.stdout + refused.stderr, refused.stderr


def test_a_study_that_can_only_be_read_is_published_elsewhere(study, tmp_path, monkeypatch):
    read_only(monkeypatch, study.folder)
    done = run_here("tuning.publish", study.folder, "--to", "tensorboard", "--out", tmp_path / "my events")
    assert done.returncode == 0, done.stderr
    assert "published.json: Read-only file system; the same command will write these runs again" in done.stderr
    assert f"tensorboard --logdir '{tmp_path / 'my events'}'" in done.stdout


READS_WANDB = """
import json, sys
from pathlib import Path
from wandb.proto import wandb_internal_pb2 as pb
BLOCK, WHOLE, FIRST, LAST = 32768, 1, 2, 4

def records(content):  # LevelDB's log, after 7 bytes of W&B's own
    at, data = 7, b""
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        data = (b"" if kind in (WHOLE, FIRST) else data) + content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (WHOLE, LAST):
            yield data

found = {}
for file in sorted(Path(sys.argv[1]).glob("wandb/offline-run-*/*.wandb")):
    run = None
    for data in records(file.read_bytes()):
        record = pb.Record(); record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run.run_id
            one = found.setdefault(run, {"files": 0, "config": {}, "rows": [], "summary": {}, "name": record.run.display_name})
            one["files"] += 1
            one["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if kind == "history":
            found[run]["rows"].append({(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item})
        if kind == "summary":
            found[run]["summary"] |= {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.summary.update}
print(json.dumps(found))
"""  # noqa: E501


def test_wandb_offline_has_each_epoch_once(study, tmp_path):
    number = longest(study)
    place = tmp_path / "wandb here"
    known = {  # a run takes seconds: of the others nothing is new
        run.key: {"digest": run.digest, "epochs": len(run.curve)}
        for run in runs_of(study)
        if run.key not in (f"trial-{number}", SUMMARY)
    }
    (study.folder / "published.json").write_text(json.dumps({"wandb offline mine": known}))
    options = ["--to", "wandb", "--out", place, "--project", "mine"]
    for expected in (2, 0):
        done = run_here("tuning.publish", study.folder, *options, WANDB_MODE="offline")
        assert done.returncode == 0, done.stderr
        assert f"{expected} runs written" in done.stdout
    read = subprocess.run([sys.executable, "-c", READS_WANDB, place], capture_output=True, text=True, timeout=100)
    assert read.returncode == 0, read.stderr
    runs = {name.partition("-trial")[2] or SUMMARY: one for name, one in json.loads(read.stdout).items()}
    one = runs[f"-{number}"]
    assert one["files"] == 1 and one["name"] == f"made-12345678 trial-{number}"
    assert [row["val_mAP"] for row in one["rows"]] == epochs_of(study, number)
    assert one["config"]["learning_rate"] == study.trial(number).parameters["learning_rate"]
    assert one["summary"]["final_val_mAP"] == study.trial(number).score
    assert runs[SUMMARY]["summary"]["test_mAP"] == 0.4


@pytest.mark.parametrize("found", [None, ModuleSpec("wandb", None)], ids=["nothing", "a folder of that name"])
def test_a_missing_package_is_one_line_with_the_way_out(study, monkeypatch, found):
    monkeypatch.setattr("data.system.packages.find_spec", lambda name: found)
    done = run_here("tuning.publish", study.folder, "--to", "wandb")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "--to wandb needs wandb, which is not installed: " in done.stderr
    assert "pip install --constraint constraints.txt --editable '.[wandb]'" in done.stderr


def test_a_search_is_published_beside_it_and_to_its_end(study):
    with publishing(study.folder, "tensorboard"):
        number = study.add({"learning_rate": 0.01, "margin": 0.3})
        study.record(number, 2, epoch_report(1, num_epochs=2, val_mAP=0.1))
    assert scalars(study.folder / "tensorboard" / f"trial-{number}", "val_mAP") == [(1, pytest.approx(0.1))]


def test_a_logger_that_fails_costs_a_search_one_line(study, capsys):
    (study.folder / "tensorboard").write_text("in the way")
    with publishing(study.folder, "tensorboard"):
        pass
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "not all is published: --out " in out and "is no folder" in out
    assert "-m tuning.publish" in out and "--to tensorboard" in out


def test_an_interrupted_search_does_not_wait_for_its_logger(study):
    with pytest.raises(KeyboardInterrupt), publishing(study.folder, "tensorboard"):
        raise KeyboardInterrupt
