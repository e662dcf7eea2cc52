"""The pictures of a study: there for every study, and what they show against cases worked by hand."""

from dataclasses import replace

import matplotlib
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from tests.reports import epoch_report
from tuning.decide.sampler import Sampler
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import TrialEpoch, TrialRecord, TrialState
from tuning.result import plots
from tuning.result.plot_data import (
    Curve,
    best_so_far,
    comparison_rung,
    importances,
    learning_curves,
    place,
    position,
    shortened,
    ticks,
)
from tuning.result.plots import _optimization_history, _parameter_importance, plot_study
from tuning.space.parameter import Parameter
from tuning.space.read import read_space

SPACE = """
fixed: {backbone: resnet18, pretrained: none, images_per_identity: 4}
search:
  learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
  margin: [0.1, 0.3, soft]
  batch_size: {low: 16, high: 64, step: 16}
  optimizer: [adamw, sgd]
  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}
  weight_decay: [{low: 0, high: 0.1, when: {optimizer: sgd}}, {choices: [0.01, 0.2], when: {optimizer: adamw}}]
study: {rungs: [2, 4], trials: 12}
"""
NAMES = [
    "optimization_history",
    "parameter_importance",
    "parallel_coordinates",
    "slices",
    "learning_curves",
    "best_training_history",
]


def train(study, score, rungs, state, cause=None):
    """One trial that completes these schedules, its score growing evenly over each."""
    number = study.add(*Sampler(study.space, study.plan).propose(study.trials()))
    for rung in rungs:
        for epoch in range(1, rung + 1):
            study.record(number, rung, epoch_report(epoch, num_epochs=rung, val_mAP=score * epoch / rung))
    study.finish(number, state, cause)


