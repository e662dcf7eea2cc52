"""What a GPU does otherwise than a CPU gives the same: pixels and augmentation on it, steps that are recorded."""

from dataclasses import asdict

import pytest
import torch

import reid_train.training.run
from data.pixels.augmentation import Augmentation
from data.pixels.batches import AugmentedBatches
from reid_train.objective.losses import NonFiniteLoss
from reid_train.training.loop import train_epochs
from tests.reid_train.conftest import tiny_config

pytestmark = [
    pytest.mark.usefixtures("narrow"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]


def run(data, pixels, **changes):
    config = tiny_config(**{"num_epochs": 3, "device": "cuda", "compile": False, **changes})
    return [asdict(report) for report in train_epochs(config, data, pixels)]


def assert_close(one, other, tolerance):
    for name in ("loss", "ce_loss", "metric_loss", "grad_norm", "learning_rate"):
        assert [r[name] for r in one] == pytest.approx([r[name] for r in other], rel=tolerance, abs=tolerance), name


def test_batches_augmented_on_the_gpu_are_the_cpus(data, pixels):
    paths = [sample.path for sample in data.train]
    augmentation = Augmentation(
        crop_scale=0.5,
        flip_probability=0.5,
        randaugment_operations=2,
        randaugment_magnitude=9,
        erasing_probability=0.5,
    )
    there = AugmentedBatches(pixels, paths, list(range(len(paths))), augmentation, 0, device=torch.device("cuda"))
    here = AugmentedBatches(pixels, paths, list(range(len(paths))), augmentation, 0)
    for step in range(4):
        (one, labels), (other, expected) = (
            there[0, step, [3, 1, 4, 1, 5, 9, 2, 6]],
            here[0, step, [3, 1, 4, 1, 5, 9, 2, 6]],
        )
        assert one.device.type == "cuda" and torch.equal(labels.cpu(), expected)
        difference = (one.cpu().int() - other.int()).abs()
        # Crops are rounded otherwise, by one grey level; operations may make up to four of that, nearest pixels move.
        assert (difference > 4).float().mean() < 0.02 and difference.float().mean() < 1


def test_a_recorded_step_is_the_step_itself(data, pixels, monkeypatch):
    recorded = run(data, pixels, precision="float32", num_workers=0)
    monkeypatch.setattr(reid_train.training.run, "as_cuda_graph", lambda compute, *_: compute)
    assert_close(recorded, run(data, pixels, precision="float32", num_workers=0), 1e-3)


def test_processes_that_prepare_batches_change_nothing(data, pixels):
    """Without a crop, whose rounding differs, batches are the same wherever they are made."""
    same = {"precision": "float32", "crop_scale": 1.0}
    assert_close(run(data, pixels, num_workers=0, **same), run(data, pixels, num_workers=2, **same), 1e-3)


def test_dropout_draws_anew_in_each_recorded_step(data, pixels, monkeypatch):
    """With a learning rate of nearly 0 and no augmentation, only dropout makes epochs differ."""
    still = {"learning_rate": 1e-12, "crop_scale": 1.0, "flip_probability": 0.0, "randaugment_operations": 0}
    losses = [report["loss"] for report in run(data, pixels, dropout=0.5, num_workers=0, **still)]
    assert len(set(losses)) == 3


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains(data, pixels, precision):
    assert all(report["loss"] < 20 for report in run(data, pixels, precision=precision, ema_rate=0.1))


def test_divergence_is_noticed_without_waiting_each_step(data, pixels):
    unvalidated = data._replace(query=[], gallery=[], holdout=())
    with pytest.raises(NonFiniteLoss, match=r"step \d+ of epoch \d+|not finite at the end of epoch"):
        run(unvalidated, pixels, optimizer="sgd", learning_rate=10.0, weight_decay=1.0, fc_layers=3, num_epochs=20)
