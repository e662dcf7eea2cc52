"""What `tuning.report --json` and `tuning.search --plan --json` give."""

import json
import tarfile
from pathlib import Path

import pandas as pd
import pytest
import yaml

from data.system.files import write_json
from tests.commands import run_here
from tuning.prepare.planning import plan_answer
from tuning.record.study import Study
from tuning.result.answer import study_answer

STUDIES = Path(__file__).parent / "record" / "studies"


def unpacked(name, tmp_path):
    with tarfile.open(STUDIES / f"{name}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / name


def test_a_finished_study_as_json_agrees_with_its_tables(tmp_path):
    folder = unpacked("finished", tmp_path)
    label = {"of": "trial 3", "epochs": 4, "seed": 3, "score": 0.5}
    write_json(folder / "best" / "trial.json", label)  # the archive has no weights
    done = run_here("tuning.report", folder, "--json", "--top", 3)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    trials, confirmed = pd.read_csv(folder / "trials.csv"), pd.read_csv(folder / "confirmation.csv")
    assert answer["study"] == str(folder) and answer["state"] == "finished"
    assert answer["trials"] == trials["state"].value_counts().to_dict()
    assert len(answer["best"]) == 3
    for one in answer["best"]:
        row = trials.set_index("number").loc[one["trial"]]
        assert one["score"] == pytest.approx(row["val_mAP"], abs=1e-5) and one["epochs"] == row["rung"]
        assert one["parameters"]["learning_rate"] == pytest.approx(row["learning_rate"])
    assert [row["mean"] for row in answer["confirmation"]] == pytest.approx(confirmed["mean"].tolist(), abs=1e-5)
    places = {"checkpoint": str(folder / "best"), "config": str(folder / "best_config.yaml")}
    assert answer["winner"] == {**label, **places}
    assert answer["test"] == json.loads((folder / "test_metrics.json").read_text())
    summary = (folder / "summary.md").read_text()
    assert answer["headline"] and all(line[:20] in summary for line in answer["headline"])
    assert f"retrain {folder}" in answer["next"]
    documented = str(study_answer.__doc__)
    assert [key for key in (*answer, *answer["best"][0], *answer["winner"]) if f"`{key}`" not in documented] == []


def test_an_unfinished_study_as_json_has_no_winner_and_the_command_that_goes_on(tmp_path):
    folder = unpacked("unfinished", tmp_path)
    answer = json.loads(run_here("tuning.report", folder, "--json").stdout)
    assert answer["state"] == "unfinished" and answer["winner"] is None and answer["test"] == {}
    assert sum(answer["trials"].values()) == len(Study(folder).trials())
    assert answer["next"] == Study(folder).facts["command"]


def test_the_plan_as_json_is_the_plan_that_is_printed(tiny_space, tiny_data, tmp_path, without_ray):
    space = yaml.safe_load(tiny_space.read_text())
    space["study"] = {"rungs": [2, 6]}
    (tmp_path / "planned.yaml").write_text(yaml.safe_dump(space))
    arguments = ["--space", tmp_path / "planned.yaml", "--data-dir", tiny_data, "--results", tmp_path / "results"]
    done = run_here("tuning.search", *arguments, "--plan", "--epochs", 60, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("plan: ")]
    assert answer["rungs"] == [2, 6] and answer["epochs"] == 60 and answer["epoch_s"] is None
    first, second = answer["configurations"]
    assert f"about {first} configurations for 2 epochs, {second} for 6" in said
    assert answer["identities"] + answer["held_out"] == 20 and answer["first_trials"] == 3
    assert answer["searched"] == ["learning_rate", "weight_decay"]
    documented = str(plan_answer.__doc__)
    assert [key for key in answer if key != "study" and f"`{key}`" not in documented] == []
    refused = run_here("tuning.search", *arguments, "--json")
    assert refused.returncode == 2 and refused.stdout == "" and "--json: goes with --plan" in refused.stderr
