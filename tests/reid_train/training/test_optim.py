"""Optimizer groups, the schedule's values and the moving average, each against a plain computation."""

import math

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reid_train.model.network import ReIDModel
from reid_train.model.settings import ModelSettings
from reid_train.settings.optim import OptimSettings
from reid_train.training.optim import build_average, build_optimizer, build_schedule


def optimizer_of(model: nn.Module, **changes):
    settings = {"learning_rate": 0.1, "backbone_lr_factor": 0.2, "weight_decay": 0.05, "momentum": 0.8}
    return build_optimizer(model, OptimSettings(**{**settings, **changes}))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_every_trained_parameter_is_in_one_group_with_its_rate_and_decay(name):
    model = ReIDModel(ModelSettings(backbone="resnet18", pooling="gem", fc_layers=1, fc_width=16), identities=5)
    groups = optimizer_of(model, optimizer=name).param_groups
    group_of = {id(parameter): group for group in groups for parameter in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(group_of)
    for key, parameter in model.named_parameters():
        if key == "neck.bias":
            assert id(parameter) not in group_of
            continue
        group = group_of.pop(id(parameter))
        assert group["lr"] == (0.1 * 0.2 if key.startswith("backbone.") else 0.1)
        is_weight = (
            "conv" in key or "fc." in key or "downsample.0" in key or "classifier" in key
        ) and "bias" not in key
        assert group["weight_decay"] == (0.05 if is_weight else 0.0), key
    assert not group_of


def one_cycle(step: int, total: int, pct_start: float, peak: float) -> float:
    """torch's documented formula: cosine from peak / 25 to peak, then to peak / 25 / 10,000."""
    top = pct_start * total - 1

    def cosine(start, end, share):
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

    if step <= top:
        return cosine(peak / 25, peak, step / top)
    return cosine(peak, peak / 25 / 1e4, (step - top) / (total - 1 - top))


@pytest.mark.parametrize(("total", "pct_start"), [(40, 0.1), (20, 0.1), (7, 0.3), (33, 0.4)])
def test_the_schedule_starts_peaks_and_ends_where_one_cycle_does(total, pct_start):
    optimizer = optimizer_of(ReIDModel(ModelSettings(backbone="resnet18"), identities=5))
    schedule = build_schedule(optimizer, pct_start=pct_start, total_steps=total)
    seen = []
    for _ in range(total):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    for step, rates in enumerate(seen):
        head = one_cycle(step, total, pct_start, 0.1)
        assert rates == pytest.approx([0.2 * head, 0.2 * head, head, head], rel=1e-9)
    assert seen[0][-1] == pytest.approx(0.1 / 25) and seen[-1][-1] == pytest.approx(0.1 / 25 / 1e4)
    with pytest.raises(ValueError, match="total steps"):
        optimizer.step()
        schedule.step()


def test_sgds_momentum_is_the_one_that_was_set_throughout():
    optimizer = optimizer_of(ReIDModel(ModelSettings(backbone="resnet18"), identities=5), optimizer="sgd")
    schedule = build_schedule(optimizer, pct_start=0.3, total_steps=10)
    for _ in range(10):
        assert {group["momentum"] for group in optimizer.param_groups} == {0.8}
        assert {group["nesterov"] for group in optimizer.param_groups} == {True}
        optimizer.step()
        schedule.step()


def test_the_moving_average_equals_a_plain_loop_with_batchnorm_buffers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    average = build_average(model, 0.1)
    expected: dict[str, torch.Tensor] = {}
    for _ in range(6):
        model(torch.randn(8, 4))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
        average.update_parameters(model)
        for name, tensor in model.state_dict().items():
            value = tensor.double()
            # The first update takes the weights as they are.
            expected[name] = 0.9 * expected[name] + 0.1 * value if name in expected else value
    for name, tensor in average.module.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), expected[name], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(average.module[1].running_mean, model[1].running_mean)


class Crossings(TorchDispatchMode):
    """Counts the operations between two devices: such a one may wait until a GPU has done all that it was given."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        tensors = [each for each in tree_leaves([arguments, options, made]) if isinstance(each, torch.Tensor)]
        if len({tensor.device for tensor in tensors}) > 1:
            self.found.append(str(function))
        return made


def test_the_moving_average_sends_nothing_to_another_device_and_reads_nothing_there():
    """The device "meta" stands for a GPU; it refuses to tell a value."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).to("meta")
    average = build_average(model, 0.1)
    with Crossings() as crossings:
        for _ in range(3):
            average.update_parameters(model)
    assert crossings.found == []


def test_a_state_of_torchs_own_average_goes_on_to_the_same_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    torchs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    torchs.update_parameters(model)
    ours = build_average(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), 0.1)
    ours.load_state_dict(torchs.state_dict())
    for _ in range(3):
        model(torch.randn(8, 4))
        with torch.no_grad():
            model[0].weight += torch.randn_like(model[0].weight)
        for average in (torchs, ours):
            average.update_parameters(model)
    expected = torchs.module.state_dict()
    for name, tensor in ours.module.state_dict().items():
        assert torch.equal(tensor, expected[name]) or name.endswith("num_batches_tracked"), name


def test_a_rate_of_zero_keeps_the_weights_themselves():
    model = nn.Linear(2, 2)
    average = build_average(model, 0.0)
    before = model.weight.clone()
    average.update_parameters(nn.Linear(2, 2))
    assert average.module is model and torch.equal(model.weight, before)
