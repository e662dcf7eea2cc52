"""Whether more searching would gain anything: less likely the more is known, and told when it is settled."""

import math
import random
import statistics
from dataclasses import replace

import pytest

from tests.simulated_search import SimulatedSearch
from tuning.decide.stopping import SETTLED, chance_of_gain, has_settled
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search: {learning_rate: {low: 1e-4, high: 1e-1, log: true}}
study: {epochs: 12, rungs: [1, 3]}
"""


@pytest.fixture
def search(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)

    def made(score=None, **changes):
        space = read_space(tmp_path / "space.yaml")
        space = replace(space, study=space.study.model_copy(update=changes))
        found = SimulatedSearch(space, score or noisy)
        found.run()
        return found

    return made


def noisy(config, epochs):
    drawn = random.Random(f"{config.learning_rate} {config.seed} {epochs}").gauss(0, 0.02)
    return 0.6 - 0.1 * (math.log10(config.learning_rate) + 2) ** 2 + drawn


def test_the_chance_falls_as_more_is_known(search):
    chances = []
    for epochs in (45, 75, 150):
        of_seeds = [search(epochs=epochs, sampler_seed=seed) for seed in range(3)]
        chances.append(statistics.mean(chance_of_gain(each.study, each.record) for each in of_seeds))
    assert 1 >= chances[0] > chances[1] > chances[2] >= 0
    assert chances[2] < chances[0] / 2


def test_before_a_few_runs_at_the_top_nothing_is_said(search):
    found = search(epochs=6)
    assert chance_of_gain(found.study, found.record) is None and not has_settled(found.study, found.record)


def test_where_no_other_configuration_is_left_nothing_is_said(tmp_path):
    (tmp_path / "space.yaml").write_text(
        "fixed: {backbone: resnet18, pretrained: none}\nsearch: {learning_rate: [0.01, 0.001, 0.1]}\n"
        "study: {epochs: 30, rungs: [3]}\n"
    )
    found = SimulatedSearch(read_space(tmp_path / "space.yaml"), noisy)
    found.run()
    assert len(found.record.trials()) == 7 and chance_of_gain(found.study, found.record) is None


def test_asking_changes_nothing_and_the_same_record_gives_the_same_chance(search):
    found = search(epochs=45)
    assert chance_of_gain(found.study, found.record) == chance_of_gain(found.study, found.record)


def test_a_search_that_is_to_stop_by_itself_ends_before_its_budget(search, monkeypatch):
    """Here the chance falls by a tenth with each trial."""
    falling = lambda study, record: 1.05 - 0.1 * len(study.trials())  # noqa: E731
    monkeypatch.setattr("tuning.decide.stopping.chance_of_gain", falling)
    stopped, whole = search(epochs=60, stop="auto"), search(epochs=60)
    assert len(stopped.study.trials()) == 10 and stopped.trained == 10 and stopped.record.trials() == []
    assert falling(stopped.study, None) < SETTLED and has_settled(stopped.study, stopped.record)
    assert whole.trained > 57 and not has_settled(whole.study, whole.record), "it was not asked to"
