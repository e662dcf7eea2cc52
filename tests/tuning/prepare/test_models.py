"""What is wrong with a space's backbones and starting weights is told before its first trial."""

import subprocess
import sys
from pathlib import Path

import pytest

from data.system.errors import UserError
from reid_train.settings.config import TrainConfig
from tuning.prepare import models
from tuning.prepare.models import starts_of
from tuning.prepare.probes import starts
from tuning.space.read import read_space

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def in_this_process(monkeypatch):
    """What a search asks of processes of their own is done in this one."""
    monkeypatch.setattr(models, "in_processes", lambda function, *arguments: [starts(*arguments)])


def space_of(tmp_path: Path, fixed: str, search: str = "margin: [0.1, 0.3]"):
    file = tmp_path / "space.yaml"
    lines = ["fixed:", *fixed.splitlines(), "search:", *search.splitlines()]
    file.write_text("\n".join(line if line.endswith(":") and line[0] != " " else f"  {line}" for line in lines) + "\n")
    return read_space(file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": "timm/vit_tiny_patch16_225"}, "did you mean timm/vit_tiny_patch16_224"),
        ({"backbone": "timm/test_vit", "parts": 2}, "parts=2: backbone=timm/test_vit gives one vector"),
        ({"backbone": "resnet18", "freeze": "first_6"}, "freeze=first_6: the backbone has 5 layers"),
        ({"backbone": "timm/test_vit", "pretrained": "/nowhere.pth"}, "pretrained=/nowhere.pth: no such file"),
    ],
)
def test_what_cannot_start_is_one_line(changes, said):
    config = TrainConfig(**{"pretrained": "none", "image_height": 64, "image_width": 32, **changes})
    with pytest.raises(UserError) as caught:
        starts([TrainConfig(pretrained="none", backbone="resnet18"), config], 5)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_every_combination_that_trials_may_have_is_tried_and_no_other(tmp_path, in_this_process):
    fixed = "pretrained: none\nimage_height: 64\nimage_width: 32"
    backbones = "backbone: [timm/test_vit, timm/test_convnext]"
    with pytest.raises(UserError, match="parts=2: backbone=timm/test_vit gives one vector"):
        starts_of(space_of(tmp_path, fixed, f"{backbones}\nparts: [1, 2]"), 5)
    where_possible = "parts: {choices: [1, 2], when: {backbone: timm/test_convnext}}"
    assert starts_of(space_of(tmp_path, fixed, f"{backbones}\n{where_possible}"), 5) == []


def test_the_process_that_searches_does_without_torch(tmp_path):
    space_of(tmp_path, "pretrained: none\nbackbone: timm/test_vit\nimage_height: 64\nimage_width: 32")
    program = (
        "import sys\nfrom tuning.space.read import read_space\nfrom tuning.prepare.models import starts_of\n"
        f"if __name__ == '__main__':\n    starts_of(read_space({str(tmp_path / 'space.yaml')!r}), 5)\n"
        "    print([name for name in ('torch', 'timm') if name in sys.modules])\n"
    )
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, str(tmp_path / "program.py")]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr
