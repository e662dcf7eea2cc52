"""Every study setting is read where it acts, and every choice of one has code of its own."""

import ast
import itertools
from pathlib import Path
from typing import get_args

import pytest

from tests.reid_train.conftest import ROOT
from tuning.decide.sampler import OPTUNAS
from tuning.space.schedules import Mode, lengths, schedules
from tuning.space.settings import SamplerName, StudySettings

OWNERS = ("settings", "study", "self")
"""What a StudySettings is called: `space.study.pick`, `self.settings.trials`; `self` in its own properties."""
RECORDING = ("identity", "_environment")
"""Functions that write settings down: that is no reading."""


def reads_in(file: Path) -> set[str]:
    """Attributes of OWNERS that a file reads; calls of a method, `study.trials()`, are none."""
    tree = ast.parse(file.read_text())
    skipped = {
        id(part)
        for node in ast.walk(tree)
        if (isinstance(node, ast.FunctionDef) and node.name in RECORDING)
        for part in ast.walk(node)
    } | {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    reads = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and id(node) not in skipped]
    own = file.name == "settings.py"
    return {
        r.attr for r in reads if (owner := ast.unparse(r.value).split(".")[-1]) in OWNERS and (own or owner != "self")
    }


READ = set().union(*map(reads_in, (ROOT / "tuning").rglob("*.py")))


@pytest.mark.parametrize("name", StudySettings.model_fields)
def test_every_study_setting_is_read(name):
    assert name in READ


def test_what_nobody_reads_would_be_seen():
    assert "patience" not in READ and "identity" not in READ


def test_every_sampler_has_code_of_its_own():
    assert sorted(["model", *OPTUNAS]) == sorted(get_args(SamplerName))


def test_every_promotion_has_a_way_of_its_own_and_an_unknown_one_raises():
    ways = [schedules((1, 3, 9), mode) for mode in get_args(Mode)]
    assert all(one != other for one, other in itertools.combinations(ways, 2))
    for way in (schedules, lengths):
        with pytest.raises(AssertionError, match="unheard_of"):
            way((1, 3, 9), "unheard_of")


def test_the_lengths_from_rung_to_rung():
    assert [lengths((1, 3, 9), mode) for mode in ("restart", "continue", "cut")] == [[1, 3, 9], [1, 2, 6], [1, 2, 6]]
    assert [lengths((), mode) for mode in get_args(Mode)] == [[], [], []]
