"""Studies side by side: what is compared, what is refused, and when a difference counts."""

import json
import shutil

import pytest
from scipy import stats

from tests.commands import run_here
from tuning.record.study import Study


@pytest.fixture
def other(study, tmp_path):
    """Another study, the same as the first."""
    return Study(shutil.copytree(study.folder, tmp_path / "other"))


def moved(study, by):
    """Moves the winner's expected score."""
    kept = study.facts["confirmation"]
    for name in ("mean", "low", "high"):
        kept["rows"][0][name] += by
    study.note(confirmation=kept)


def compared(*studies):
    done = run_here("tuning.compare", *(study.folder for study in studies), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_equal_studies_are_not_told_apart_and_a_large_difference_is(study, other):
    (same,) = compared(study, other)["differences"]
    assert same["difference"] == 0 and same["p_better"] == pytest.approx(0.5) and not same["told_apart"]
    assert "cannot be told from chance" in same["said"]
    row = study.facts["confirmation"]["rows"][0]
    sd = 2**0.5 * (row["high"] - row["low"]) / 2 / 1.6449
    moved(other, by=1.5 * sd)
    (near,) = compared(study, other)["differences"]
    assert near["p_better"] == pytest.approx(stats.norm.cdf(-1.5), abs=1e-3) and not near["told_apart"]
    assert near["interval"] == pytest.approx([-1.5 * sd - 1.96 * sd, -1.5 * sd + 1.96 * sd], rel=1e-3)
    moved(other, by=1.5 * sd)
    (far,) = compared(study, other)["differences"]
    assert far["told_apart"] and far["said"].endswith("other is better; for other validation identities than these it "
                                                      "is less sure")  # fmt: skip


def test_identities_that_only_one_finds_make_it_less_sure(study, other):
    label = json.loads((study.folder / "best" / "trial.json").read_text())
    number = label["of"].removeprefix("trial ")
    key = f"trials/{number}" if number.isdigit() else "trials/0"
    for one, scores in ((study, [0.9, 0.1, 0.5, 0.5]), (other, [0.1, 0.9, 0.5, 0.5])):
        one.note(identity_scores={key: {"scores": scores, "queries": [2, 2, 2, 2]}})
    (known,) = compared(study, other)["differences"]
    assert known["identities_counted"] and known["interval"][1] > 0.3
    assert "than these" not in known["said"]


def test_what_was_found_and_what_it_took_agrees_with_the_records(study, other):
    said = compared(study, other)
    one, trials = said["studies"][0], study.trials()
    repeats = Study(study.folder, name="repeats").trials()
    assert one["trials"] == len(trials) and one["seconds"] == 321.0
    assert one["epochs"] == sum(len(trial.reports) for trial in (*trials, *repeats))
    assert one["test"]["mAP"] == 0.4 and one["looks_at_test"] == 1
    assert one["best_so_far"]["scores"][-1] == max(t.score for t in trials if t.rung == 6)
    assert one["best_so_far"]["scores"] == sorted(one["best_so_far"]["scores"])
    assert said["settings"] == {} and said["searches"] == {}


def test_studies_of_the_same_name_are_told_apart_by_their_folders(study, tmp_path):
    """Each column has its own study's values."""
    twin = Study(shutil.copytree(study.folder, tmp_path / "elsewhere" / study.folder.name))
    kept = twin.facts["confirmation"]
    values = [kept["rows"][0]["margin"], "soft" if kept["rows"][0]["margin"] != "soft" else 0.1]
    kept["rows"][0]["margin"] = values[1]
    twin.note(confirmation=kept)
    (difference,) = compared(study, twin)["differences"]
    assert f"{study.folder} minus {twin.folder}: " in difference["said"]
    shown = run_here("tuning.compare", study.folder, twin.folder, COLUMNS="400").stdout
    assert f"{study.folder} minus {twin.folder}: " in shown and f"{twin.folder}: best so far" in shown
    (row,) = (line for line in shown.splitlines() if line.split()[:1] == ["margin"])
    assert row.split()[1:] == [str(value) for value in values]


def test_settings_that_differ_are_listed(study, other):
    kept = other.facts["confirmation"]
    kept["rows"][0]["margin"] = "soft" if kept["rows"][0]["margin"] != "soft" else 0.1
    other.note(confirmation=kept, training_code="f" * 64)
    said = compared(study, other)
    assert list(said["settings"]) == ["margin"] and list(said["searches"]) == ["the code that trains"]
    shown = run_here("tuning.compare", study.folder, other.folder)
    assert shown.returncode == 0 and "margin" in shown.stdout and "the winners of 2 studies" in shown.stdout


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"data_fingerprint": "b" * 64}, "images' fingerprint is aaaaaaaaaaaa in the first and bbbbbbbbbbbb"),
        ({"validation_split": "9 identities"}, "the validation split is 4 identities, 8 queries"),
        ({"confirmation": {}}, "its search has no winner yet; finish it first: python -m tuning.search"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_in_one_line(study, other, facts, message):
    other.note(**facts)
    done = run_here("tuning.compare", study.folder, other.folder)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and message in done.stderr


def test_one_study_twice_is_refused(study):
    done = run_here("tuning.compare", study.folder, study.folder)
    assert done.returncode == 2 and "two studies or more, each once" in done.stderr
