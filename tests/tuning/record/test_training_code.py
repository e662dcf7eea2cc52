"""The digest of the code that trains: what it is blind to, and what changes it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tuning.record import training_code
from tuning.record.training_code import COMPUTES_NOTHING, digest, sources

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("data", "reid_train", "tuning")
CARRY = {
    "tuning.record.cause",
    "tuning.record.storage",
    "tuning.run.failures",
    "tuning.run.messages",
    "tuning.run.shared_pixels",
    "tuning.run.worker",
}
"""What a trial's process loads beside the code that trains: it hands jobs, pixels, states and reports to and fro."""


@pytest.fixture(scope="module")
def of_now():
    return digest()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the project's code, which the digest is taken of."""
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            copy = tmp_path / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    monkeypatch.setattr(training_code, "ROOT", tmp_path)
    return tmp_path


def replace(file, old, new):
    text = file.read_text()
    assert old in text, f"{file.name} has changed: this test is to follow it"
    file.write_text(text.replace(old, new, 1))


def move(project, old, new):
    """Moves a module, and says so wherever it is named."""
    there, here = (project.joinpath(*name.split(".")).with_suffix(".py") for name in (old, new))
    here.parent.mkdir(exist_ok=True)
    there.rename(here)
    for file in project.rglob("*.py"):
        text = re.sub(rf"\b{re.escape(old)}\b", new, file.read_text())
        package, _, name = old.rpartition(".")
        new_package, _, new_name = new.rpartition(".")
        text = re.sub(rf"from {re.escape(package)} import {name}\b", f"from {new_package} import {new_name}", text)
        file.write_text(text)


def test_where_the_project_lies_does_not_count(project, of_now):
    assert digest() == of_now


LEFT_ALONE = [
    ("reid_train/training/optim.py", "    layers = {", "    # every layer by the name of its weight\n    layers = {"),
    ("reid_train/training/optim.py", '"""Optimizer with parameter groups,', '"""The optimizer has parameter groups,'),
    (
        "reid_train/training/optim.py",
        "    decayed, nor is what the backbone names",
        "    decayed; nor is what the backbone lists",
    ),
    ("data/pixels/sampler.py", "no negatives; ", "there are no negatives; "),
    ("reid_train/training/divergence.py", "loss is not finite at step {", "the loss became infinite at step {"),
    ("reid_train/evaluate.py", 'help="JSON file; default', 'help="a file of JSON; default'),
    (
        "reid_train/training/optim.py",
        "pct_start: float, total_steps: int) -> OneCycleLR",
        "pct_start, total_steps: 'int')",
    ),
    (
        "reid_train/training/optim.py",
        "gathered: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}",
        "gathered = {}",
    ),
    ("tuning/run/climb.py", "it is removed, and what led to it is trained again", "it is gone"),
    ("tuning/run/climb.py", "    logger.warning(", '    logger.info("a second line")\n    logger.warning('),
    ("reid_train/training/optim.py", "import torch\nfrom torch import nn\n", "from torch import nn\nimport torch\n"),
    ("tuning/result/plots.py", '"""', '"""Changed. '),
    ("tuning/result/plots.py", "import", "SURPRISE = 1\nimport"),
    ("data/system/files.py", "import", "SURPRISE = 1\nimport"),
    ("tuning/decide/ranking.py", "USEFUL_TAU = 0.2", "USEFUL_TAU = 0.5"),
]


@pytest.mark.parametrize(("file", "old", "new"), LEFT_ALONE)
def test_what_changes_no_number_leaves_it_alone(file, old, new, project, of_now):
    replace(project / file, old, new)
    assert digest() == of_now


@pytest.mark.parametrize("package", ["data/checks", "tuning/result", "tuning/decide", "data/synthetic"])
def test_code_that_no_trial_imports_does_not_count(package, project, of_now):
    for file in (project / package).glob("*.py"):
        file.write_text("SURPRISE = 1\n")
    assert digest() == of_now


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("reid_train.training.optim", "reid_train.optimizers"),
        ("reid_train.model.foundation", "reid_train.model.timm_models"),  # imported within functions, too
        ("tuning.space.schedules", "tuning.record.cycles"),
        ("data.sets.samples", "data.samples"),
    ],
)
def test_a_module_may_be_renamed_and_moved(old, new, project, of_now):
    move(project, old, new)
    assert new in sources() and old not in sources()
    assert digest() == of_now


