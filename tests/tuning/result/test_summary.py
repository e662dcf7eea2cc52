"""What is said of a study first."""

import io
import json

import pytest
from rich.console import Console

from tests.reports import epoch_report
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.result.summary import headline, print_results, summary_text
from tuning.space.read import read_space


@pytest.fixture
def study(tmp_path, tiny_space):
    """One trial that came to val_mAP 0.2 at the top."""
    made = Study(tmp_path / "study", read_space(tiny_space))
    made.add({"learning_rate": 0.05, "weight_decay": 0.0001})
    for epoch in (1, 2, 3):
        made.record(0, 3, epoch_report(epoch, val_mAP=0.2))
    made.finish(0, TrialState.COMPLETE)
    return made


def test_that_training_made_it_worse_is_said_first(study):
    (study.folder / "untrained.json").write_text(json.dumps({"val_mAP": 0.25}))
    first, *others = headline(study)
    assert (
        first.startswith("warning: training made nothing better: the winner's val_mAP is 0.200, ") and "0.250" in first
    )
    assert not any("untrained" in line for line in others)
    assert summary_text(study).splitlines()[2] == f"- {first}"


def test_that_training_made_it_better_is_said_beside_the_rest(study):
    (study.folder / "untrained.json").write_text(json.dumps({"val_mAP": 0.05}))
    first, *others = headline(study)
    assert first.startswith("1 trial (1 complete)")
    assert "untrained default: val_mAP 0.050; the winner is 4.0 times that" in others


def test_nothing_is_said_of_what_was_not_measured(study):
    assert not any("untrained" in line or "warning" in line for line in headline(study))


def test_a_search_ends_with_the_lines_that_one_acts_on(study):
    (study.folder / "untrained.json").write_text(json.dumps({"val_mAP": 0.05}))
    lines, brief = headline(study), headline(study, brief=True)
    assert [line for line in lines if line in brief] == brief, "none that the summary does not have"
    told = [line.split(":")[0] for line in brief]
    assert told[0].startswith("1 trial") and told[1:] == ["best", "settings", "untrained default"]


def test_the_page_is_the_last_line_but_one_and_the_next_command_the_last(study, capsys):
    (study.folder / "best").mkdir()
    (study.folder / "best_config.yaml").write_text("learning_rate: 0.05\n")
    for page in (False, True):
        if page:
            (study.folder / "report.html").touch()
        print_results(study, Console(file=io.StringIO(), width=100))
        everything, *shown, following = capsys.readouterr().out.splitlines()[1:]
        assert everything.startswith(f"everything is in {study.folder} (")
        assert shown == [f"all on one page: {study.folder}/report.html"] * page
        assert following.startswith("next: ") and following.endswith(f" -m tuning.retrain {study.folder}")


@pytest.mark.parametrize(("tried", "told"), [(3, False), (4, True)])
def test_it_is_told_when_every_configuration_was_tried(tmp_path, tried, told):
    (tmp_path / "space.yaml").write_text(
        "search:\n  margin: [0.1, 0.3]\n  optimizer: [adamw, sgd]\nstudy: {trials: 20, rungs: [3]}\n"
    )
    study = Study(tmp_path / "study", read_space(tmp_path / "space.yaml"))
    for number in range(tried):
        study.add({"margin": [0.1, 0.3][number % 2], "optimizer": ["adamw", "sgd"][number // 2]})
        study.record(number, 3, epoch_report(3, val_mAP=0.2))
        study.finish(number, TrialState.COMPLETE)
    said = [line for line in headline(study) if "were tried" in line]
    assert [line.split(":")[0] for line in said] == ["all 4 configurations of the space were tried"] * told
