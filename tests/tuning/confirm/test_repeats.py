"""Repeats: which configuration is run again, with which seed, and that nothing is run twice."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.reports import epoch_report
from tests.simulated_search import SimulatedSearch
from tuning.confirm.candidates import Comparison, candidates
from tuning.confirm.repeats import Repeats, next_repeat, notes_of
from tuning.decide.budget import Purse
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import OWN_SEED, TrialState
from tuning.space.read import read_space

SPACE = """\
fixed: {backbone: resnet18, pretrained: none, seed: 5}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  margin: [0.1, 0.3, soft]
study: {epochs: 200, rungs: [2, 4], promotion: PROMOTION}
"""


def train(study, number, score):
    for epoch in range(1, 5):
        study.record(number, 4, epoch_report(epoch, num_epochs=4, val_mAP=score))


@pytest.fixture
def opened(tmp_path):
    def made(*scores, promotion="restart"):
        """A study with trials of these scores at the top, and the record of its repeats."""
        (tmp_path / "space.yaml").write_text(SPACE.replace("PROMOTION", promotion))
        space = read_space(tmp_path / "space.yaml")
        study, record = (Study("s", space, name=name, in_memory=True) for name in ("study", "repeats"))
        for place, score in enumerate(scores):
            number = study.add({"learning_rate": 2e-3 * 3**place, "margin": 0.3}, {OWN_SEED: True})
            train(study, number, score)
            study.finish(number, TrialState.COMPLETE)
        return study, record

    return made


def repeats(study, record):
    return Repeats(record, study, Purse(study, record))


def run(work, score, count):
    """Trains so many runs; gives what was run."""
    done = []
    for _ in range(count):
        number = work.next_trial()
        notes = notes_of(work.study.trial(number))
        train(work.study, number, score(notes))
        assert not work.at_rung_end(number, 4) and work.study.trial(number).state is TrialState.COMPLETE
        done.append((notes["of"], notes["seed"]))
    return done


def test_runs_go_to_the_leader_and_to_the_one_most_likely_to_be_better(opened):
    study, record = opened(0.50, 0.51, 0.20, 0.10)
    done = run(repeats(study, record), lambda notes: {"trial 0": 0.50, "trial 1": 0.51}[notes["of"]], 6)
    counts = Counter(of for of, _ in done)
    assert set(counts) == {"trial 0", "trial 1"} and abs(counts["trial 0"] - counts["trial 1"]) <= 1
    for place in range(6):
        so_far = Counter(of for of, _ in done[:place])
        found = candidates(study, record)
        assert so_far[done[place][0]] <= min(so_far["trial 0"], so_far["trial 1"]) + 1 and len(found) == 4


def test_every_run_has_a_seed_that_its_configuration_was_not_trained_with(opened):
    study, record = opened(0.50, 0.51)
    done = run(repeats(study, record), lambda notes: 0.5, 8)
    assert len(set(done)) == 8
    own = {f"trial {number}": study.config(number).seed for number in range(2)}
    assert own == {"trial 0": 5, "trial 1": 6}
    assert all(seed != own[of] for of, seed in done)
    configs = [repeats(study, record).job(run.number).config for run in record.trials()]
    assert [config.seed for config in configs] == [seed for _, seed in done]
    assert {config.num_epochs for config in configs} == {4}


def test_a_leader_that_falls_back_loses_its_place(opened):
    study, record = opened(0.60, 0.55, 0.54)
    run(repeats(study, record), lambda notes: {"trial 0": 0.40}.get(notes["of"], 0.55), 10)
    found = candidates(study, record)
    compared = Comparison(study, record, found)
    assert found[int(compared.mean_C.argmax())].of != "trial 0", "its first score was luck"


def test_the_same_record_gives_the_same_repeat(opened):
    one, other = opened(0.5, 0.51, 0.4), opened(0.5, 0.51, 0.4)
    assert next_repeat(*one) == next_repeat(*one) == next_repeat(*other)
    assert next_repeat(*opened()) is None, "there is nothing to repeat"


def test_an_interrupted_run_goes_on_and_a_failed_one_is_not_tried_again(opened):
    study, record = opened(0.5, 0.51)
    work = repeats(study, record)
    first = work.next_trial()
    record.settle()
    assert work.has_work() and work.next_trial() == first
    failed = notes_of(record.trial(first))
    record.finish(first, TrialState.FAILED, Cause(Kind.DIVERGED, "at step 3"))
    later = run(work, lambda notes: 0.5, 4)
    assert (failed["of"], failed["seed"]) not in later


@pytest.mark.parametrize(("promotion", "rungs"), [("restart", (4,)), ("continue", (2, 4)), ("cut", (4,))])
def test_a_run_goes_the_way_that_its_trial_went(opened, promotion, rungs):
    work = repeats(*opened(0.5, promotion=promotion))
    assert work.job(work.next_trial()).rungs == rungs


def test_without_room_for_a_whole_run_there_is_none(opened):
    study, record = opened(0.5, 0.51)
    for epochs, runs in ((8 + 3, 0), (8 + 4 + 3, 1), (8 + 12, 3)):
        study.space = replace(study.space, study=study.space.study.model_copy(update={"epochs": epochs}))
        work = repeats(study, record)
        assert work.planned == runs
        run(work, lambda notes: 0.5, runs - len(record.trials()))
        assert not work.has_work() and work.next_trial() is None


def test_with_more_budget_later_more_repeats_follow_and_none_is_made_again(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE.replace("PROMOTION", "restart"))
    runs = []
    for epochs in (120, 200):
        text = SPACE.replace("PROMOTION", "restart").replace("200", str(epochs))
        (tmp_path / "space.yaml").write_text(text)
        search = SimulatedSearch(
            read_space(tmp_path / "space.yaml"), lambda config, epochs: config.learning_rate + epochs / 100,
            folder=tmp_path / "study",
        )  # fmt: skip
        search.run()
        runs.append([(notes_of(r)["of"], notes_of(r)["seed"]) for r in search.record.trials()])
    assert runs[0] == runs[1][: len(runs[0])] and len(runs[1]) > len(runs[0]) > 0 and len(set(runs[1])) == len(runs[1])
