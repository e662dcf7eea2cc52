"""Optimizer with parameter groups, the OneCycle schedule and the moving average of weights."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reid_train.model.backbones import layers_of
from reid_train.model.network import ReIDModel


def build_optimizer(
    model: ReIDModel,
    *,
    name: str,
    learning_rate: float,
    backbone_lr_factor: float,
    layer_decay: float = 1.0,
    weight_decay: float,
    momentum: float,
    also: Iterable[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """AdamW or SGD over groups: the backbone's layers and, last, the head, each with and without weight decay.

    Of L layers of the backbone, layer l (from 0, `layers_of`) has the rate of the head times `backbone_lr_factor`
    times `layer_decay` ** (L - l). Biases, normalisation and pooling parameters (fewer than two dimensions) are not
    decayed, nor is what timm would not (position embeddings). What is frozen is in no group.
    `also` is trained with the head and no part of the model.
    """
    layers = {f"backbone.{name}": layer for name, layer in layers_of(model.backbone).items()}
    count = 1 + max(layers.values())
    spared = {f"backbone.{name}" for name in getattr(model.backbone, "undecayed", set)()}
    gathered: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_head = key not in layers
            factor = 1.0 if is_head else backbone_lr_factor * layer_decay ** (count - layers[key])
            decayed = parameter.ndim >= 2 and key not in spared
            gathered.setdefault((is_head, factor, decayed), []).append(parameter)
    for parameter in also:
        gathered.setdefault((True, 1.0, parameter.ndim >= 2), []).append(parameter)
    groups = [
        {"params": parameters, "lr": learning_rate * factor, "weight_decay": weight_decay if decayed else 0.0}
        for (_, factor, decayed), parameters in gathered.items()
    ]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in model.parameters())
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=momentum > 0, fused=fused)
    return torch.optim.AdamW(groups, lr=learning_rate, fused=fused)


def build_schedule(optimizer: torch.optim.Optimizer, *, pct_start: float, total_steps: int) -> OneCycleLR:
    """OneCycleLR (Smith and Topin 2018) over exactly `total_steps` steps, each group to its own peak.

    pct_start x total_steps must be at least 2: `check_training` sees to it. AdamW's first beta falls from 0.95
    to 0.85 as the rate rises, as torch does it; SGD keeps the momentum it was given, which is a setting.
    """
    peaks = [group["lr"] for group in optimizer.param_groups]
    cycle = not isinstance(optimizer, torch.optim.SGD)
    return OneCycleLR(optimizer, max_lr=peaks, total_steps=total_steps, pct_start=pct_start, cycle_momentum=cycle)


def build_average(model: nn.Module, ema_rate: float) -> AveragedModel | None:
    """Exponential moving average of weights and BatchNorm buffers, decay 1 - `ema_rate`; None when that is 0."""
    if ema_rate == 0:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(1 - ema_rate), use_buffers=True)
