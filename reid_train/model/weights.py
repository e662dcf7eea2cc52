"""Weights from elsewhere: copies into a model what matches by name and shape, and says what did.

load_matching(model, torch.load("resnet50.pth"), "resnet50.pth")  # "resnet50.pth: 318 of 324 tensors matched; ..."
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from data.system.errors import UserError

PREFIXES = ("module.", "model.", "backbone.", "base.", "encoder.", "net.")


def load_matching(model: nn.Module, state: Mapping[str, Any], source: str) -> str:
    """Copies what matches by name and shape into `model`; gives one line that says what did.

    Names are compared without prefixes such as `module.` or `backbone.`. Raises UserError when fewer than half of the
    model's do: a few names are the same in most networks.
    """
    own = {_plain_name(name): tensor for name, tensor in model.state_dict().items()}
    other = {_plain_name(name): tensor for name, tensor in state.items() if isinstance(name, str) and _is_plain(tensor)}
    fitting = [name for name in own if name in other and other[name].shape == own[name].shape]
    misshapen = [name for name in own if name in other and other[name].shape != own[name].shape]
    if 2 * len(fitting) < len(own):
        raise UserError(
            f"pretrained={source}: of another architecture: {len(fitting) or 'none'} of the model's {len(own)} tensors "
            f"{'are' if len(fitting) != 1 else 'is'} among its {len(other)} by name and shape"
        )
    if broken := first_not_finite({name: other[name] for name in fitting}):
        raise UserError(f"pretrained={source}: {broken} holds values that are not finite: damaged, or of a failed run")
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(other[name])
    line = f"{source}: {len(fitting)} of {len(own)} tensors matched"
    if misshapen:
        shapes = f"{tuple(other[misshapen[0]].shape)} there, {tuple(own[misshapen[0]].shape)} here"
        line += f"; another shape: {_few(misshapen)} ({shapes})"
    if missing := [name for name in own if name not in other]:
        line += f"; not in it: {_few(missing)}"
    return line


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def _plain_name(name: str) -> str:
    """A parameter's name without the prefixes that other projects put before it."""
    while name.startswith(PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _is_plain(value: object) -> bool:
    """Whether it is a tensor of real numbers that are all there: none that is sparse, quantised, complex or empty."""
    return (
        isinstance(value, torch.Tensor)
        and type(value) in (torch.Tensor, nn.Parameter)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not (value.is_quantized or value.is_complex())
    )


def first_not_finite(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """The name of the first tensor that holds, as float32, an infinite value or none; None when all are finite."""
    return next((name for name, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()), None)


def why_unreadable(error: Exception) -> str:
    """One line for what torch.load raised: its own text runs over many, and advises to run the file's code."""
    text = str(error)
    if foreign := re.search(r"GLOBAL (\S+)", text):
        return f"it holds {foreign[1]}, which is code; save its state dict alone, tensors by name"
    if "Weights only load failed" in text or not text:
        return "no file that torch.save wrote"
    return text.splitlines()[0][:200]
