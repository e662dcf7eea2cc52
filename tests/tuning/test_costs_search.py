"""A search of two metrics, on images of two sizes: what it leaves, and another pick of the same trials."""

import json

import pandas as pd
import yaml

from reid_train.checkpoints.checkpoint import load_checkpoint
from tests.commands import run_here
from tuning.record.study import Study


def test_a_search_weighs_score_against_cost_and_another_pick_trains_no_trial_again(
    tiny_space, tiny_data, tmp_path, without_ray, monkeypatch
):
    monkeypatch.setattr("reid_train.inference.cost.LEAST_S", 0.0)
    space = yaml.safe_load(tiny_space.read_text())
    del space["fixed"]["image_height"], space["fixed"]["fc_width"], space["search"]["weight_decay"]
    space["search"] = {"learning_rate": [0.03, 0.05], "fc_width": [16, 32], "image_height": [16, 32]}
    space["first_trials"] = [
        {"learning_rate": 0.05, "fc_width": width, "image_height": height} for width, height in ((16, 16), (32, 32))
    ]
    space["study"] |= {"trials": 3, "rungs": [2]}
    space["study"] |= {"metrics": {"val_mAP": "max", "embedding_width": "min", "latency_ms": "min"}}
    file = tmp_path / "costs.yaml"
    folder = tmp_path / "costs"
    command = ["--space", file, "--data-dir", tiny_data, "--results", tmp_path, "--cache-dir", tmp_path / "cache"]

    def search(pick):
        space["study"]["pick"] = pick
        file.write_text(yaml.safe_dump(space))
        return run_here("tuning.search", *command)

    done = search({"embedding_width": 8})
    assert done.returncode == 2 and "no architecture keeps the limits; the least are embedding_width 16" in done.stderr
    assert not (folder / "study.db").exists()

    done = search({"embedding_width": 16})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "embedding_width of 4 architectures: 16 to 32" in done.stdout and "latency_ms of 4 arch" in done.stdout
    study = Study(folder)
    trials = study.trials()
    prices = {tuple(key): costs for key, costs in study.facts["prices"]}
    assert len(prices) == 4 and all(costs["latency_ms"] > 0 for costs in prices.values())
    for trial in trials:
        assert trial.costs["embedding_width"] == trial.parameters["fc_width"]
    best = load_checkpoint(folder / "best")
    assert best.config.fc_width == 16 and json.loads((folder / "best" / "trial.json").read_text())["of"] != "trial 1"
    front = pd.read_csv(folder / "pareto.csv")
    assert set(front["number"]) <= {trial.number for trial in trials} and "latency_ms" in front
    assert (folder / "plots" / "pareto_front.png").stat().st_size > 5_000
    summary = (folder / "summary.md").read_text()
    assert "## Pareto front" in summary and "picked is the best with at most embedding_width 16" in summary

    # The one with 32 x 16 pixels is chosen only where the wider embedding may be.
    done = search({"embedding_width": 32})
    assert done.returncode == 0, done.stdout + done.stderr
    assert Study(folder).trials() == trials
    assert "picked is the best with at most embedding_width 32" in done.stdout
    evaluations = json.loads((folder / "test_metrics.json").read_text())["evaluations"]
    assert 1 <= len(evaluations) <= 2
