"""Notices that training has diverged: losses, gradients, weights or validation that are not finite.

check_losses(figures, ("loss", "ce_loss", ...), epoch=3)  # NonFiniteLoss: loss is not finite at step 7 of epoch 3
"""

import math
from collections.abc import Sequence

import torch

from reid_train.model.network import ReIDModel
from reid_train.objective.losses import NonFiniteLoss


def check_losses(figures: torch.Tensor, names: Sequence[str], epoch: int) -> None:
    """Raises NonFiniteLoss that names the first step whose loss is not finite, and its terms.

    `figures` has a row for each of the epoch's steps so far, with a column for each of `names`, the loss first.
    """
    if torch.isfinite(figures[:, 0]).all():
        return
    step = int((~torch.isfinite(figures[:, 0])).nonzero()[0])
    terms = ", ".join(
        f"{name.replace('ce_loss', 'identity loss').replace('_', ' ')} {value:.4g}"
        for name, value in zip(names, figures[step].tolist(), strict=True)
        if name.endswith("_loss")
    )
    raise NonFiniteLoss(f"loss is not finite at step {step + 1} of epoch {epoch}: {terms}")


def check_finite(epoch: int, figures: dict[str, float], model: ReIDModel | None = None) -> None:
    """Raises NonFiniteLoss for what no step's loss shows: the last step's gradients and weights, and validation."""
    bad = [name for name, figure in figures.items() if not math.isfinite(figure)]
    if model is not None and not bad:
        still = {f"{name}." for name, module in model.named_modules() if module in model.frozen}
        changed = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(tuple(still))}
        bad = [name for name, tensor in changed.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise NonFiniteLoss(f"not finite at the end of epoch {epoch}: {', '.join(bad[:3])}")
