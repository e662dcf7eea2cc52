"""Every command: a light --help, and one clear line with exit code 2 for what a user can get wrong."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data.drawing.datasets import draw_dataset
from tests.commands import ROOT, run_command, run_here
from tests.made_once import made_once
from tests.read_only import read_only
from tuning.record.lock import lock_folder

COMMANDS = [
    "data.synthetic",
    "data.doctor",
    "reid_train.train",
    "reid_train.errors",
    "reid_train.evaluate",
    "reid_train.export",
    "reid_train.query",
    "tuning.search",
    "tuning.retrain",
    "tuning.report",
    "tuning.init",
    "reid.settings",
    "tuning.compare",
    "tuning.dashboard",
    "tuning.pack",
    "tuning.publish",
    "tuning.watch",
]
HEAVY = {"torch", "ray", "pandas"}
PARSES_ALL_HELP = """
import contextlib, importlib, io, json, sys
said = {}
for command in sys.argv[1:]:
    sys.argv = [command, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        importlib.import_module(command).parse_arguments()
    said[command] = out.getvalue()
print(json.dumps([said, [name.split(".")[0] for name in sys.modules]]))
"""


@pytest.mark.parametrize("options", [(), ("-OO",)])
def test_no_help_imports_what_is_heavy_or_needs_docstrings(options):
    program = [sys.executable, *options, "-c", PARSES_ALL_HELP, *COMMANDS]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said, modules = json.loads(done.stdout)
    assert said.keys() == set(COMMANDS) and all(f"python -m {command}" in said[command] for command in COMMANDS)
    assert "argparse" in modules and not HEAVY & set(modules)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_starts_as_the_readme_says(command):
    shown, wrong = run_command(command, "--help"), run_command(command, "--no-such-option")
    assert shown.returncode == 0 and f"python -m {command}" in shown.stdout, shown.stderr
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: ") and wrong.stderr.count("\n") == 1
    assert f"python -m {command} --help lists the options" in wrong.stderr


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn vehicles in VeRi-776's layout; not to be changed."""

    def draw(folder: Path) -> None:
        draw_dataset("veri", folder / "veri", identities=12, test_identities=2, cameras=2, images_per_camera=3, seed=1)

    return made_once(tmp_path_factory, "small", draw) / "veri"


def cut_in_half(folder: Path) -> Path:
    file = sorted((folder / "image_train").iterdir())[3]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file


def text_named_jpg(folder: Path) -> Path:
    file = sorted((folder / "image_train").iterdir())[3]
    file.write_text("this is no picture")
    return file


@pytest.mark.parametrize("damage", [cut_in_half, text_named_jpg])
def test_broken_image_is_named_before_anything_is_trained(small_data, tiny_space, tmp_path, damage):
    data = shutil.copytree(small_data, tmp_path / "veri")
    file = damage(data)
    arguments = ["--space", tiny_space, "--data-dir", data, "--results", tmp_path / "results"]
    done = run_here("tuning.search", *arguments, "--set", "pct_start=0.7", "--set", "batch_size=8")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and file.name in done.stderr and "data.doctor" in done.stderr
    examined = run_here("data.doctor", data, "--plot", tmp_path / "distribution.png")
    assert examined.returncode == 1 and file.name in examined.stdout


def search_with(tmp_path: Path, space: str, *arguments: object) -> list[object]:
    (tmp_path / "mine.yaml").write_text(space)
    return ["--space", tmp_path / "mine.yaml", "--results", tmp_path / "results", *arguments]


ANY = "search:\n  margin: [0.3, soft]\n"


@pytest.mark.parametrize(
    ("space", "arguments", "message"),
    [
        (ANY, ["--data-dir", "/nowhere"], "data_dir /nowhere: no such folder; point data_dir at"),
        (ANY, ["--data-dir", "{empty}"], "is empty: holds no data set; looked for bounding_box_train/ (market1501)"),
        ("search: {marginn: [1]}", [], "mine.yaml:1: unknown setting marginn; did you mean margin?"),
        (
            "search:\n  margin: {low: 2, high: 1}",
            [],
            "mine.yaml:2: margin has low=2 and high=1: low must be below high",
        ),
        (ANY, ["--set", "batch_size"], "--set 'batch_size': expected name=value"),
        (ANY, ["--set", "batchsize=3"], "unknown setting batchsize; did you mean batch_size?"),
        ("", [], "mine.yaml: nothing to search; list settings under search"),
        (ANY, ["--set", "learning_rate=-1"], "--set learning_rate: learning_rate=-1 should be greater than 0"),
        (ANY, ["--set", "margin=0.3"], "nothing to search"),
        (
            f"{ANY}study:\n  warm_start: [brief, sbss]",
            [],
            "mine.yaml:4: 'sbss' is no recipe; there are brief, mbr, sbs, sbs_veri, strong_baseline, voc_reid",
        ),
        (ANY, ["--warm-start", "/nowhere"], "/nowhere: holds no study (study.db is missing)"),
        (ANY, ["--trials", "0"], "--trials 0: at least 1"),
        (ANY, ["--trials", "100001"], "--trials 100001: at least 1, at most 100,000"),
        (ANY, ["--trails", "4"], "--trails: no such option; did you mean --trials?"),
        (ANY, ["--time-budget", "soon"], "--time-budget 'soon' should be a number above 0 with s, m, h or d"),
        (ANY, ["--name", "../elsewhere"], "--name ../elsewhere: a folder's name is needed"),
        (
            ANY,
            ["--data-dir", "{data}", "--set", "batch_size=64"],
            "needs 16 identities a batch, the training set has 4",
        ),
        (ANY, ["--data-dir", "{data}", "--cpus-per-trial", "4096", "--set", "batch_size=8"], "--cpus-per-trial 4096: "),
        (ANY, ["--data-dir", "{data}", "--set", "batch_size=8", "--set", "device=mps"], "device=mps is not available"),
        (
            ANY,
            ["--data-dir", "{data}", "--set", "batch_size=8", "--storage", "/dev/null"],
            "--storage /dev/null: cannot",
        ),
        (ANY, ["--data-dir", "/old/\udcff"], r"/old/\udcff: a name whose bytes are no UTF-8"),
    ],
)
def test_mistakes_of_a_search_give_one_line_and_leave_nothing(tmp_path, small_data, space, arguments, message):
    (tmp_path / "empty").mkdir()
    filled = [str(a).format(empty=tmp_path / "empty", data=small_data) for a in arguments]
    done = run_here("tuning.search", *search_with(tmp_path, space, *filled))
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_results_folder_that_cannot_be_made_gives_one_line(tmp_path, small_data):
    (tmp_path / "results").write_text("a file")
    chosen = ["--data-dir", small_data, "--set", "batch_size=8", "--set", "pct_start=0.5", "--set", "pretrained=none"]
    done = run_here("tuning.search", *search_with(tmp_path, ANY, *chosen, "--set", "num_epochs=4"))
    assert done.returncode == 2, done.stderr
    assert "cannot be written: " in done.stderr and done.stderr.count("\n") == 1


def test_weights_that_are_not_there_are_told_before_anything_is_decoded(tmp_path, small_data, without_ray, monkeypatch):
    monkeypatch.setattr("tuning.prepare.begin.open_sizes", lambda *_, **__: pytest.fail("decoded"))
    chosen = ["--data-dir", small_data, "--set", "batch_size=8", "--set", "pct_start=0.5", "--set", "num_epochs=4"]
    done = run_here("tuning.search", *search_with(tmp_path, ANY, *chosen, "--set", "pretrained=/nowhere.pth"))
    assert done.returncode == 2, done.stderr
    assert "pretrained=/nowhere.pth: no such file" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_folder_in_which_another_searches_is_told_before_an_image_is_read(tmp_path, small_data, monkeypatch):
    monkeypatch.setattr("tuning.prepare.begin.read_training", lambda *_: pytest.fail("read"))
    lock = lock_folder(tmp_path / "results" / "mine")
    done = run_here("tuning.search", *search_with(tmp_path, ANY, "--data-dir", small_data))
    lock.release()
    assert done.returncode == 2 and f"process {os.getpid()} is searching here" in done.stderr, done.stderr


def test_a_cluster_that_does_not_answer_gives_one_line(tmp_path, small_data):
    chosen = ["--data-dir", small_data, "--set", "batch_size=8", "--set", "pct_start=0.5", "--set", "num_epochs=4"]
    done = run_here("tuning.search", *search_with(tmp_path, ANY, *chosen, "--address", "127.0.0.1:1"))
    assert done.returncode == 2, done.stderr
    assert "--address 127.0.0.1:1: nothing answers there" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("run", [run_here, run_command])
@pytest.mark.parametrize("command", ["tuning.report", "tuning.retrain"])
def test_a_folder_that_is_no_study_gives_one_line(command, run, tmp_path):
    done = run(command, tmp_path / "nothing")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "nothing" in done.stderr
    assert not (tmp_path / "nothing").exists()


def test_a_study_that_can_only_be_read_is_reported(study, monkeypatch):
    before = {file: file.read_bytes() for file in study.folder.rglob("*") if file.is_file()}
    read_only(monkeypatch, study.folder)
    told = run_here("tuning.report", study.folder)
    assert told.returncode == 0 and "winner: " in told.stdout, told.stderr
    assert "Read-only file system" in told.stderr.splitlines()[-1] and "Traceback" not in told.stderr
    answer = run_here("tuning.report", study.folder, "--json")
    assert answer.returncode == 0 and json.loads(answer.stdout)["winner"], answer.stderr
    assert {file: file.read_bytes() for file in study.folder.rglob("*") if file.is_file()} == before


def test_a_report_on_a_full_disk_is_printed_before_the_error(study, monkeypatch):
    read_only(monkeypatch, study.folder, number=errno.ENOSPC)
    told = run_here("tuning.report", study.folder)
    assert told.returncode == 2 and "winner: " in told.stdout
    assert "No space left on device" in told.stderr
