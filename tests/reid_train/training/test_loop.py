"""The training loop on a tiny data set: what it reports, how it goes on, stops, and cleans up."""

import copy
import gc
import itertools
import math
import multiprocessing
import random
import shutil
import weakref
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

import reid_train.training.loop
import reid_train.training.run
from data.pixels.sampler import steps_per_epoch
from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import STATE, WEIGHTS, load_checkpoint, load_network
from reid_train.measure.epoch_report import EpochReport
from reid_train.model.classifiers import LinearClassifier
from reid_train.objective.losses import NonFiniteLoss
from reid_train.training.loop import train_epochs
from tests.reid_train.conftest import tiny_config

pytestmark = pytest.mark.usefixtures("narrow")

EVERYTHING = {
    "num_epochs": 4,
    "ema_rate": 0.2,
    "dropout": 0.3,
    "fc_layers": 1,
    "fc_width": 16,
    "randaugment_operations": 2,
    "erasing_probability": 0.5,
    "mining": "random",
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder).weights


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def run(config, data, pixels, folder, *, stop_after=None) -> list[EpochReport]:
    """Trains into `folder`, saving the state after each epoch; `stop_after` epochs, or all."""
    epochs = train_epochs(config, data, pixels, out_dir=folder, state_interval_s=0)
    reports = list(itertools.islice(epochs, stop_after))
    epochs.close()  # type: ignore[attr-defined]
    return reports


def plain(report: EpochReport) -> dict[str, float]:
    """What does not depend on the machine's speed."""
    return {name: value for name, value in asdict(report).items() if name not in ("images_per_s", "seconds")}


# --- what is reported ---


OF_SOME_RUNS = {"kd_loss", "router_loss", "gate_entropy", "expert_usage"}
"""What only a run with a teacher, or with experts, has."""


def test_reports_are_complete_and_sane(data, pixels):
    reports = list(train_epochs(tiny_config(num_epochs=3), data, pixels))
    assert [report.epoch for report in reports] == [1, 2, 3]
    for report in reports:
        values = {name: value for name, value in asdict(report).items() if name not in OF_SOME_RUNS}
        assert all(isinstance(value, (int, float)) and math.isfinite(value) for value in values.values())
        shares = ["accuracy", "active_triplets", "val_mAP", "val_rank1", "val_mINP", "val_accuracy"]
        assert all(0 <= values[name] <= 1 for name in shares)
        assert report.val_rank1 <= report.val_rank5 <= report.val_rank10
        assert report.loss == pytest.approx(report.ce_loss + report.metric_loss)
        assert report.grad_norm > 0 and report.images_per_s > 0 and report.seconds > 0
    assert reports[-1].learning_rate == pytest.approx(1e-3 / 25 / 1e4)  # of the very last step


def test_the_loss_falls_and_the_pictures_are_learnt(data, pixels):
    reports = list(train_epochs(tiny_config(num_epochs=10, learning_rate=0.01), data, pixels))
    assert reports[-1].loss < 0.5 * reports[0].loss
    assert reports[-1].accuracy > 0.6 and reports[-1].val_accuracy > 0.5  # chance: 1 in 6
    assert reports[-1].val_ce_loss < 0.7 * reports[0].val_ce_loss


def test_without_validation_images_nothing_is_validated(data, pixels):
    (report,) = train_epochs(
        tiny_config(num_epochs=1, pct_start=0.6), data._replace(query=[], gallery=[], holdout=()), pixels
    )
    missing = {name for name, value in asdict(report).items() if value is None}
    assert missing - OF_SOME_RUNS == {name for name in asdict(report) if name.startswith("val_")}


@pytest.mark.parametrize("without", ["holdout", "query"])
def test_each_kind_of_validation_stands_alone(data, pixels, without):
    config = tiny_config(num_epochs=1, pct_start=0.6)
    emptied = {"holdout": ()} if without == "holdout" else {"query": [], "gallery": []}
    (report,) = train_epochs(config, data._replace(**emptied), pixels)
    (whole,) = train_epochs(config, data, pixels)
    for name in ("val_ce_loss", "val_accuracy"):
        assert getattr(report, name) == (None if without == "holdout" else getattr(whole, name))
    for name in ("val_mAP", "val_metric_loss"):
        assert getattr(report, name) == (None if without == "query" else getattr(whole, name))


@pytest.mark.parametrize("changes", [{"batch_size": 2}, {"batch_size": 6}, {"normalize_features": True}])
def test_plain_shuffled_batches_of_any_size_are_validated_too(data, pixels, changes):
    config = tiny_config(num_epochs=1, pct_start=0.6, images_per_identity=None, **changes)
    (report,) = train_epochs(config, data, pixels)
    assert math.isfinite(report.val_metric_loss)


