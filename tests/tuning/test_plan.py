"""`--plan` and budgets that are too small: what the command says, and that it leaves nothing."""

import re

import pytest
import yaml

from tests.commands import run_here


@pytest.fixture
def command(tiny_space, tiny_data, tmp_path):
    space = yaml.safe_load(tiny_space.read_text())
    space["study"] = {"rungs": "auto"}
    space["fixed"]["num_epochs"] = 6
    file = tmp_path / "planned.yaml"
    file.write_text(yaml.safe_dump(space))
    return ["tuning.search", "--space", file, "--data-dir", tiny_data, "--results", tmp_path / "results"]


def test_the_plan_is_printed_and_nothing_is_left(command, without_ray, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = run_here(*command, "--plan", "--epochs", 60)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("plan: ")]
    assert line.startswith("plan: about ") and line.endswith("; 60 epochs in all")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_plan_of_a_time_budget_is_measured_here(command, without_ray):
    done = run_here(*command, "--plan", "--time-budget", "1h")
    assert done.returncode == 0, done.stdout + done.stderr
    before, _, plan = done.stdout.partition("timing a few steps, to plan what the time holds ...\n")
    assert "plan: " not in before and "1:00:00 in all at " in plan and " s an epoch" in plan


def test_a_time_budget_that_holds_nothing_is_one_line_with_what_would_do(command, without_ray, tmp_path):
    done = run_here(*command, "--time-budget", "13s")
    assert done.returncode == 2, done.stdout
    assert done.stderr.count("\n") == 1 and "--time-budget 13s: not even one schedule of " in done.stderr
    assert re.search(r"give at least [1-9]\d*m, ", done.stderr)
    assert not list((tmp_path / "results").glob("*")), "nothing is left of a study that cannot begin"


def test_a_time_budget_that_the_results_alone_use_up_is_told_at_once(command, without_ray, tmp_path):
    done = run_here(*command, "--time-budget", "5s")
    assert done.returncode == 2 and done.stdout == "" and not (tmp_path / "results").exists()
    assert done.stderr.count("\n") == 1 and "--time-budget 5s: what follows the training takes 12 s" in done.stderr


@pytest.mark.parametrize("wrong", [("--epochs", 0), ("--trials", 0), ("--time-budget", "soon")])
def test_a_budget_that_is_none_is_one_line(command, without_ray, wrong):
    done = run_here(*command, *wrong)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and wrong[0] in done.stderr
