"""The verdict: what is said of the winner in each case, and what is left unsaid."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.reports import epoch_report
from tuning.confirm.candidates import DEFAULT, Candidate, Comparison, TopRun
from tuning.confirm.verdict import verdict
from tuning.record.study import Study
from tuning.record.trial import Decision, TrialState
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search: {learning_rate: {low: 1e-4, high: 1e-1, log: true}}
study: {epochs: 200, rungs: [2, 4]}
"""
OTHER = {"learning_rate": 0.01}


@pytest.fixture
def study(tmp_path):
    """Has the default at rung 2, and trial 1 at the top."""
    (tmp_path / "space.yaml").write_text(SPACE)
    study = Study("s", read_space(tmp_path / "space.yaml"), in_memory=True)
    study.add(study.space.default)
    study.record(0, 2, epoch_report(2, val_mAP=0.2))
    study.decide(0, 2, Decision.PAUSED)
    study.add(OTHER)
    study.record(1, 4, epoch_report(4, val_mAP=0.5))
    study.finish(1, TrialState.COMPLETE)
    return study


def candidate(of, runs=1, parameters=OTHER):
    return Candidate(of, parameters, [TopRun(n, 0.5, 1.0, None) for n in range(runs)], {}, True)


def compared(*means, sd=0.01, tells_noise=True):
    """What is believed of candidates, independent of each other."""
    made = Comparison.__new__(Comparison)
    made._standing = SimpleNamespace(tells_noise=tells_noise)
    made.mean_C, made.covariance_CC = np.array(means), sd**2 * np.eye(len(means))
    made.eligible_C = np.ones(len(means), dtype=bool)
    return made


def said(study, found, believed, winner=0, default=1, own_sd=0.0):
    return verdict(study, found, believed, winner=winner, default=default, own_sd=own_sd)


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        (0.40, "better than the default by +0.100 (95% interval +0.072 to +0.128)"),
        (0.48, "it cannot be told from the default, from which it differs by +0.020 (95% interval -0.008 to +0.048)"),
        (0.50, "it cannot be told from the default, from which it differs by +0.000 (95% interval -0.028 to +0.028)"),
        (0.60, "worse than the default by -0.100 (95% interval -0.128 to -0.072)"),
    ],
)
def test_the_difference_from_the_default_decides_what_it_is_called(study, default, expected):
    found = [candidate("trial 1"), candidate(DEFAULT, parameters=study.space.default)]
    sentence = said(study, found, compared(0.5, default))
    assert sentence.startswith("winner: trial 1, val_mAP 0.500 expected over seeds (90% interval 0.484 to 0.516), the")
    assert sentence.endswith(f"; {expected}")


def test_other_identities_make_the_difference_less_sure(study):
    found = [candidate("trial 1"), candidate(DEFAULT, parameters=study.space.default)]
    assert "better than" in said(study, found, compared(0.5, 0.4))
    assert "cannot be told" in said(study, found, compared(0.5, 0.4), own_sd=0.06)


def test_how_sure_the_choice_is_depends_on_all_that_were_trained_as_long(study):
    found = [candidate("trial 1"), candidate(DEFAULT, parameters=study.space.default), candidate("trial 2")]
    believed = compared(0.5, 0.4, 0.49)
    assert f"the best of 3 that were trained so long with probability {believed.p_best_C[0]:.2f};" in said(
        study, found, believed
    )
    alone = [candidate("trial 1"), candidate(DEFAULT, runs=0, parameters=study.space.default)]
    sentence = said(study, alone, compared(0.5, 0.4))
    assert "the only one that was trained so long" in sentence and "probability" not in sentence
    assert sentence.endswith("the default was trained for 2 epochs alone")


def test_where_the_noise_is_a_guess_nothing_is_called_better(study):
    found = [candidate("trial 1"), candidate(DEFAULT, parameters=study.space.default)]
    for default in (0.1, 0.9):
        sentence = said(study, found, compared(0.5, default, tells_noise=False))
        assert "better than" not in sentence and "worse than" not in sentence and "probability" not in sentence
        assert "cannot be told: no configuration was trained twice" in sentence


def test_a_default_that_was_never_trained_is_compared_with_nothing(study):
    found = [candidate("trial 1"), candidate(DEFAULT, runs=0, parameters={"learning_rate": 0.9})]
    study.space.__dict__["default"] = {"learning_rate": 0.9}
    sentence = said(study, found, compared(0.5, 0.1))
    assert sentence.endswith("; the default was never trained, so that the two cannot be compared")
    assert "better" not in sentence


def test_the_default_itself_may_win(study):
    default = candidate(DEFAULT, parameters=study.space.default)
    both = said(study, [default, candidate("trial 1")], compared(0.5, 0.4), winner=0, default=0)
    assert both.endswith("; nothing that was found is expected to be better")
    assert said(study, [default], compared(0.5), default=0).endswith("the only one that was trained so long")


def test_a_search_that_ended_below_the_top_says_how_far_it_came(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    study = Study("s", read_space(tmp_path / "space.yaml"), in_memory=True)
    study.add(OTHER)
    study.record(0, 2, epoch_report(2, val_mAP=0.5))
    study.decide(0, 2, Decision.PAUSED)
    found = [candidate("trial 0"), candidate(DEFAULT, runs=0, parameters=study.space.default)]
    assert " after 2 of 4 epochs, the only one that was trained so long" in said(study, found, compared(0.5, 0.4))