def test_the_weights_that_are_validated_are_the_moving_average(data, pixels, tmp_path):
    """At a rate of nearly 0 the average stays near the first step's weights, whatever training does."""
    run(tiny_config(num_epochs=1, pct_start=0.6), data, pixels, tmp_path / "plain")
    run(tiny_config(num_epochs=1, pct_start=0.6, ema_rate=1e-6), data, pixels, tmp_path / "average")
    one, other = weights(tmp_path / "plain"), weights(tmp_path / "average")
    assert not torch.allclose(one["neck.running_mean"], other["neck.running_mean"])
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])
    run(tiny_config(num_epochs=1, pct_start=0.6, ema_rate=1e-6, learning_rate=0.1), data, pixels, tmp_path / "steps")
    assert not torch.equal(other["classifier.weight"], weights(tmp_path / "steps")["classifier.weight"])


# --- the same run, whatever happens to it ---


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_stopped_run_goes_on_bit_for_bit(data, pixels, tmp_path, optimizer):
    config = tiny_config(optimizer=optimizer, **EVERYTHING)
    whole = run(config, data, pixels, tmp_path / "whole")
    first = run(config, data, pixels, tmp_path / "halves", stop_after=2)
    torch.manual_seed(99)
    torch.rand(7)
    told_again, *second = run(config, data, pixels, tmp_path / "halves")
    assert told_again == first[-1], "who listened may have been killed before"
    assert [report.epoch for report in first + second] == [1, 2, 3, 4]
    assert list(map(plain, first + second)) == list(map(plain, whole))
    assert_same(weights(tmp_path / "halves"), weights(tmp_path / "whole"))


def test_who_uses_random_numbers_in_between_changes_nothing(data, pixels, tmp_path):
    config = tiny_config(**EVERYTHING)
    run(config, data, pixels, tmp_path / "alone")
    for epoch, _ in enumerate(train_epochs(config, data, pixels, out_dir=tmp_path / "disturbed")):
        torch.manual_seed(epoch)
        np.random.seed(epoch)  # noqa: NPY002
        random.seed(epoch)
        torch.rand(3)
    assert_same(weights(tmp_path / "alone"), weights(tmp_path / "disturbed"))


def test_global_random_states_are_left_as_they_were(data, pixels):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    for _ in train_epochs(tiny_config(**EVERYTHING), data, pixels):
        assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]  # noqa: NPY002


def test_the_seed_decides(data, pixels):
    one, same, other = (
        next(iter(train_epochs(tiny_config(seed=seed, **EVERYTHING), data, pixels))) for seed in (1, 1, 2)
    )
    assert plain(one) == plain(same) and plain(one) != plain(other)


def test_workers_change_nothing_and_are_gone_when_the_generator_is_closed(data, pixels):
    here = next(iter(train_epochs(tiny_config(**EVERYTHING, num_workers=0), data, pixels)))
    epochs = train_epochs(tiny_config(**EVERYTHING, num_workers=1), data, pixels)
    there = next(iter(epochs))
    assert plain(here) == plain(there)
    assert multiprocessing.active_children()
    epochs.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


def test_closing_the_generator_frees_the_model(data, pixels, monkeypatch):
    born = []
    original = reid_train.training.run.build_model

    def spy(*arguments):
        model = original(*arguments)
        born.append(weakref.ref(model))
        return model

    monkeypatch.setattr(reid_train.training.run, "build_model", spy)
    epochs = train_epochs(tiny_config(ema_rate=0.1), data, pixels)
    next(epochs)
    assert born[0]() is not None
    epochs.close()  # type: ignore[attr-defined]
    gc.collect()
    assert born[0]() is None


# --- the state on disk ---


