"""An epoch's report as a plain record, and back."""

import json

import pytest

from reid_train.measure.epoch_report import EpochReport

NUMBERS = ("loss", "ce_loss", "metric_loss", "accuracy", "active_triplets", "grad_norm", "learning_rate")
REPORT = EpochReport(
    epoch=1,
    num_epochs=2,
    **dict.fromkeys((*NUMBERS, "images_per_s", "seconds"), 1 / 3),
    expert_usage=(0.25, 0.75),
    val_mAP=0.1,
)


def test_a_record_is_json_and_gives_the_same_report():
    record = REPORT.to_record()
    assert json.loads(json.dumps(record)) == record
    assert EpochReport.from_record(json.loads(json.dumps(record))) == REPORT


def test_a_record_of_an_earlier_version_may_lack_optional_fields_alone():
    record = {name: value for name, value in REPORT.to_record().items() if value is not None}
    assert EpochReport.from_record(record) == REPORT
    for incomplete in ({**record, "grad_norm": None}, {k: v for k, v in record.items() if k != "grad_norm"}):
        with pytest.raises(ValueError, match="grad_norm"):
            EpochReport.from_record(incomplete)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"val_map": 0.1}, "val_map"),
        ({"epoch": 1.5}, "epoch"),
        ({"epoch": True}, "epoch"),
        ({"loss": "0.1"}, "loss"),
        ({"loss": True}, "loss"),
        ({"expert_usage": [0.5, "a"]}, "expert_usage"),
    ],
)
def test_what_is_no_report_is_told(changes, said):
    with pytest.raises(ValueError, match=said):
        EpochReport.from_record({**REPORT.to_record(), **changes})
