"""Studies that were begun at commit 5252212: they open, are reported and go on.

studies/finished.tar.gz has 6 trials, complete and pruned, and a confirmation. studies/unfinished.tar.gz was killed
while trials 2 and 4 were running. Both were searched on `tiny_data`, by a process of one thread a trial.
"""

import tarfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from data.pixels.cache import open_pixels
from data.pixels.digests import fingerprint
from data.sets.splits import describe_split
from data.system.errors import UserError
from reid_train.measure.epoch_report import EpochReport
from reid_train.training.images import read_training
from tests.reports import epoch_report
from tuning.confirm.candidates import candidates
from tuning.confirm.repeats import next_repeat, notes_of
from tuning.decide.budget import Purse
from tuning.decide.pareto import best_trials
from tuning.decide.policy import Policy
from tuning.record import training_code
from tuning.record.cause import Cause, Kind
from tuning.record.job import TrialJob
from tuning.record.old_studies import CODE_WITH_THE_SAME_NUMBERS, cause_of_text
from tuning.record.study import Study
from tuning.record.trial import Decision, TrialState
from tuning.record.unchanged import check_unchanged
from tuning.result.ablation import read_ablation
from tuning.result.summary import print_results, write_results
from tuning.run.climb import climb
from tuning.space.plan import Plan
from tuning.space.read import read_space
from tuning.space.settings import RETIRED

STUDIES = Path(__file__).parent / "studies"
DEFAULT = {
    "learning_rate": 0.003,
    "optimizer": "adamw",
    "normalize_features": False,
    "batch_size": 16,
    "randaugment_magnitude": 9,
    "margin": 0.3,
}
PRUNED = Cause(Kind.NOT_PROMOTED, "not among the best 1 in 2 at 1 epochs")