@pytest.fixture
def study(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    return Study(tmp_path / "study", read_space(tmp_path / "space.yaml"))


def assert_pictures(study):
    files = plot_study(Study(study.folder), study.folder / "plots")
    assert [file.name for file in files] == [f"{name}.png" for name in NAMES]
    assert sorted(files) == sorted((study.folder / "plots").iterdir())  # and no temporary file
    for file in files:
        with Image.open(file) as image:
            image.verify()
            assert image.format == "PNG"
            assert 400 <= image.width <= 2400 and 200 <= image.height <= 1600


def test_a_study_without_trials_has_every_picture(study):
    assert_pictures(study)


def test_a_study_of_one_trial_has_every_picture(study):
    train(study, 0.2, [2, 4], TrialState.COMPLETE)
    assert_pictures(study)


def test_a_study_in_its_first_schedule_has_every_picture(study):
    number = study.add(*Sampler(study.space, study.plan).propose([]))
    study.record(number, 2, epoch_report(1, num_epochs=2, val_mAP=0.1))
    assert_pictures(study)


def test_a_study_whose_trials_all_failed_has_every_picture(study):
    for _ in range(3):
        train(study, 0.0, [], TrialState.FAILED, Cause(Kind.DIVERGED, "loss is not finite"))
    assert_pictures(study)


def test_a_study_of_equal_scores_has_every_picture(study):
    for _ in range(7):
        train(study, 0.0, [2], TrialState.PRUNED)
    assert_pictures(study)


def test_the_line_of_the_history_tells_the_highest_score_and_a_ring_the_best_trial(study):
    for score in (0.2, 0.3, 0.25):
        train(study, score, [2, 4], TrialState.COMPLETE)
    trials = study.trials()
    (axes,) = _optimization_history(trials, "mAP", trials[2]).axes
    shown = {line.get_label(): ([*line.get_xdata()], [*line.get_ydata()]) for line in axes.lines}
    assert shown["highest so far at 4 epochs: 30.0%"] == ([0, 1, 2], [0.2, 0.3, 0.3])
    assert shown["best: trial 2, 25.0% at 4 epochs"] == ([2], [0.25])


def test_the_best_is_the_trial_that_best_is_made_of_not_the_one_of_the_highest_score(study, monkeypatch):
    shown = []

    def draw(rows, title):
        shown.append((title, rows[-1]["val_mAP"]))
        return Figure()

    monkeypatch.setattr(plots, "history_figure", draw)
    for score in (0.2, 0.3, 0.25):
        train(study, score, [2, 4], TrialState.COMPLETE)
    (study.folder / "best").mkdir()
    for label in (None, '{"of": "trial 2", "seed": 2}', '{"of": "default", "seed": 0}', '{"of": "tri'):
        if label:
            (study.folder / "best" / "trial.json").write_text(label)
        plot_study(study, study.folder / "plots")
    start = ": its complete schedule of 4 epochs"
    assert [title.replace(start, "") for title, _ in shown] == [f"Trial {n}, the best" for n in (1, 2, 1, 1)], (
        "the default was none"
    )
    assert [score for _, score in shown] == [0.3, 0.25, 0.3, 0.3]


def test_a_study_of_twelve_trials_has_every_picture_and_leaves_no_state(study):
    for number in range(12):
        rungs, state = [
            ([2, 4], TrialState.COMPLETE),
            ([2], TrialState.PRUNED),
            ([], TrialState.FAILED),
            ([2], TrialState.FAILED),
        ][min(number % 5, 3)]
        train(study, 0.2 + 0.03 * number, rungs, state)
    before = dict(matplotlib.rcParams)
    assert_pictures(study)
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def test_a_long_search_of_many_lengths_has_every_picture(tmp_path):
    (tmp_path / "space.yaml").write_text(
        "fixed: {backbone: resnet18, pretrained: none}\nsearch:\n  num_epochs: {low: 1, high: 8}\n  margin: [1, 2]\n"
    )
    study = Study(tmp_path / "study", read_space(tmp_path / "space.yaml"))
    for number in range(10):
        train(study, 0.1 + 0.01 * number, [1 + number % 8], TrialState.COMPLETE)
    assert_pictures(study)


def trial(number, scores, state=TrialState.COMPLETE, reports=(), **parameters):
    return TrialRecord(number, state, parameters, scores, list(reports))


def test_best_so_far_follows_the_longest_schedule_to_the_last_trial():
    trials = [
        trial(0, {4: 0.9}, TrialState.PRUNED),  # high, but of a shorter schedule
        trial(1, {4: 0.1, 8: 0.3}),
        trial(2, {4: 0.1, 8: 0.2}),
        trial(3, {}, TrialState.FAILED),
        trial(4, {4: 0.2, 8: 0.5}),
        trial(5, {4: 0.6}, TrialState.PRUNED),
    ]
    assert best_so_far(trials) == ([1, 2, 4, 5], [0.3, 0.3, 0.5, 0.5])
    assert best_so_far(list(reversed(trials))) == best_so_far(trials)
    assert best_so_far(trials[:1]) == ([0], [0.9])
    assert best_so_far([trials[3]]) == ([], [])
    assert best_so_far([]) == ([], [])


def test_learning_curves_break_at_a_rung_and_count_epochs_over_all_schedules():
    values = [(2, 1, 0.1), (2, 2, 0.2), (4, 1, 0.05), (4, 2, None), (4, 3, 0.15)]
    reports = [TrialEpoch(rung, epoch_report(epoch, val_mAP=value)) for rung, epoch, value in values]
    running = trial(0, {2: 0.2}, TrialState.RUNNING, reports)
    assert learning_curves(running, "val_mAP") == [
        Curve(2, [1, 2], [0.1, 0.2], complete=True),
        Curve(4, [3, 5], [0.05, 0.15], complete=False),
    ]
    assert learning_curves(running, "val_mINP") == []
    assert learning_curves(trial(1, {}, TrialState.FAILED), "val_mAP") == []


def test_scores_are_compared_at_the_length_that_most_trials_have():
    assert comparison_rung([trial(0, {4: 0.1, 8: 0.2}), trial(1, {4: 0.1}), trial(2, {})]) == 4
    assert comparison_rung([trial(0, {4: 0.1, 8: 0.2})]) == 4
    assert comparison_rung([trial(0, {10: 0.1}), trial(1, {20: 0.1}), trial(2, {20: 0.1})]) == 20
    assert comparison_rung([trial(0, {}, TrialState.FAILED)]) == 0
    assert comparison_rung([]) == 0


RATE = Parameter(name="learning_rate", kind="float", low=1e-4, high=1e-2, log=True)
MARGIN = Parameter(name="margin", kind="categorical", choices=(0.1, 0.3, "soft", None))


def test_positions_are_even_in_the_logarithm_and_between_choices():
    assert position(RATE, 1e-3) == pytest.approx(0.5)
    assert position(replace(RATE, low=0.0, high=0.2, log=False), 0.05) == pytest.approx(0.25)
    assert position(replace(RATE, low=3.0, high=3.0, log=False), 3.0) == 0.5
    assert [position(MARGIN, choice) for choice in MARGIN.choices] == [0.125, 0.375, 0.625, 0.875]


def test_trials_of_one_choice_lie_side_by_side_and_apart_from_other_choices():
    places = [place(MARGIN, trial(number, {}, margin="soft")) for number in range(50)]
    assert len(set(places)) == 50
    assert all(0.5 < value < 0.75 for value in places)


def test_ticks_are_round_numbers_or_choices():
    def labels(parameter):
        return [label for _, label in ticks(parameter)]

    assert labels(MARGIN) == ["0.1", "0.3", "soft", "None"]
    assert labels(RATE) == ["0.0001", "0.001", "0.01"]
    assert labels(replace(RATE, low=2e-4)) == ["0.0003", "0.001", "0.003", "0.01"]
    assert labels(replace(RATE, low=1e-6, high=1e-5)) == ["1e-6", "3e-6", "1e-5"]
    assert labels(replace(RATE, low=16, high=64, log=False, step=16)) == ["16", "32", "48", "64"]
    assert labels(replace(RATE, kind="int", low=0, high=2, log=False)) == ["0", "1", "2"]
    assert labels(replace(RATE, low=3.0, high=3.0, log=False, step=5.0)) == ["3"]
    assert shortened("results/runs/old/checkpoint") == "…/old/checkpoint"


IMPORTANCE = """
search:
  dropout: {low: 0, high: 0.9}
  optimizer: [adamw, sgd]
"""


@pytest.fixture
def scored(tmp_path):
    """The importances of a space by trials of growing dropout, of which the optimizer says nothing."""
    (tmp_path / "space.yaml").write_text(IMPORTANCE)
    space = read_space(tmp_path / "space.yaml")

    def found(count, scores):
        def of(number):
            parameters = {"dropout": 0.9 * number / count, "optimizer": ["adamw", "sgd"][number * 1000 // count % 2]}
            return TrialRecord(number, TrialState.PRUNED, parameters, scores(number / count))

        return importances(space, [of(number) for number in range(count)], 4)

    return found


def test_importance_finds_the_parameter_that_decides_and_uses_pruned_trials(scored):
    found = scored(40, lambda score: {4: score, 8: 0.5})
    assert list(found) == ["dropout", "optimizer"]
    assert found["dropout"].share > found["dropout"].by_chance
    assert sum(importance.share for importance in found.values()) == pytest.approx(1)


def test_shares_of_importance_fill_their_axis_however_large_chance_is(tmp_path):
    """Two settings that say nothing: random orders come to many times the whole of what was found."""
    (tmp_path / "space.yaml").write_text(IMPORTANCE)
    space = read_space(tmp_path / "space.yaml")
    trials = [
        TrialRecord(
            n, TrialState.PRUNED, {"dropout": 0.09 * (n % 10), "optimizer": ["adamw", "sgd"][n // 10 % 2]}, {4: s}
        )
        for n, s in enumerate([0.1, 0.9] * 10)
    ]
    found = importances(space, trials, 4)
    assert max(importance.by_chance for importance in found.values()) > 2, "else this tells nothing"
    (axes,) = _parameter_importance(space, trials, 4, "mAP").axes
    low, high = axes.get_xlim()
    longest = max(bar.get_width() for bar in axes.patches)
    assert low == 0 and longest <= high <= 1.1 and longest > 0.4 * high


def test_importance_says_in_words_when_it_cannot_be_computed(scored):
    assert "need 6" in scored(5, lambda score: {4: score})
    assert "same score" in scored(40, lambda score: {4: 0.5})


def test_importance_keeps_two_ranges_of_one_setting_apart(study):
    """Each range has an importance of its own, under its key; `momentum` counts for some of the trials alone."""
    for number in range(12):
        train(study, 0.1 + 0.02 * number, [2], TrialState.PRUNED)
    found = importances(study.space, study.trials(), 2)
    assert isinstance(found, dict) and set(found) <= {parameter.key for parameter in study.space.parameters}