def test_the_state_is_saved_at_most_once_in_an_interval(data, pixels, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(
        reid_train.training.loop, "save_state", lambda folder, state: saved.append(state["report"]["epoch"])
    )
    list(train_epochs(tiny_config(num_epochs=3), data, pixels, out_dir=tmp_path, state_interval_s=60))
    assert saved == []
    list(train_epochs(tiny_config(num_epochs=3), data, pixels, out_dir=tmp_path, state_interval_s=0))
    assert saved == [1, 2]  # the last epoch leaves weights instead


def test_without_a_folder_nothing_is_written(data, pixels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    list(train_epochs(tiny_config(num_epochs=1, pct_start=0.6), data, pixels, state_interval_s=0))
    assert list(tmp_path.iterdir()) == []


def test_going_on_with_other_settings_is_refused_with_the_difference(data, pixels, tmp_path):
    run(tiny_config(num_epochs=3), data, pixels, tmp_path, stop_after=1)
    with pytest.raises(UserError, match=r"learning_rate=0\.001 there, 0\.01 here"):
        run(tiny_config(num_epochs=3, learning_rate=0.01), data, pixels, tmp_path)
    # Settings of the machine are free.
    assert run(tiny_config(num_epochs=3, num_threads=1, num_workers=0), data, pixels, tmp_path)[1].epoch == 2


def test_going_on_with_other_images_is_refused(data, pixels, tmp_path):
    run(tiny_config(num_epochs=3), data, pixels, tmp_path, stop_after=1)
    fewer_images = data._replace(train=data.train[:-1])
    fewer_identities = data._replace(train=[s for s in data.train if s.identity != data.train[0].identity])
    for changed in (fewer_images, fewer_identities):
        with pytest.raises(UserError, match="other training images"):
            run(tiny_config(num_epochs=3), changed, pixels, tmp_path)


def test_a_run_goes_on_wherever_its_images_and_weights_lie_and_only_with_the_same(data, pixels, tmp_path):
    run(tiny_config(num_epochs=2), data, pixels, tmp_path / "start")
    run(tiny_config(num_epochs=2, seed=5), data, pixels, tmp_path / "other")
    begin = tiny_config(num_epochs=3, pretrained=str(tmp_path / "start"), data_dir="here")
    run(begin, data, pixels, tmp_path / "run", stop_after=1)
    elsewhere = shutil.copytree(tmp_path / "start", tmp_path / "moved")
    with pytest.raises(UserError, match="a run with other starting weights"):
        run(begin.changed(pretrained=str(tmp_path / "other")), data, pixels, tmp_path / "run")
    with pytest.raises(UserError, match="a run with other starting weights"):
        run(begin.changed(pretrained="none"), data, pixels, tmp_path / "run")
    assert run(begin.changed(pretrained=str(elsewhere), data_dir="there"), data, pixels, tmp_path / "run")[1].epoch == 2


def test_going_on_with_other_pictures_of_the_same_names_is_refused(data, pixels, tmp_path):
    run(tiny_config(num_epochs=3), data, pixels, tmp_path, stop_after=1)
    inverted = copy.copy(pixels)
    inverted.read = lambda images: 255 - pixels.read(images)
    with pytest.raises(UserError, match="other training images"):
        run(tiny_config(num_epochs=3), data, inverted, tmp_path)


def cut(state: Path) -> None:
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        lambda state: state.write_bytes(b""),
        lambda state: state.write_text("no state"),
        lambda state: torch.save({"epoch": 1}, state),
        lambda state: torch.save(torch.zeros(3), state),
        lambda state: torch.save({**torch.load(state), "model": {}}, state),
        lambda state: torch.save({**torch.load(state), "optimizer": {"param_groups": []}}, state),
    ],
)
def test_a_damaged_state_is_one_line_that_names_the_file(data, pixels, tmp_path, damage):
    run(tiny_config(num_epochs=3), data, pixels, tmp_path, stop_after=1)
    damage(tmp_path / STATE)
    with pytest.raises(UserError) as caught:
        run(tiny_config(num_epochs=3), data, pixels, tmp_path)
    assert str(tmp_path / STATE) in str(caught.value) and "\n" not in str(caught.value)


def test_the_last_epochs_weights_are_on_disk_before_its_report(data, pixels, tmp_path):
    config = tiny_config(num_epochs=2)
    for report in train_epochs(config, data, pixels, out_dir=tmp_path):
        assert (tmp_path / WEIGHTS).is_file() == (report.epoch == 2)
    model, checkpoint = load_network(tmp_path)
    assert (checkpoint.config, checkpoint.epoch, checkpoint.metrics) == (config, 2, asdict(report))
    assert checkpoint.identities == sorted({sample.identity for sample in data.train})
    assert not model.training


# --- divergence ---


# Each step multiplies the weights by about -9, and nothing normalises the last layers: it diverges in a few steps.
DIVERGING = {"optimizer": "sgd", "learning_rate": 10.0, "weight_decay": 1.0, "num_epochs": 20, "fc_layers": 3}


