"""A collapse is told from a run that learns by the figures of its epochs."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from reid_train.settings.config import TrainConfig
from tests.reports import epoch_report
from tuning.decide.collapse import collapse_cause
from tuning.record.cause import Kind

CURVES = Path(__file__).resolve().parents[2] / "benchmarks" / "curves"


def reports(losses, active=1.0):
    return [
        epoch_report(epoch, num_epochs=len(losses), metric_loss=loss, active_triplets=active)
        for epoch, loss in enumerate(losses, start=1)
    ]


def test_a_loss_at_the_margin_is_a_collapse():
    config = TrainConfig(margin=0.3)
    cause = collapse_cause(config, reports([0.3001] * 4))
    assert cause.kind is Kind.COLLAPSED and str(cause).startswith("collapsed: triplet loss 0.3001 is margin=0.3")
    assert collapse_cause(config, reports([0.9, 0.5, 0.302, 0.3])) is not None, "it takes a few epochs"
    assert collapse_cause(config, reports([0.3, 0.3, 0.3, 0.25])) is None, "it came apart again"
    assert collapse_cause(config, reports([0.3] * 4, active=0.8)) is None
    assert collapse_cause(config.changed(metric_weight=0), reports([0.3] * 4)) is None
    assert collapse_cause(config.changed(metric_loss="circle"), reports([0.3] * 4)) is None, "it has no such loss"
    soft = TrainConfig(margin="soft")
    assert "log 2" in str(collapse_cause(soft, reports([math.log(2)] * 3, active=0.0)))
    assert collapse_cause(soft, reports([0.6] * 3)) is None


@pytest.mark.parametrize("name", ["pedestrians", "characters"])
def test_of_the_recorded_runs_only_those_that_ended_at_chance_have_collapsed(name):
    configurations = json.loads((CURVES / f"{name}.json").read_text())["configurations"]
    table = pd.read_csv(CURVES / f"{name}.csv.gz").sort_values("epoch")
    collapsed = []
    for (number, _, _), run in table.groupby(["configuration", "seed", "path"]):
        config = TrainConfig(margin=configurations[number]["margin"])
        figures = zip(run.metric_loss, run.active_triplets, strict=True)
        epochs = [epoch_report(1, metric_loss=loss, active_triplets=active) for loss, active in figures]
        if collapse_cause(config, epochs):
            collapsed.append(run.val_mAP.iloc[-1])
    assert all(score < 0.015 for score in collapsed), "0.0145 is the score of one point there"
    assert len(collapsed) == {"pedestrians": 0, "characters": 2}[name]
