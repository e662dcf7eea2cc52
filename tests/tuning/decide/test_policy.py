"""Whole searches without training: the policy drives a study whose scores are given."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from tests.reports import epoch_report
from tuning.decide.forecast import forecast
from tuning.decide.policy import Policy
from tuning.record.study import Study
from tuning.record.trial import Decision, TrialState
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  margin: [0.1, 0.3, soft]
study: {trials: 30, rungs: [1, 3, 9], reduction: 3, sampler: SAMPLER, audit: AUDIT, promotion: continue}
"""


@pytest.fixture
def open_study(tmp_path):
    def opened(name=None, *, sampler="random", audit=0, **changes):
        """A study that is kept, where it has a name."""
        file = tmp_path / "space.yaml"
        file.write_text(SPACE.replace("SAMPLER", sampler).replace("AUDIT", str(audit)))
        space = read_space(file)
        space = replace(space, study=space.study.model_copy(update=changes))
        study = Study(tmp_path / str(name), space, in_memory=name is None)
        return study, Policy(study)

    return opened


def quality(number):
    return random.Random(number).random()


def noisy(number, rung):
    return quality(number) + random.Random(f"{number} {rung}").gauss(0, 0.3 / rung)


def train_rung(study, policy, number, score=noisy, epoch_s=1.0):
    """Trains a trial to the end of its next rung; whether it goes on."""
    done = study.trial(number).rung
    rung = next(rung for rung in policy.rungs if rung > done)
    for epoch in range(done + 1, rung + 1):
        study.record(number, rung, epoch_report(epoch, val_mAP=score(number, rung), seconds=epoch_s))
    return policy.at_rung_end(number, rung)


def search(study, policy, workers=1, **options):
    """Runs the search to its end, with several trials at once, a rung each in turn."""
    running = []
    while True:
        while len(running) < workers and (number := policy.next_trial()) is not None:
            running.append(number)
        if not running:
            return
        number = running.pop(0)
        if train_rung(study, policy, number, **options):
            running.append(number)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_search_ends_with_all_trials_ended_and_about_as_many_promoted_as_planned(open_study, workers):
    study, policy = open_study()
    search(study, policy, workers)
    states = Counter(trial.state for trial in study.trials())
    assert sum(states.values()) == 30 and set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    plan = forecast(study.plan, 30)
    reached = [sum(rung in trial.scores for trial in study.trials()) for rung in policy.rungs]
    assert plan.trials == (30, 10, 3) and plan.epochs == 30 + 10 * 2 + 3 * 6
    # Those that were promoted before better ones came are more than the plan's.
    assert reached[0] == 30 and all(p <= r <= 1.5 * p for p, r in zip(plan.trials, reached, strict=True))
    assert sum(trial.epochs for trial in study.trials()) == 30 + reached[1] * 2 + reached[2] * 6


def test_the_best_of_a_rung_that_ranks_perfectly_is_found(open_study):
    study, policy = open_study()
    search(study, policy, 4, score=lambda number, rung: quality(number) * rung)
    best = max(study.trials(), key=lambda trial: quality(trial.number))
    assert best.state is TrialState.COMPLETE


def test_every_nth_trial_goes_to_the_top_whatever_its_scores(open_study):
    study, policy = open_study(audit=8)
    worst = lambda number, rung: -1.0 if number % 8 == 7 else noisy(number, rung)  # noqa: E731
    search(study, policy, 2, score=worst)
    fair = [trial.number for trial in study.trials() if trial.state is TrialState.COMPLETE and trial.fair]
    assert fair == [7, 15, 23]
    assert all(study.trial(number).decisions == {1: Decision.FAIR, 3: Decision.FAIR} for number in fair)


def test_a_rung_that_ranks_backwards_stops_pruning_and_says_so(open_study):
    study, policy = open_study(audit=2, trials=60)
    search(study, policy, score=lambda number, rung: quality(number) * (1 if rung == 9 else -1))
    assert policy.agreement(1).too_low and policy.agreement(3).too_low
    # Once it is known, all trials go on.
    known = next(
        n for n in range(60) if sum(t.fair and t.state is TrialState.COMPLETE for t in study.trials()[:n]) >= 8
    )
    assert all(trial.state is TrialState.COMPLETE for trial in study.trials()[known:])


def record_of(study):
    return [(t.number, t.state, t.parameters, t.scores, t.decisions, t.cause) for t in study.trials()]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_search_that_is_interrupted_at_any_moment_decides_like_one_that_is_not(open_study, sampler):
    """Every proposal and every decision follows from the record: a study opened anew goes on to the same end."""
    study, policy = open_study("whole", sampler=sampler, audit=8, trials=14)
    search(study, policy)
    other, policy = open_study("pieces", sampler=sampler, audit=8, trials=14)
    rng = random.Random(0)
    while (number := policy.next_trial()) is not None:
        while True:
            if rng.random() < 0.2:  # killed before the rung's end, or just before what follows it
                other, policy = open_study("pieces", sampler=sampler, audit=8, trials=14)
                other.settle()
                assert policy.next_trial() == number
            if not train_rung(other, policy, number):
                break
    assert record_of(other) == record_of(study)


def test_a_kill_between_score_and_decision_changes_nothing(open_study):
    study, policy = open_study("study")
    for number in range(3):
        assert policy.next_trial() == number
        study.record(number, 1, epoch_report(1, val_mAP=0.1 * number))
        if number < 2:
            assert not policy.at_rung_end(number, 1)
    study, policy = open_study("study")
    study.settle()
    assert study.trial(2).state is TrialState.WAITING and policy.next_trial() == 2
    assert policy.at_rung_end(2, 1), "the best of three is promoted when it is told again"


def test_a_promotion_on_record_stands_although_others_have_overtaken(open_study):
    study, policy = open_study("study")

    def end_first_rung(number, score):
        study.record(number, 1, epoch_report(1, val_mAP=score))
        return policy.at_rung_end(number, 1)

    for _ in range(5):
        policy.next_trial()
    assert [end_first_rung(number, score) for number, score in enumerate([0.1, 0.2, 0.7])] == [False, False, True]
    for number, score in ((3, 0.8), (4, 0.9)):
        end_first_rung(number, score)
    assert study.trial(2).decisions == {1: Decision.PROMOTED}
    study, policy = open_study("study")
    study.settle()
    assert policy.next_trial() == 2
    assert policy.at_rung_end(2, 1), "it is told again, and is no longer the best 1 in 3"
    assert study.trial(2).decisions == {1: Decision.PROMOTED}


def test_within_a_time_budget_the_best_reaches_the_top_and_nothing_runs_over(open_study, monkeypatch):
    study, policy = open_study(trials=1000, time_budget=60.0)
    monkeypatch.setattr(Study, "elapsed_s", property(lambda self: float(sum(t.epochs for t in self.trials()))))
    search(study, policy)
    assert 50 < study.elapsed_s <= 60
    assert any(trial.state is TrialState.COMPLETE for trial in study.trials())


def test_what_follows_the_trials_has_its_share_of_the_time_budget(open_study, monkeypatch):
    monkeypatch.setattr(Study, "elapsed_s", property(lambda self: float(sum(t.epochs for t in self.trials()))))
    study, _ = open_study(trials=1000, time_budget=60.0)
    search(study, Policy(study, reserved_epochs=20))
    assert 30 < study.elapsed_s <= 40
    assert any(trial.state is TrialState.COMPLETE for trial in study.trials())