def test_divergence_names_step_and_terms(data, pixels):
    unvalidated = data._replace(query=[], gallery=[], holdout=())
    with pytest.raises(NonFiniteLoss, match=r"at step \d+ of epoch \d+: identity loss \S+, metric loss \S+"):
        list(train_epochs(tiny_config(**DIVERGING), unvalidated, pixels))


def test_divergence_that_validation_sees_first_is_divergence_too(data, pixels):
    with pytest.raises(NonFiniteLoss, match="not finite"):
        list(train_epochs(tiny_config(**DIVERGING), data, pixels))


def test_no_update_follows_a_non_finite_loss(data, pixels, monkeypatch):
    model = []
    original = reid_train.training.run.build_model
    monkeypatch.setattr(reid_train.training.run, "build_model", lambda *a: model.append(original(*a)) or model[0])
    losses = iter([1.0, math.nan])
    real = LinearClassifier.loss

    def poisoned(*arguments):
        before.update({name: tensor.clone() for name, tensor in model[0].named_parameters()})
        return real(*arguments) * next(losses)

    before: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(LinearClassifier, "loss", poisoned)
    with pytest.raises(NonFiniteLoss, match=r"step 2 of epoch 1: identity loss nan, metric loss \d"):
        list(train_epochs(tiny_config(), data, pixels))
    assert_same(before, dict(model[0].named_parameters()))


@pytest.mark.parametrize("validated", [True, False])
def test_a_last_step_that_spoils_the_weights_leaves_no_checkpoint(data, pixels, tmp_path, monkeypatch, validated):
    steps = steps_per_epoch(len(data.train), 8)
    step, count = torch.optim.AdamW.step, itertools.count(1)

    def spoiling(self, *arguments, **options):
        result = step(self, *arguments, **options)
        if next(count) == 2 * steps:
            self.param_groups[0]["params"][0].data.fill_(math.inf)
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", spoiling)
    with pytest.raises(NonFiniteLoss, match="epoch 2"):
        run(tiny_config(), data if validated else data._replace(query=[], gallery=[], holdout=()), pixels, tmp_path)
    assert not (tmp_path / WEIGHTS).exists()


# --- precision ---


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains(data, wide_pixels, precision):
    config = tiny_config(num_epochs=2, precision=precision, dropout=0.1, image_width=32)
    reports = list(train_epochs(config, data, wide_pixels))
    values = [value for report in reports for name, value in asdict(report).items() if name not in OF_SOME_RUNS]
    assert all(math.isfinite(value) for value in values)


def test_a_step_that_the_scaler_skips_advances_neither_schedule_nor_average(data, pixels, tmp_path, monkeypatch):
    """A scale so large that gradients overflow float16 in the first steps: all of epoch 1's, some of epoch 2's."""
    scaler = torch.amp.GradScaler

    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda device, enabled: scaler(device, init_scale=2.0**100, enabled=enabled)
    )
    advanced = []
    build = reid_train.training.run.build_schedule

    def watched(optimizer, **options):
        schedule = build(optimizer, **options)
        original = schedule.step
        schedule.step = lambda: (advanced.append(1), original())
        return schedule

    monkeypatch.setattr(reid_train.training.run, "build_schedule", watched)
    epochs = train_epochs(tiny_config(num_epochs=3, precision="float16", ema_rate=0.5), data, pixels)
    first = next(epochs)
    assert advanced == []
    assert first.learning_rate == pytest.approx(1e-3 / 25)  # where the schedule starts
    assert math.isfinite(first.grad_norm)


def test_the_scaler_goes_on_where_it_was(data, pixels, tmp_path):
    config = tiny_config(num_epochs=3, precision="float16")
    whole = run(config, data, pixels, tmp_path / "whole")
    halves = run(config, data, pixels, tmp_path / "halves", stop_after=1)
    halves += run(config, data, pixels, tmp_path / "halves")[1:]
    assert list(map(plain, halves)) == list(map(plain, whole))
    assert_same(weights(tmp_path / "halves"), weights(tmp_path / "whole"))


# --- what cannot be trained ---


def test_a_configuration_that_does_not_fit_the_data_is_refused_before_anything_else(data, pixels):
    with pytest.raises(UserError, match="needs 16 identities a batch, the training set has 6"):
        next(train_epochs(tiny_config(batch_size=32), data, pixels))
    with pytest.raises(UserError, match="warm-up steps"):
        next(train_epochs(tiny_config(pct_start=0.01), data, pixels))


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_a_device_that_is_not_there_is_refused(data, pixels):
    with pytest.raises(UserError, match="device=cuda is not available here"):
        next(train_epochs(tiny_config(device="cuda"), data, pixels))
