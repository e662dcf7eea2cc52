"""Reports of epochs for tests that train nothing.

study.record(0, 12, epoch_report(12, val_mAP=0.6))
"""

from typing import Any

from reid_train.measure.epoch_report import EpochReport

NOTHING_SPECIAL = {
    "loss": 1.0,
    "ce_loss": 0.5,
    "metric_loss": 0.5,
    "accuracy": 0.5,
    "active_triplets": 0.5,
    "grad_norm": 1.0,
    "learning_rate": 1e-3,
    "images_per_s": 100.0,
    "seconds": 1.0,
}


def epoch_report(epoch: int, **figures: Any) -> EpochReport:
    """The report of an epoch with these figures; what is not given is of a run in which nothing is wrong."""
    return EpochReport(epoch=epoch, **{"num_epochs": epoch, **NOTHING_SPECIAL, **figures})
