"""What is said of each setting: by searches whose truth is known."""

import math
import random
import re
from functools import partial

import pytest

from tests.simulated_search import SimulatedSearch
from tuning.result.effects import describe_effects, effects
from tuning.result.summary import headline
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  dropout: {low: 0.0, high: 0.5}
  margin: [0.1, 0.3]
  optimizer: [adamw, sgd]
  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}
study: {epochs: EPOCHS, rungs: [1, 3]}
"""


def score(config, epochs, *, best_rate=1e-2):
    """The learning rate decides; the margin adds a little; dropout and momentum do nothing."""
    told = [config.learning_rate, config.margin, config.dropout, config.optimizer, config.momentum, config.seed, epochs]
    gain = 0.06 if config.margin == 0.1 else 0.0
    return (
        0.5 - 0.1 * math.log10(config.learning_rate / best_rate) ** 2 + gain + random.Random(str(told)).gauss(0, 0.01)
    )


def searched(tmp_path, epochs):
    (tmp_path / "space.yaml").write_text(SPACE.replace("EPOCHS", str(epochs)))
    search = SimulatedSearch(read_space(tmp_path / "space.yaml"), score)
    search.run()
    return search


def test_what_matters_is_seen_with_its_best_value_and_what_does_not_is_not(tmp_path):
    search = searched(tmp_path, 120)
    winner = {"learning_rate": 0.01, "dropout": 0.1, "margin": 0.1, "optimizer": "adamw"}
    found = {effect.key: effect for effect in effects(search.study, search.record, winner)}
    assert set(found) == {"learning_rate", "dropout", "margin", "optimizer"}, "momentum does not count in it"
    rate, margin = found["learning_rate"], found["margin"]
    assert rate.seen and 0.003 < rate.best < 0.03 and rate.worst in (1e-4, 0.1)
    assert margin.seen and margin.best == 0.1 and margin.low < 0.06 < margin.high
    assert not found["dropout"].seen and not found["optimizer"].seen
    assert next(iter(found)) == "learning_rate", "the largest comes first"


def test_they_are_told_in_two_lines(tmp_path):
    search = searched(tmp_path, 120)
    winner = {"learning_rate": 0.01, "dropout": 0.1, "margin": 0.1, "optimizer": "adamw"}
    matters, unseen = describe_effects(effects(search.study, search.record, winner))
    assert matters.startswith("what matters near the winner (90% intervals): learning_rate, best at ")
    assert unseen == "not seen to matter there: " + ", ".join(
        e.key for e in effects(search.study, search.record, winner) if not e.seen
    )


def test_the_range_to_try_next_is_told_of_a_setting_that_matters_alone(tmp_path):
    """The best rate lies above its range; dropout's place says nothing."""
    text = SPACE.replace("high: 1e-1, log", "high: 1e-2, log").replace("EPOCHS", "120")
    (tmp_path / "space.yaml").write_text(text)
    search = SimulatedSearch(read_space(tmp_path / "space.yaml"), partial(score, best_rate=0.05))
    search.run()
    hints = [line for line in headline(search.study) if " end of " in line]
    assert len(hints) == 1 and re.match(r"learning_rate 0.0\d+ lies at the upper end of 0.0001 to 0.01: try", hints[0])


@pytest.mark.parametrize("epochs", [3, 9])
def test_of_few_scores_nothing_is_said(tmp_path, epochs):
    search = searched(tmp_path, epochs)
    assert effects(search.study, search.record, search.study.trial(0).parameters) == []
