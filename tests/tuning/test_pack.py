"""A study to send on: what goes along, and that it is a study where it is unpacked."""

import zipfile

import pytest

from reid_train.embed import load_model
from tests.commands import run_command, run_here
from tuning.record.study import Study


def test_states_and_weights_of_single_runs_stay_and_all_else_goes_along(study, tmp_path):
    folder = study.folder
    for name in ("trials/0/2-epochs/state.pt", "repeats/1/6-epochs/model.safetensors", "best/model.safetensors",
                 "retrain/6-epochs-seed-0/state.pt", "retrain/6-epochs-seed-0/model.safetensors", "search.pid",
                 "plots/history.png", "report.html", "ablation.json", "ablation/1/model.safetensors"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 5000)
    done = run_here("tuning.pack", folder)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "made.zip"
    assert f"written to {out}" in done.stdout and " packed: " in done.stdout
    names = set(zipfile.ZipFile(out).namelist())
    expected = {"best/model.safetensors", "retrain/6-epochs-seed-0/model.safetensors", "plots/history.png"}
    expected |= {"report.html", "ablation.json", "study.db", "trials.csv", "confirmation.csv", "best_config.yaml"}
    assert {f"made/{name}" for name in expected} <= names
    assert not [name for name in names if name.endswith(("state.pt", ".pid", ".lock"))]
    assert not [name for name in names if name.startswith(("made/trials/", "made/repeats/", "made/ablation/"))]
    before = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert f"{before / 1e6:.1f} MB in " in done.stdout


def test_the_record_is_whole_while_a_search_writes(study, tmp_path):
    number = study.add({"learning_rate": 0.01, "margin": 0.3})
    assert run_here("tuning.pack", study.folder).returncode == 0
    zipfile.ZipFile(tmp_path / "made.zip").extractall(tmp_path / "there")
    assert [t.number for t in Study(tmp_path / "there" / "made").trials()][-1] == number


@pytest.mark.parametrize(
    ("out", "message"), [("made/x.zip", "lies in the study itself"), ("x.tar", "must end in .zip")]
)
def test_what_cannot_be_is_one_line(study, tmp_path, out, message):
    done = run_here("tuning.pack", study.folder, "--out", tmp_path / out)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and message in done.stderr


def test_what_is_unpacked_elsewhere_is_reported_retrained_and_embedded_with(finished_search, tiny_data, tmp_path):
    folder, _ = finished_search
    done = run_here("tuning.pack", folder, "--out", tmp_path / "sent.zip")
    assert done.returncode == 0 and f"tuning.retrain {folder.name} --data-dir DIR" in done.stdout, done.stderr
    zipfile.ZipFile(tmp_path / "sent.zip").extractall(tmp_path / "there")
    there = tmp_path / "there" / folder.name
    reported = run_here("tuning.report", there)
    assert reported.returncode == 0 and "winner: " in reported.stdout, reported.stderr
    picture = next((tiny_data / "query").iterdir())
    assert load_model(there / "best", device="cpu").embed([picture]).shape[0] == 1
    retrained = run_command("tuning.retrain", there, "--data-dir", tiny_data, "--epochs", 2, "--cache-dir", tmp_path)
    assert retrained.returncode == 0, retrained.stderr
    assert list((there / "retrain").glob("*/model.safetensors"))
