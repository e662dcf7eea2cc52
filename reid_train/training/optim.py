"""Optimizer with parameter groups, the OneCycle schedule and the moving average of weights.

optimizer = build_optimizer(model, OptimSettings(learning_rate=1e-3))
schedule = build_schedule(optimizer, pct_start=0.1, total_steps=1000)
average = build_average(model, ema_rate=0.01)
if take_step(optimizer, scaler):
    schedule.step()
    average.update_parameters(model)
"""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, assert_never

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from reid_train.model.network import ReIDModel
from reid_train.settings.optim import OptimSettings


def build_optimizer(
    model: ReIDModel, settings: OptimSettings, *, also: Iterable[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """The configured optimizer over groups: the backbone's layers and, last, the head, each with and without decay.

    Layer l (from 0) of a backbone of L layers learns at the rate of the head times `backbone_lr_factor` times
    `layer_decay` ** (L - l). Biases, normalisation and pooling parameters (fewer than two dimensions) are not
    decayed, nor is what the backbone names in `undecayed`. What is frozen is in no group.
    `also`: parameters beside the model's, trained like the head.
    """
    groups = _groups(model, settings, also)
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in model.parameters())
    rate, momentum = settings.learning_rate, settings.momentum
    match settings.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, fused=fused)
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=fused)
        case unknown:
            assert_never(unknown)


def _groups(model: ReIDModel, settings: OptimSettings, also: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    layers = {f"backbone.{name}": layer for name, layer in model.backbone.layers().items()}
    count = 1 + max(layers.values())
    spared = {f"backbone.{name}" for name in model.backbone.undecayed()}
    gathered: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_head = key not in layers
            factor = 1.0 if is_head else settings.backbone_lr_factor * settings.layer_decay ** (count - layers[key])
            decayed = parameter.ndim >= 2 and key not in spared
            gathered.setdefault((is_head, factor, decayed), []).append(parameter)
    for parameter in also:
        gathered.setdefault((True, 1.0, parameter.ndim >= 2), []).append(parameter)
    rate, decay = settings.learning_rate, settings.weight_decay
    return [
        {"params": parameters, "lr": rate * factor, "weight_decay": decay if decayed else 0.0}
        for (_, factor, decayed), parameters in gathered.items()
    ]


def build_schedule(optimizer: torch.optim.Optimizer, *, pct_start: float, total_steps: int) -> OneCycleLR:
    """OneCycleLR (Smith and Topin 2018) over exactly `total_steps` steps, each group to its own peak.

    pct_start x total_steps must be at least 2: `check_training` sees to it. The first beta of Adam's family falls from
    0.95 to 0.85 as the rate rises, as torch does it; SGD keeps the momentum it was given, which is a setting.
    """
    peaks = [group["lr"] for group in optimizer.param_groups]
    cycle = "betas" in optimizer.defaults
    return OneCycleLR(optimizer, max_lr=peaks, total_steps=total_steps, pct_start=pct_start, cycle_momentum=cycle)


def take_step(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> bool:
    """Updates the weights by their gradients; False where the scaler left that out, as float16 had overflowed."""
    scale_before = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    return scaler.get_scale() >= scale_before


class NoAverage:
    """Takes the place of an average where none is kept: `module` is the model itself."""

    def __init__(self, model: nn.Module):
        self.module = model

    def update_parameters(self, model: nn.Module) -> None:
        """Nothing: the model's weights are those that count."""


class MovingAverage(nn.Module):
    """Exponential moving average of a model's weights and BatchNorm statistics: `module` has them.

    As torch's AveragedModel, whose states it takes, but nothing is read from a GPU or sent there at a step: that one
    sends its counter, for which the whole queue of the GPU is waited for. Whole numbers, which count batches, are the
    model's own.
    """

    def __init__(self, model: nn.Module, rate: float):
        """`rate`: 1 - decay, above 0 and below 1."""
        super().__init__()
        self.module, self._rate = deepcopy(model), rate
        self.n_averaged: torch.Tensor
        self.register_buffer("n_averaged", torch.tensor(0))  # stays on the CPU

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Takes the model's weights as they are the first time, then a `rate` of them."""
        means, values = list[torch.Tensor](), list[torch.Tensor]()
        for mean, value in zip(_tensors(self.module), _tensors(model), strict=True):
            if self.n_averaged and mean.is_floating_point():
                means.append(mean)
                values.append(value)
            else:
                mean.copy_(value)
        if means:
            torch._foreach_lerp_(means, values, self._rate)
        self.n_averaged += 1


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def build_average(model: nn.Module, ema_rate: float) -> MovingAverage | NoAverage:
    """Exponential moving average of weights and BatchNorm statistics, decay 1 - `ema_rate`; with 0 the weights as they
    are. `module` is what is validated and kept."""
    return NoAverage(model) if ema_rate == 0 else MovingAverage(model, ema_rate)
