"""The winner's evaluation on the test images: when it is made, how it is counted, what is said of it."""

import json

import pytest

from data.sets.readers import find_dataset
from data.system.errors import UserError
from reid_train.inference.evaluation_count import record_evaluation
from reid_train.settings.config import read_config
from tuning.confirm.winner import Winner
from tuning.record.study import Study
from tuning.result import conclude
from tuning.result.summary import test_lines as lines_of_test
from tuning.space.read import read_space

FIGURES = {
    "mAP": 0.5, "mAP_trapezoid": 0.48, "rank1": 0.75, "rank5": 0.9, "rank10": 0.95, "mINP": 0.25, "queries": 80,
    "identities": 40, "intervals": {"mAP": [0.45, 0.55], "mAP_trapezoid": [0.42, 0.53], "rank1": [0.7, 0.8],
    "rank5": [0.8, 1.0], "rank10": [0.9, 1.0], "mINP": [0.2, 0.3]},
}  # fmt: skip


def label(number, rung):
    return {"of": f"trial {number}", "epochs": rung, "seed": 0, "score": 0.5}


@pytest.fixture
def concluded(tmp_path, tiny_space, tiny_data, monkeypatch):
    """Concludes a study's test with this winner; gives its test_metrics.json."""
    study = Study(tmp_path / "study", read_space(tiny_space, ["device=cpu"], str(tiny_data)))
    (study.folder / "best").mkdir()

    def run(number, rung, evaluate=lambda *_, **__: FIGURES):
        monkeypatch.setattr(conclude, "evaluate_tests", evaluate)
        (study.folder / "best" / "trial.json").write_text(json.dumps(label(number, rung)))
        conclude.test_once(study, cache_dir=None)
        return json.loads((study.folder / "test_metrics.json").read_text())

    run.study = study
    return run


def test_every_new_winner_is_one_more_evaluation_and_the_same_one_is_none(concluded):
    assert [e["for"] for e in concluded(2, 12)["evaluations"]] == ["search's end, trial 2"]
    assert len(concluded(2, 12)["evaluations"]) == 1
    record_evaluation(concluded.study.folder, "retrain, 12-epochs-seed-0")
    again = concluded(7, 12)  # as after a raised --trials
    assert again["best"] == label(7, 12) and len(again["evaluations"]) == 3
    assert len(concluded(7, 36)["evaluations"]) == 4, "the same trial trained on has other weights"
    (line,) = lines_of_test(concluded(7, 36))
    assert "evaluated 4 times for this study (search's end 3 times, retrain): mAP (mean of precisions) 50" in line


def test_a_failed_evaluation_keeps_the_count_and_is_tried_again(concluded):
    def fail(*_, **__):
        raise UserError("query/ is missing")

    concluded(1, 12)
    failed = concluded(2, 12, fail)
    assert "mAP" not in failed and len(failed["evaluations"]) == 1
    count, cause = lines_of_test(failed)
    assert count == "test (query/gallery), evaluated once for this study (search's end)"
    assert "not evaluated: query/ is missing" in cause
    assert len(concluded(2, 12)["evaluations"]) == 2


def test_the_headline_has_both_rules_rank_1_and_minp_with_intervals(concluded):
    assert lines_of_test(concluded(2, 12)) == [
        "test (query/gallery), evaluated once for this study (search's end): "
        "mAP (mean of precisions) 50.0% (45.0 to 55.0), mAP (trapezoid rule) 48.0% (42.0 to 53.0), "
        "CMC rank 1 75.0% (70.0 to 80.0), mINP 25.0% (20.0 to 30.0); "
        "in brackets: 95 % intervals over 40 identities"
    ]
    without = {**FIGURES, "intervals": None, "identities": 1, "evaluations": [{"for": "search's end"}]}
    assert lines_of_test(without)[0].endswith("mINP 25.0%")


def test_an_older_file_without_a_count_counts_as_the_searchs_own_evaluation(concluded):
    (concluded.study.folder / "test_metrics.json").write_text(json.dumps({"best": label(2, 12), "mAP": 0.5}))
    record_evaluation(concluded.study.folder, "retrain, 12-epochs-seed-0")
    assert [e["for"] for e in concluded(2, 12)["evaluations"]] == ["search's end", "retrain, 12-epochs-seed-0"]


def test_the_evaluation_is_on_the_spaces_device(concluded):
    asked = []
    concluded(2, 12, lambda *_, **named: asked.append(named["device"]) or FIGURES)
    assert asked == ["cpu"]


@pytest.mark.parametrize("relative", [True, False])
def test_best_config_says_from_which_folder_its_relative_paths_count(tmp_path, tiny_space, monkeypatch, relative):
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    data_dir = "images" if relative else str(tmp_path / "images")
    study = Study(tmp_path / "study", read_space(tiny_space, [], data_dir))
    conclude.write_best_config(study, Winner("trial 3", study.space.base_config(), None, 0.5))
    text = (study.folder / "best_config.yaml").read_text()
    said = f"# data_dir: counted from {tmp_path}\n" if relative else ""
    assert text.startswith(f"# trial 3 of study\n{said}") and text.count("#") == 1 + relative
    assert read_config(str(study.folder / "best_config.yaml")).data_dir == data_dir
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"^data_dir images: no such folder in {tmp_path}/elsewhere; "):
        find_dataset("images")
