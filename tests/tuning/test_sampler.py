"""Proposals: inside the space, the same for the same record, better than chance where there is something to learn."""

import math
import statistics
from dataclasses import replace

import pytest

from tuning.sampler import SAMPLERS, Sampler
from tuning.space_file import read_space
from tuning.study import TrialRecord

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  weight_decay: {low: 0.0, high: 0.1}
  optimizer: [adamw, sgd]
  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}
  batch_size: {low: 16, high: 64, step: 16}
first_trials:
  - {learning_rate: 0.01, optimizer: sgd, momentum: 0.6}
study: {trials: 12, rungs: [1, 3], sampler: NAME}
"""


@pytest.fixture
def make_space(tmp_path):
    def make(name):
        file = tmp_path / "space.yaml"
        file.write_text(SPACE.replace("NAME", name))
        return read_space(file)

    return make


def record(number, parameters, scores, state="complete", notes=None):
    return TrialRecord(number, state, "", parameters, scores, [], notes=notes or {})


def quality(parameters):
    """Best at a learning rate of 1e-2, with little weight decay."""
    return 1 - abs(math.log10(parameters["learning_rate"]) + 2) / 2 - 5 * parameters["weight_decay"]


def run(space, trials, opened_again=0):
    """A search whose scores are given; a new sampler takes over after `opened_again` trials."""
    records, sampler = [], Sampler(space)
    for number in range(trials):
        if number == opened_again:
            sampler = Sampler(space)
        parameters, notes = sampler.propose(records)
        scores = (
            {1: quality(parameters) - 0.3} if number % 3 else {1: quality(parameters) - 0.3, 3: quality(parameters)}
        )
        records.append(record(number, parameters, scores, "complete" if 3 in scores else "paused", notes))
    return records


@pytest.mark.parametrize("name", SAMPLERS)
def test_proposals_lie_in_the_space_and_differ(make_space, name):
    space = make_space(name)
    records = run(space, 9)
    for trial in records:
        space.config(trial.parameters)
        assert ("momentum" in trial.parameters) == (trial.parameters["optimizer"] == "sgd")
        for parameter in space.parameters:
            assert parameter.name not in trial.parameters or parameter.contains(trial.parameters[parameter.name])
    assert len({trial.parameters["learning_rate"] for trial in records}) == 9


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_record_gives_the_same_proposal(make_space, name):
    space = make_space(name)
    assert run(space, 9) == run(space, 9) == run(space, 9, opened_again=6)


def test_first_trials_come_first_and_what_they_leave_open_is_sampled(make_space):
    parameters, _ = Sampler(make_space("tpe")).propose([])
    assert parameters.items() >= {"learning_rate": 0.01, "optimizer": "sgd", "momentum": 0.6}.items()
    assert 0 <= parameters["weight_decay"] <= 0.1


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes"])
def test_samplers_that_learn_come_to_propose_good_configurations(make_space, name):
    """The last third of 30 trials beats random search's by more than chance; most scores are those of short rungs."""
    space = make_space(name)
    learnt = statistics.mean(quality(trial.parameters) for trial in run(space, 30)[20:])
    chance = statistics.mean(quality(trial.parameters) for trial in run(make_space("random"), 60)[1:])
    assert learnt > chance + 0.15


def test_running_and_failed_trials_do_not_disturb(make_space):
    space = make_space("gp")
    records = run(space, 6)
    records[2] = replace(records[2], state="failed", scores={})
    records[3] = replace(records[3], state="running", scores={})
    parameters, _ = Sampler(space).propose(records)
    space.config(parameters)
