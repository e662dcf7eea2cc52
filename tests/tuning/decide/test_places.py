"""Where configurations lie: each kind of setting by hand, and no two configurations at one place."""

import itertools

import numpy as np
import pytest

from tuning.decide.places import Places
from tuning.decide.proposals import distinct, drawn
from tuning.space.read import read_space
from tuning.space.space import key_of

SPACE = """\
fixed: {backbone: resnet18, pretrained: none, images_per_identity: 4}
search:
  learning_rate: {low: 1e-4, high: 1e-2, log: true}
  dropout: {low: 0.0, high: 0.5}
  batch_size: [16, 64, 32]
  label_smoothing: [0.1, 0.3]
  pooling: [avg, gem]
  optimizer: [adamw, sgd]
  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}
  normalize_features: [false, true]
  margin:
    - {choices: [0.1, 0.3, soft], when: {normalize_features: false}}
    - {low: 0.05, high: 0.45, when: {normalize_features: true}}
"""


@pytest.fixture
def space(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    return read_space(tmp_path / "space.yaml")


def column_values(space, **values):
    """The place, by the keys of columns; a parameter of several columns has a list."""
    places = Places(space)
    found = {}
    for key, value in zip(places.keys, places.of(values), strict=True):
        found.setdefault(key, []).append(value)
    return found


def test_ranges_lie_along_their_logarithm_and_choices_of_numbers_in_their_order(space):
    found = column_values(space, learning_rate=1e-3, dropout=0.1, batch_size=32, label_smoothing=0.1)
    assert found["learning_rate"] == pytest.approx([0.5]) and found["dropout"] == pytest.approx([0.2])
    assert found["batch_size"] == [0.5] and found["label_smoothing"] == [0.0]
    assert column_values(space, batch_size=64)["batch_size"] == [1.0]
    assert column_values(space, learning_rate=1e-4)["learning_rate"] == [0.0]
    assert column_values(space, learning_rate=1e-2)["learning_rate"] == pytest.approx([1.0])


def test_two_choices_are_one_column_and_more_have_one_each(space, tmp_path):
    assert [column_values(space, pooling=name)["pooling"] for name in ("avg", "gem")] == [[0.0], [1.0]]
    assert [column_values(space, normalize_features=on)["normalize_features"] for on in (False, True)] == [[0], [1]]
    (tmp_path / "names.yaml").write_text("search: {backbone: [resnet18, resnet50, resnet50_ibn]}\n")
    three = read_space(tmp_path / "names.yaml")
    names = ["resnet18", "resnet50", "resnet50_ibn"]
    assert [column_values(three, backbone=name)["backbone"] for name in names] == np.eye(3).tolist()


def test_a_word_among_numbers_has_a_column_of_its_own(space):
    def margin(value):
        raw = next(parameter.key for parameter in space.parameters if parameter.name == "margin")
        return column_values(space, normalize_features=False, margin=value)[raw]

    assert [margin(value) for value in (0.1, 0.3, "soft")] == [[0.0, 0.0], [1.0, 0.0], [0.5, 1.0]]


def test_a_setting_that_does_not_apply_is_in_the_middle(space):
    assert column_values(space, optimizer="adamw")["momentum"] == [0.5]
    assert column_values(space, optimizer="sgd", momentum=0.6)["momentum"] == pytest.approx([0.25])
    assert column_values(space, optimizer="adamw", momentum=0.6)["momentum"] == [0.5], "its condition does not hold"


def test_of_two_ranges_of_a_setting_the_one_that_counts_is_told_apart(space):
    raw, unit = (parameter.key for parameter in space.parameters if parameter.name == "margin")
    found = column_values(space, normalize_features=True, margin=0.15)
    assert found[unit] == pytest.approx([0.25]) and found[raw] == [0.5, 0.0]
    found = column_values(space, normalize_features=False, margin=0.1)
    assert found[unit] == [0.5] and found[raw] == [0.0, 0.0]


def test_configurations_that_differ_lie_apart_and_all_within_the_unit_cube(space):
    configurations = distinct(drawn(space, np.random.default_rng(0)), set(), 300)
    assert len({key_of(one) for one in configurations}) == 300
    places = Places(space).of_all(configurations)
    assert places.shape == (300, len(Places(space).keys)) and (places >= 0).all() and (places <= 1).all()
    for one, other in itertools.combinations(places, 2):
        assert np.abs(one - other).max() > 1e-9
    assert Places(space).of_all([]).shape == (0, places.shape[1])
