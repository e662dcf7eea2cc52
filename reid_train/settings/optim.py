"""The settings of how weights are learned: schedule, optimizer, moving average. Imports no torch."""

from typing import Literal

from pydantic import Field

from data.system.settings import Settings


class OptimSettings(Settings):
    """How many epochs, by which steps."""

    num_epochs: int = Field(50, ge=1, le=10_000)
    """Epochs of one complete OneCycle schedule."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with Nesterov momentum."""
    learning_rate: float = Field(1e-3, gt=0, le=10)
    """Peak of the OneCycle schedule."""
    backbone_lr_factor: float = Field(1.0, ge=0, le=10)
    """Factor on the backbone's learning rate; below 1 spares pretrained weights."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor on the learning rate from each layer of the backbone to the one before it; 1: the same for all."""
    weight_decay: float = Field(1e-4, ge=0, le=1)
    """Decoupled weight decay (AdamW) or L2 penalty (SGD), on weights but not on biases and normalisation."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """SGD's momentum."""
    pct_start: float = Field(0.1, gt=0, lt=1)
    """Share of the steps in which the learning rate rises to its peak; at least 2, for which the default grows."""
    max_grad_norm: float | None = Field(1.0, gt=0)
    """Global norm that gradients are clipped to; null does not clip."""
    ema_rate: float = Field(0.0, ge=0, lt=1)
    """1 - decay of the moving average of weights that is validated and kept; 0 keeps the weights themselves."""