def unpacked(name, tmp_path):
    with tarfile.open(STUDIES / f"{name}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    file = tmp_path / name / "space.yaml"
    kept = [line for line in file.read_text().splitlines() if line.strip().split(":")[0] not in RETIRED]
    # As the messages say: settings that are no more are removed, and what was the default then is written out.
    file.write_text("\n".join([*kept, "  sampler: tpe", "  promotion: continue", ""]))
    return tmp_path / name


@pytest.fixture
def finished(tmp_path):
    return unpacked("finished", tmp_path)


@pytest.fixture
def unfinished(tmp_path):
    return unpacked("unfinished", tmp_path)


def unchanged(study):
    """What a study began with, as a search finds it again."""
    return {name: study.facts[name] for name in ("data_fingerprint", "validation_split")}


def test_its_trials_are_what_they_were(finished):
    study = Study(finished)
    table = pd.read_csv(finished / "trials.csv")
    assert [trial.state for trial in study.trials()] == [TrialState(state) for state in table["state"]]
    for trial, row in zip(study.trials(), table.to_dict("records"), strict=True):
        assert (trial.rung, trial.epochs) == (row["rung"], row["epochs"])
        assert trial.score == pytest.approx(row["val_mAP"], abs=1e-6)
        assert trial.seconds == pytest.approx(row["seconds"], abs=0.051)
        for name, value in trial.parameters.items():
            assert row[name] == (value if isinstance(value, str | bool) else pytest.approx(value, rel=1e-5))
        assert [epoch.report for epoch in trial.reports if epoch.report.epoch == trial.rung] == [trial.final_report]
        study.config(trial.number)
    assert [trial.decisions for trial in study.trials()] == [
        {1: Decision.PAUSED} if number == 1 else {1: Decision.PROMOTED} for number in range(6)
    ]
    assert [trial.cause for trial in study.trials()] == [PRUNED if number == 1 else None for number in range(6)]
    assert type(study.trial(0).parameters["batch_size"]) is int and study.trial(1).parameters["momentum"] < 0.95


@pytest.mark.parametrize("name", ["finished", "unfinished"])
def test_its_space_is_the_one_of_its_file(name, tmp_path):
    folder = unpacked(name, tmp_path)
    study, space = Study(folder), read_space(folder / "space.yaml")
    assert repr(study.space.parameters) == repr(space.parameters), "whole numbers stay whole"
    assert study.space.fixed == space.fixed and study.space.batches == space.batches
    assert study.space.default == space.default == DEFAULT
    assert study.space.default_config() == space.default_config()
    assert study.plan == Plan.of(space.study)
    asked = {name: getattr(space.study, name) for name in ("metrics", "trials", "sampler", "pick")}
    assert {name: getattr(study.space.study, name) for name in asked} == asked


def test_its_confirmation_is_what_it_was(finished):
    study, record = Study(finished), Study(finished, name="repeats")
    assert [(notes_of(run)["of"], notes_of(run)["seed"]) for run in record.trials()] == [
        ("default", 1), ("default", 2), ("trial 5", 1), ("trial 5", 2),
    ]  # fmt: skip
    assert all(run.state is TrialState.COMPLETE and run.epochs == 2 for run in record.trials())
    assert [row["configuration"] for row in study.facts["confirmation"]["rows"]] == ["trial 5", "default"]


def test_its_repeats_count_and_are_not_trained_again(finished):
    asked = read_space(finished / "space.yaml")
    study, record = Study(finished, asked), Study(finished, asked, name="repeats")
    runs = {one.of: [run.seed for run in one.runs] for one in candidates(study, record)}
    assert runs["trial 5"] == [0, 1, 2] and runs["default"][-2:] == [1, 2]
    known = [(notes_of(run)["of"], notes_of(run)["seed"]) for run in record.trials()]
    following = next_repeat(study, record)
    assert (following.of, following.seed) not in known and following.seed != 0


def test_its_report_says_what_it_said(finished, capsys):
    archived = {file: file.read_text() for file in finished.glob("history/*.csv")}
    table = pd.read_csv(finished / "trials.csv")
    study = Study(finished)
    write_results(study)
    for file, text in archived.items():
        assert file.read_text() == text, file.name
    pd.testing.assert_frame_equal(pd.read_csv(finished / "trials.csv"), table)
    console = Console(width=200)
    with console.capture() as captured:
        print_results(study, console)
    assert "winner: trial 5, the best of 2 configurations with probability 0.59" in captured.get()


@pytest.mark.parametrize("name", ["finished", "unfinished"])
def test_its_images_split_and_code_count_as_unchanged(name, tmp_path, tiny_data):
    study = Study(unpacked(name, tmp_path))
    samples, data, _ = read_training(study.space.base_config().changed(data_dir=str(tiny_data)), tmp_path / "cache")
    check_unchanged(study, fingerprint(samples, cache_dir=tmp_path / "cache"), describe_split(data))
    assert study.facts["training_code"] == training_code.digest(), "from now on this code's own"


def test_one_of_other_code_is_refused_by_name(finished):
    study = Study(finished)
    assert study.facts["code"] == CODE_WITH_THE_SAME_NUMBERS
    study._storage.set_study_user_attr(study._id, "code", "a" * 64)
    study = Study(finished)
    with pytest.raises(UserError, match=r"the code that trains was aaaaaaaaaaaa, is now [0-9a-f]{12}; restore that"):
        check_unchanged(study, **unchanged(study))
    assert "training_code" not in Study(finished).facts


def test_one_of_another_space_is_refused_by_name(unfinished):
    space = read_space(unfinished / "space.yaml")
    with pytest.raises(UserError, match=r"another space: fixed\.fc_width was 32, is now 64"):
        Study(unfinished, replace(space, fixed={**space.fixed, "fc_width": 64}))


def test_a_default_that_its_space_wrote_out_is_no_other_space(unfinished):
    space, study = read_space(unfinished / "space.yaml"), Study(unfinished)
    written = {**study.facts["space"], "fixed": {**study.facts["space"]["fixed"], "split_seed": 0}}
    study._storage.set_study_user_attr(study._id, "space", written)
    assert Study(unfinished, space).space.identity() == space.identity()


def test_one_that_was_killed_goes_on_with_what_was_running(unfinished):
    space = read_space(unfinished / "space.yaml", [], "/elsewhere")
    study = Study(unfinished, space)
    assert [trial.state for trial in study.trials()] == [
        TrialState.PRUNED, TrialState.COMPLETE, TrialState.RUNNING, TrialState.PAUSED, TrialState.RUNNING,
    ]  # fmt: skip
    assert study.trial(0).cause == PRUNED and study.trial(2).decisions == {1: Decision.PROMOTED}
    before = study.trials()
    check_unchanged(study, **unchanged(study))
    study.keep_space()
    assert study.settle() == 2
    policy, given = Policy(study, Purse(study, None)), []
    while (number := policy.next_trial()) is not None:
        given.append(number)
        goes_on = True
        while goes_on:
            done = study.trial(number).rung
            rung = next(rung for rung in policy.rungs if rung > done)
            for epoch in range(done + 1, rung + 1):
                study.record(number, rung, epoch_report(epoch, num_epochs=rung, val_mAP=0.01 * number))
            goes_on = policy.at_rung_end(number, rung)
    assert given[:2] == [2, 4], "the interrupted ones, before any other"
    ended = {TrialState.COMPLETE, TrialState.PRUNED, TrialState.PAUSED}
    assert len(study.trials()) in (5, 6), "others were promoted than would be now"
    assert {trial.state for trial in study.trials()} == ended
    assert study.trials()[0] == before[0] and study.trials()[1] == before[1]
    again = Study(unfinished)
    assert again.space == study.space and again.trials() == study.trials()


def test_a_trial_of_it_is_trained_to_the_same_numbers(finished, tiny_data, tmp_path):
    """So the digest of its code may stand for this code's (CODE_WITH_THE_SAME_NUMBERS)."""
    study = Study(finished)
    trained, folder = study.trial(5), tmp_path / "trial"
    config = study.config(5).changed(data_dir=str(tiny_data), num_threads=1)
    samples, data, _ = read_training(config, tmp_path / "cache")
    job = TrialJob(
        number=5, config=config, rungs=study.plan.rungs, promotion=study.plan.promotion, behind=0, folder=str(folder),
        state_interval_s=60,
    )  # fmt: skip
    pixels = open_pixels(samples, height=config.image_height, width=config.image_width, cache_dir=tmp_path / "cache")
    found = list(climb(job, data, pixels, folder))
    assert [rung for rung, _ in found] == [epoch.rung for epoch in trained.reports]
    for (_, report), known in zip(found, trained.reports, strict=True):
        assert_same_figures(report, known.report)


def assert_same_figures(report: EpochReport, known: EpochReport) -> None:
    for name, value in known.to_record().items():
        if name in ("seconds", "images_per_s"):
            continue
        exact = isinstance(value, int) or value is None
        tolerance = {"abs": 1e-6} if name.startswith(("val_mA", "val_mI", "val_rank")) else {"rel": 1e-4}
        assert getattr(report, name) == (value if exact else pytest.approx(value, **tolerance)), name


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", None),
        ("diverged: loss is not finite at step 3", Cause(Kind.DIVERGED, "loss is not finite at step 3")),
        ("collapsed: triplet loss 0.3 is margin=0.3", Cause(Kind.COLLAPSED, "triplet loss 0.3 is margin=0.3")),
        ("out of memory: batch_size=64 is too large", Cause(Kind.OUT_OF_MEMORY, "batch_size=64 is too large")),
        ("does not fit: a.jpg: cannot be read", Cause(Kind.DOES_NOT_FIT, "a.jpg: cannot be read")),
        ("timed out: no epoch was reported", Cause(Kind.TIMED_OUT, "no epoch was reported")),
        ("worker died at 12:00:00: killed", Cause(Kind.WORKER_DIED, "worker died at 12:00:00: killed")),
        ("not among the best 1 in 2 at 1 epochs", PRUNED),
        ("RuntimeError: mat1 and mat2", Cause(Kind.ERROR, "RuntimeError: mat1 and mat2")),
        ("error: said zlib", Cause(Kind.ERROR, "error: said zlib")),
        ("something else", Cause(Kind.ERROR, "something else")),
    ],
)
def test_a_cause_that_was_one_text_has_its_kind(text, cause):
    assert cause_of_text(text) == cause
    assert cause is None or str(cause) == text


def test_an_ablation_that_was_an_attribute_is_shown_for_its_own_winner_alone(finished):
    study = Study(finished)
    best = best_trials(study)[0].number
    row = {"step": 0, "changed": "default", "from": None, "to": None, "val_mAP": 0.5, "difference": None}
    for number, shown in ((best, True), (best + 1, False)):
        study._storage.set_study_user_attr(study._id, "ablation", [{"trial": number, **row}])
        study._storage.set_study_user_attr(study._id, "ablation_noise", "may be luck")
        found = read_ablation(Study(finished))
        assert (found is not None and found["noise"] == "may be luck") == shown
