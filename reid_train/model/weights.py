"""What is said about weights that cannot be used.

first_not_finite(model.state_dict())  # "neck.running_var"
"""

import re
from collections.abc import Mapping

import torch


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