def test_a_name_that_is_called_otherwise_may_come_from_elsewhere(project):
    replace(project / "reid_train/training/optim.py", "network import ReIDModel", "network import ReIDModel as Network")
    before = digest()
    move(project, "reid_train.model.network", "reid_train.model.reid")
    assert digest() == before


def test_a_function_may_move_to_another_module(project, of_now):
    """`lengths` goes from schedules.py to folders.py, whose other functions stay."""
    schedules, folders = project / "tuning/space/schedules.py", project / "tuning/record/folders.py"
    text = schedules.read_text()
    place = text.index("def lengths(")
    schedules.write_text(text[:place])
    imports = "from collections.abc import Sequence\nfrom tuning.space.schedules import Mode\n"
    folders.write_text(folders.read_text().replace("from pathlib", f"{imports}from pathlib", 1) + "\n\n" + text[place:])
    assert "lengths" in {getattr(s, "name", "") for s in sources()["tuning.record.folders"].body} and digest() == of_now


CHANGES = [
    ("reid_train/model/network.py", "import torch\n", "import torch\n\nSURPRISE = 1\n"),
    ("reid_train/objective/losses.py", "clamp(min=1e-12)", "clamp(min=1e-11)"),
    ("reid_train/training/optim.py", "parameter.ndim >= 2", "parameter.ndim > 2"),
    ("reid_train/settings/optim.py", "layer_decay: float = Field(1.0", "layer_decay: float = Field(0.9"),
    ("reid_train/settings/optim.py", "learning_rate: float = Field(1e-3", "learning_rate: float = Field(2e-3"),
    ("reid_train/objective/losses.py", "from torch.nn import functional as F", "from torch.nn import functional_ as F"),
    ("reid_train/objective/losses.py", "from torch.nn import functional as F", "import torch.nn.functional as F"),
    ("reid_train/training/optim.py", "    for parameter in also:\n", "    for parameter in ():\n"),
    ("tuning/run/climb.py", "                remove_state(place)\n", ""),
    ("tuning/run/climb.py", "seed=job.config.seed + schedule.begins", "seed=job.config.seed"),
    ("data/sets/market1501.py", "import", "SURPRISE = 1\nimport"),
    ("data/pixels/sampler.py", "if batch_size // k < 2:", "if batch_size // k < 3:"),
    (
        "reid_train/training/optim.py",
        "from reid_train.model.network import ReIDModel",
        "from x import other as ReIDModel",
    ),
    ("tuning/record/job.py", "    rungs: tuple[int, ...]\n", ""),
]


@pytest.mark.parametrize(("file", "old", "new"), CHANGES)
def test_what_may_change_a_number_changes_it(file, old, new, project, of_now):
    replace(project / file, old, new)
    assert digest() != of_now


def test_another_name_of_our_own_counts(project, of_now):
    """The statement that names it does: where it comes from does not."""
    replace(
        project / "reid_train/training/optim.py", "_groups(model, settings, also)\n", "others(model, settings, also)\n"
    )
    assert digest() != of_now


@pytest.fixture(scope="module")
def loaded():
    """What a trial's process has loaded before its first step."""
    program = "import json, sys, tuning.run.worker; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_every_module_that_a_trial_loads_counts_or_carries_alone(loaded):
    files = {name for name in loaded if ROOT.joinpath(*name.split(".")).with_suffix(".py").is_file()}
    own = {name for name in files if name.split(".")[0] in PACKAGES and not name.startswith(COMPUTES_NOTHING)}
    assert {"reid_train.objective.losses", "data.sets.market1501", "tuning.run.climb"} < own
    assert own - sources().keys() == CARRY


def test_a_trials_process_does_without_the_record(loaded):
    """Optuna and SQLAlchemy would cost each process time and memory that it has no use for."""
    assert not {"optuna", "sqlalchemy", "matplotlib", "tuning.record.study"} & loaded
