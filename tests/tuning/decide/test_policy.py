"""Whole searches without training: what a budget is spent on, whatever comes, and that the record alone decides."""

import math
import random
import statistics
from collections import Counter
from dataclasses import replace

import pytest

from tests.reports import epoch_report
from tests.simulated_search import Clock, SimulatedSearch
from tuning.decide.budget import LENGTHS_FOR_DEFAULT, SLACK, closing_s
from tuning.decide.places import Places
from tuning.decide.stopping import early_end
from tuning.prepare.costs import measure_prices
from tuning.record.cause import Cause, Kind
from tuning.record.trial import OWN_SEED, STRAIGHT, Decision, TrialState
from tuning.space.read import read_space
from tuning.space.space import key_of

SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  dropout: {low: 0.0, high: 0.5}
  margin: [0.1, 0.3, soft]
study: {epochs: 60, rungs: [1, 3]}
"""
BUDGETS = (1, 2, 3, 4, 7, 12, 30, 75)


@pytest.fixture
def make_space(tmp_path):
    def made(text=SPACE, **changes):
        (tmp_path / "space.yaml").write_text(text)
        space = read_space(tmp_path / "space.yaml")
        return replace(space, study=space.study.model_copy(update=changes))

    return made


def quality(config):
    """Best at a learning rate of 1e-2 without dropout."""
    return 0.6 - 0.1 * (math.log10(config.learning_rate) + 2) ** 2 - 0.4 * config.dropout


def noisy(config, epochs):
    drawn = random.Random(f"{config.learning_rate} {config.dropout} {config.margin} {config.seed} {epochs}")
    return quality(config) - 0.1 / epochs + drawn.gauss(0, 0.01)


def states(study):
    return {trial.state for trial in study.trials()}


# What a budget is spent on


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("epochs", BUDGETS)
def test_the_epochs_are_never_exceeded_and_a_model_is_always_handed_over(make_space, epochs, workers):
    search = SimulatedSearch(make_space(epochs=epochs), noisy, workers=workers)
    search.run()
    assert search.trained <= epochs and states(search.study) <= {TrialState.COMPLETE, TrialState.PAUSED}
    assert any(trial.scores for trial in search.study.trials())
    if epochs >= 4:  # both schedules of one trial
        assert any(trial.state is TrialState.COMPLETE for trial in search.study.trials())
        assert search.trained > epochs - 3, "what is left holds nothing more"


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("trials", [1, 5, 20])
def test_the_trials_that_are_asked_for_are_tried_and_a_share_of_them_promoted(make_space, trials, workers):
    search = SimulatedSearch(make_space(epochs=None, trials=trials), noisy, workers=workers)
    search.run()
    assert len(search.study.trials()) == trials
    at_top = [trial for trial in search.study.trials() if trial.rung == 3]
    assert 1 <= len(at_top) <= max(1, trials / 2)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("budget_s", [17.0, 25.0, 60.0])
def test_what_runs_ends_in_time_and_leaves_time_for_what_follows(make_space, monkeypatch, budget_s, workers):
    clock = Clock()
    monkeypatch.setattr("tuning.record.study.time", clock)
    search = SimulatedSearch(make_space(epochs=None, time_budget=budget_s), noisy, workers=workers, clock=clock)
    search.study.note(plan={"rungs": [1, 3], "epoch_s": 1.0})
    search.run()
    assert clock.now_s <= budget_s - closing_s(1.0) + 1, "one epoch at most is over"
    assert any(trial.rung == 3 for trial in search.study.trials())
    assert clock.now_s > budget_s - closing_s(1.0) - 4, "what is left holds nothing more"


@pytest.mark.parametrize("sampler", ["model", "random"])
def test_nothing_is_begun_that_could_not_be_promoted_any_more(make_space, monkeypatch, sampler):
    """When the last short schedule begins, one to the top still fits behind it; then the search ends, and says so."""
    ended_early = 0
    for budget_s in range(60, 100, 8):
        search, begun = timed_search(make_space, monkeypatch, budget_s, sampler)
        search.run()
        assert max(begun) + 3 + 9 <= budget_s
        left_s = budget_s - search.clock.now_s
        assert left_s < 9, "a full schedule would have fitted"
        said = early_end(search.purse)
        assert (said is not None) == (left_s >= 3), said
        ended_early += said is not None
    assert ended_early, "no budget of these shows it"


def timed_search(make_space, monkeypatch, budget_s, sampler):
    """A search with rungs of 3 and 9 epochs of a second, and when its short schedules began."""
    clock, begun = Clock(), []
    monkeypatch.setattr("tuning.record.study.time", clock)
    space = make_space(rungs=(3, 9), epochs=None, time_budget=budget_s + closing_s(1.0), sampler=sampler)
    search = SimulatedSearch(space, noisy, clock=clock)
    search.study.note(plan={"rungs": [3, 9], "epoch_s": 1.0})
    add = search.study.add

    def noted(parameters, notes, costs):
        if not notes.get(STRAIGHT):
            begun.append(clock.now_s)
        return add(parameters, notes, costs)

    monkeypatch.setattr(search.study, "add", noted)
    return search, begun


@pytest.mark.parametrize("workers", [2, 4])
def test_each_worker_takes_one_to_the_top_before_its_time_holds_none(make_space, monkeypatch, workers):
    """A short schedule that is begun then is of no use: nothing that it shows can be trained any more."""
    for each in range(14, 32, 3):
        clock = Clock()
        monkeypatch.setattr("tuning.record.study.time", clock)
        space = make_space(rungs=(3, 9), epochs=None, time_budget=each + closing_s(1.0))
        search = SimulatedSearch(space, noisy, workers=workers, clock=clock)
        search.study.note(plan={"rungs": [3, 9], "epoch_s": 1.0})
        search.run()
        assert sum(trial.rung == 9 for trial in search.study.trials()) >= workers
        assert clock.now_s <= each + 1


def test_where_epochs_become_slower_what_runs_is_interrupted_and_goes_on_with_more_time(
    make_space, monkeypatch, tmp_path
):
    clock = Clock()
    monkeypatch.setattr("tuning.record.study.time", clock)
    space = make_space(rungs=(2, 40), epochs=None, time_budget=100.0)
    search = SimulatedSearch(space, noisy, folder=tmp_path / "study", clock=clock)
    search.study.note(plan={"rungs": [2, 40], "epoch_s": 1.0})
    original = search._train_epoch

    def slower(work, scheduler, number):
        if work.study.trial(number).rung == 2:
            clock.now_s += 3.0
        return original(work, scheduler, number)

    monkeypatch.setattr(search, "_train_epoch", slower)
    search.run()
    (waiting,) = search.study.in_state(TrialState.WAITING)
    left = search.study.trial(waiting)
    assert clock.now_s <= 100 - closing_s(search.purse.pace_s()) + 100 * SLACK + 4 and 2 < left.epochs < 42
    search.study.save_elapsed()
    more = replace(space, study=space.study.model_copy(update={"time_budget": 250.0}))
    again = SimulatedSearch(more, noisy, folder=tmp_path / "study", clock=clock)
    assert again.policy.next_trial() == waiting
    again.study.interrupt(waiting)
    again.run()
    assert again.study.trial(waiting).state is TrialState.COMPLETE
    assert again.study.trial(waiting).reports[: left.epochs] == left.reports, "no epoch was trained again"


@pytest.mark.parametrize("seed", range(4))
def test_a_search_killed_at_any_epoch_whose_time_is_nearly_up_still_takes_one_to_the_top(
    make_space, monkeypatch, tmp_path, seed
):
    """What was lost is the time: short schedules that were interrupted wait, where the way up needs what is left."""
    clock, rng = Clock(), random.Random(seed)
    monkeypatch.setattr("tuning.record.study.time", clock)
    space = make_space(rungs=(3, 9), epochs=None, time_budget=100.0)
    search = SimulatedSearch(space, noisy, folder=tmp_path / "study", workers=4, clock=clock)
    search.study.note(plan={"rungs": [3, 9], "epoch_s": 1.0})
    search.run(most_epochs=rng.randint(13, 60))
    assert not any(trial.rung == 9 for trial in search.study.trials())
    clock.now_s = 100 - closing_s(1.0) - 9 - rng.choice([0, 1, 2])
    search.study.save_elapsed()
    again = SimulatedSearch(space, noisy, folder=tmp_path / "study", workers=4, clock=clock)
    again.run()
    assert any(trial.rung == 9 for trial in again.study.trials()), [str(t.state) for t in again.study.trials()]
    assert clock.now_s <= 100 - closing_s(1.0) + 1


def test_where_few_epochs_are_left_a_promotion_waits_for_the_trials_that_still_run(make_space):
    """Of eight side by side the best ends last."""
    space = make_space(epochs=32, rungs=(3, 9))
    search = SimulatedSearch(space, noisy, workers=8)
    running = [search.policy.next_trial() for _ in range(7)]
    assert None not in running
    for place, number in enumerate(running):
        assert place == 0 or search.policy.next_trial() is None, "another may deserve it more"
        for epoch in (1, 2, 3):
            search.study.record(number, 3, epoch_report(epoch, num_epochs=3, val_mAP=0.1 + 0.05 * place))
        search.policy.at_rung_end(number, 3)
    promoted = search.policy.next_trial()
    assert search.study.trial(promoted).rung == 3 or search.study.trial(promoted).straight


def test_no_promotion_waits_until_it_is_too_late(make_space, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("tuning.record.study.time", clock)
    space = make_space(rungs=(3, 9), epochs=None, time_budget=13.5 + closing_s(1.0))
    search = SimulatedSearch(space, noisy, workers=8, clock=clock)
    search.study.note(plan={"rungs": [3, 9], "epoch_s": 1.0})
    first, *others = [search.policy.next_trial() for _ in range(8)]
    assert None not in others
    clock.now_s = 3.0
    for epoch in (1, 2, 3):
        search.study.record(first, 3, epoch_report(epoch, num_epochs=3, val_mAP=0.1))
    search.policy.at_rung_end(first, 3)
    assert search.policy.next_trial() is not None


def test_two_that_train_to_the_top_at_once_are_not_almost_the_same(make_space):
    alike = 0
    for seed in range(12):
        space = make_space(epochs=24, sampler_seed=seed)
        search = SimulatedSearch(space, noisy, workers=2)
        search.run()
        at_top = [trial.parameters for trial in search.study.trials() if trial.rung == 3]
        assert len(at_top) == 2
        one, other = Places(space).of_all(at_top)
        alike += math.dist(one, other) < 0.1
    assert alike <= 1


@pytest.mark.parametrize("rungs", [None, (3,), (1, 3), (1, 2, 4)])
@pytest.mark.parametrize("promotion", ["restart", "continue", "cut"])
def test_every_way_to_the_top_spends_the_budget_and_trains_each_schedule_once(make_space, rungs, promotion):
    space = make_space(rungs=rungs, promotion=promotion, epochs=60)
    if rungs is None:
        space = replace(space, fixed={**space.fixed, "num_epochs": 4})
    search = SimulatedSearch(space, noisy, workers=2)
    search.run()
    top = (rungs or (4,))[-1]
    assert 60 - top < search.trained <= 60 and any(trial.rung == top for trial in search.study.trials())
    assert states(search.study) <= {TrialState.COMPLETE, TrialState.PAUSED}
    for trial in search.study.trials():
        expected = [top] if trial.straight else [rung for rung in rungs or (4,) if rung <= trial.rung]
        assert list(trial.scores) == expected
        whole = sum(expected) if promotion == "restart" else trial.rung
        assert trial.epochs == whole
    runs = [(key_of(parameters), seed, rung) for parameters, seed, rung in search.runs()]
    assert len(set(runs)) == len(runs)


def test_of_three_rungs_the_middle_one_gets_as_many_epochs_as_the_first(make_space):
    search = SimulatedSearch(make_space(rungs=(1, 3, 9), epochs=150), noisy)
    search.run()
    spent = Counter(epoch.rung for trial in search.study.trials() for epoch in trial.reports)
    assert spent[3] == pytest.approx(spent[1], abs=3) and spent[9] >= 9
    counts = [sum(trial.rung >= rung for trial in search.study.trials()) for rung in (1, 3, 9)]
    assert counts[0] > counts[1] > counts[2] >= 1


def test_where_the_length_is_searched_each_trial_trains_its_own(make_space):
    text = SPACE.replace("  dropout", "  num_epochs: {low: 2, high: 6}\n  dropout").replace(
        "rungs: [1, 3]", "rungs: auto"
    )
    search = SimulatedSearch(make_space(text.replace("epochs: 60", "trials: 12")), lambda c, n: quality(c) + 0.01 * n)
    search.run()
    trials = search.study.trials()
    assert len(trials) == 12 and states(search.study) == {TrialState.COMPLETE}
    assert all(trial.epochs == trial.rung == trial.parameters["num_epochs"] for trial in trials)
    assert search.record.trials() == [], "its winner has a length of its own, which is not repeated"


@pytest.mark.parametrize("workers", [1, 4])
def test_every_trial_is_trained_with_a_seed_of_its_own_and_repeats_with_new_ones(make_space, workers):
    search = SimulatedSearch(make_space(epochs=120), noisy, workers=workers)
    search.run()
    trials = search.study.trials()
    assert all(trial.notes[OWN_SEED] for trial in trials)
    assert [search.study.config(trial.number).seed for trial in trials] == list(range(len(trials)))
    assert len(search.record.trials()) >= 3
    runs = [(key_of(parameters), seed, rung) for parameters, seed, rung in search.runs()]
    assert len(set(runs)) == len(runs), "nothing was trained twice"


def test_a_space_of_few_configurations_is_exhausted_and_the_rest_spent_on_the_best(make_space):
    text = "fixed: {backbone: resnet18, pretrained: none}\nsearch: {margin: [0.1, 0.3, soft], dropout: [0.0, 0.2]}\n"
    text += "study: {epochs: 60, rungs: [1, 3]}\n"
    search = SimulatedSearch(make_space(text), noisy, workers=4)
    search.run()
    assert len(search.study.trials()) == 6 == search.purse.most_trials
    assert 57 < search.trained <= 60 and len(search.record.trials()) > 3


def test_more_trials_than_the_space_has_cost_what_all_of_its_own_cost(make_space):
    text = "fixed: {backbone: resnet18, pretrained: none}\nsearch: {margin: [0.1, 0.3, soft], dropout: [0.0, 0.2]}\n"
    trained = []
    for trials in (6, 400):
        search = SimulatedSearch(make_space(f"{text}study: {{trials: {trials}, rungs: [1, 3]}}\n"), noisy)
        search.run()
        assert len(search.study.trials()) == 6 and search.policy.planned == 6
        trained.append(search.trained)
    assert trained[0] == trained[1]


# The default


@pytest.mark.parametrize("lengths", [10, 13, 15, 20])
def test_the_default_is_trained_to_the_top_where_the_budget_has_room_however_bad_it_is(make_space, lengths):
    def score(config, epochs):
        return 0.05 if config.learning_rate == 1e-4 else noisy(config, epochs)

    space = make_space(SPACE + "first_trials: [{learning_rate: 1e-4, dropout: 0.0, margin: 0.1}]\n", epochs=3 * lengths)
    search = SimulatedSearch(space, score)
    search.run()
    assert (search.study.trial(0).state is TrialState.COMPLETE) == (lengths >= LENGTHS_FOR_DEFAULT)


def test_the_default_is_tried_first_where_it_lies_in_the_space(make_space):
    inside, outside = make_space(), make_space(SPACE.replace("high: 1e-1", "high: 9e-4"))
    for space, first in ((inside, True), (outside, False)):
        search = SimulatedSearch(space, noisy)
        search.policy.next_trial()
        assert (search.study.trial(0).parameters == space.default) == first


def test_a_default_outside_of_the_space_is_repeated_at_the_top_to_compare_with(make_space):
    text = SPACE.replace("high: 1e-1", "high: 9e-4")
    for lengths, runs in ((12, 0), (40, 1)):
        search = SimulatedSearch(make_space(text, epochs=3 * lengths), noisy)
        search.run()
        assert sum(run.notes["of"] == "default" for run in search.record.trials()) >= runs
        assert runs or all(run.notes["of"] != "default" for run in search.record.trials())


# The record decides


def record_of(search):
    trials = [(t.number, t.state, t.parameters, t.scores, t.decisions) for t in search.study.trials()]
    return trials + [(r.number, r.state, dict(r.notes), r.scores) for r in search.record.trials()]


@pytest.mark.parametrize("workers", [1, 4])
def test_the_same_search_decides_the_same_again(make_space, workers):
    one, other = (SimulatedSearch(make_space(epochs=75), noisy, workers=workers) for _ in range(2))
    one.run(), other.run()
    assert record_of(one) == record_of(other)


@pytest.mark.parametrize("sampler", ["model", "tpe"])
def test_a_search_that_is_killed_at_any_moment_decides_like_one_that_is_not(make_space, tmp_path, sampler):
    """Every proposal and every decision follows from the record: a study opened anew goes on to the same end."""
    space = make_space(epochs=60, sampler=sampler)
    whole = SimulatedSearch(space, noisy)
    whole.run()
    rng, sessions = random.Random(0), 0
    while not (piece := SimulatedSearch(space, noisy, folder=tmp_path / "pieces")).run(rng.randint(1, 12)):
        sessions += 1
    assert sessions > 5 and record_of(piece) == record_of(whole)


def test_several_workers_that_are_killed_lose_and_repeat_nothing(make_space, tmp_path):
    space, rng = make_space(epochs=60), random.Random(1)
    while not (piece := SimulatedSearch(space, noisy, folder=tmp_path / "pieces", workers=4)).run(rng.randint(2, 20)):
        pass
    assert 57 < piece.trained <= 60
    runs = [(key_of(parameters), seed, rung) for parameters, seed, rung in piece.runs()]
    assert len(set(runs)) == len(runs) and states(piece.study) <= {TrialState.COMPLETE, TrialState.PAUSED}


def test_with_more_budget_later_the_same_study_goes_on(make_space, tmp_path):
    space = make_space(epochs=24)
    first = SimulatedSearch(space, noisy, folder=tmp_path / "study")
    first.run()
    before = first.study.trials()
    more = SimulatedSearch(make_space(epochs=60), noisy, folder=tmp_path / "study")
    more.run()
    trials = more.study.trials()
    assert len(trials) > len(before) and 57 < more.trained <= 60
    for trial in before:
        assert trials[trial.number].parameters == trial.parameters
        assert trial.scores.items() <= trials[trial.number].scores.items()
    was_paused = [trial.number for trial in before if trial.state is TrialState.PAUSED]
    assert any(trials[n].state is TrialState.COMPLETE for n in was_paused) or len(trials) > len(before) + 10


def test_a_kill_between_a_score_and_its_decision_changes_nothing(make_space, tmp_path):
    search = SimulatedSearch(make_space(epochs=12), noisy, folder=tmp_path / "study")
    number = search.policy.next_trial()
    search.study.record(number, 1, epoch_report(1, val_mAP=0.3))
    again = SimulatedSearch(make_space(epochs=12), noisy, folder=tmp_path / "study")
    assert again.study.trial(number).state is TrialState.WAITING and again.policy.next_trial() == number
    assert not again.policy.at_rung_end(number, 1) and again.study.trial(number).decisions == {1: Decision.PAUSED}


def test_a_promotion_on_record_stands_although_better_ones_have_come(make_space, tmp_path):
    search = SimulatedSearch(make_space(epochs=12), noisy, folder=tmp_path / "study")
    number = search.policy.next_trial()
    search.study.record(number, 1, epoch_report(1, val_mAP=0.1))
    assert not search.policy.at_rung_end(number, 1)
    search.study.go_on(number)
    other = search.policy.next_trial()
    search.study.record(other, 1, epoch_report(1, val_mAP=0.9))
    search.policy.at_rung_end(other, 1)
    again = SimulatedSearch(make_space(epochs=12), noisy, folder=tmp_path / "study")
    assert again.policy.next_trial() == number
    assert again.policy.at_rung_end(number, 1), "it is told again, and trains on"
    assert again.study.trial(number).decisions == {1: Decision.PROMOTED}


# What it finds


def test_the_model_finds_better_configurations_than_random_search(make_space):
    """The expected score of what is handed over, over a few seeds; each costs 15 full lengths."""

    def found(sampler, seed):
        search = SimulatedSearch(make_space(epochs=45, sampler=sampler, sampler_seed=seed), noisy)
        search.run()
        best = max((t for t in search.study.trials() if t.rung == 3), key=lambda trial: trial.score)
        return quality(search.study.space.config(best.parameters))

    ours, chance = ([found(sampler, seed) for seed in range(6)] for sampler in ("model", "random"))
    assert 0.6 - statistics.mean(ours) < 0.5 * (0.6 - statistics.mean(chance))


def test_the_best_of_a_rung_that_ranks_is_promoted(make_space):
    search = SimulatedSearch(make_space(epochs=75), lambda config, epochs: quality(config) * epochs / 4)
    search.run()
    of_all = {trial: quality(search.study.config(trial)) for trial in range(len(search.study.trials()))}
    at_top = [of_all[trial.number] for trial in search.study.trials() if trial.state is TrialState.COMPLETE]
    assert max(at_top) > max(of_all.values()) - 0.005


@pytest.mark.parametrize("kind", [Kind.DIVERGED, Kind.COLLAPSED, Kind.OUT_OF_MEMORY])
def test_regions_in_which_trials_fail_are_avoided(make_space, kind):
    """Above a learning rate of 1e-2, where all others are best; want of memory: with batches of more than 64."""

    def score(config, epochs):
        fails = config.batch_size > 64 if kind is Kind.OUT_OF_MEMORY else config.learning_rate > 1e-2
        return Cause(kind, "there") if fails else noisy(config, epochs)

    text = SPACE.replace("margin: [0.1, 0.3, soft]", "batch_size: {low: 16, high: 96, step: 8}")
    search = SimulatedSearch(make_space(text, epochs=75), score, workers=2)
    search.run()
    trials = search.study.trials()
    assert any(trial.state is TrialState.COMPLETE for trial in trials)
    later = [trial.state is TrialState.FAILED for trial in trials[len(trials) // 2 :]]
    assert sum(later) / len(later) < 0.25, "a third of the space fails"


def test_where_everything_fails_the_search_ends_with_its_budget(make_space):
    search = SimulatedSearch(make_space(epochs=None, trials=8), lambda *_: Cause(Kind.DIVERGED, "nan"), workers=3)
    search.run()
    assert len(search.study.trials()) == 8 and states(search.study) == {TrialState.FAILED}
    assert search.record.trials() == []


def test_costs_are_spread_over_by_what_is_promoted(make_space):
    """A search by score and embedding width: of each width some are promoted, though small ones score less."""
    text = (
        SPACE.replace("  margin: [0.1, 0.3, soft]", "  fc_width: [32, 512]")
        .replace("rungs: [1, 3]}", "rungs: [1, 3], metrics: {val_mAP: max, embedding_width: min}}")
        .replace("pretrained: none}", "pretrained: none, fc_layers: 1}")
    )
    space = make_space(text, epochs=75)
    search = SimulatedSearch(space, lambda config, epochs: noisy(config, epochs) + 0.2 * (config.fc_width == 512))
    search.study.note(prices=measure_prices(space))
    search.run()
    at_top = Counter(trial.parameters["fc_width"] for trial in search.study.trials() if trial.rung == 3)
    assert set(at_top) == {32, 512}
    assert {trial.costs["embedding_width"] for trial in search.study.trials()} == {32, 512}
