"""Chooses where to compute and in which precision."""

import torch

from data.errors import UserError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """The device that "auto", "cpu", "cuda" or "mps" means here. Raises UserError for one that is not there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, there in available.items() if there))
    if not available[name]:
        raise UserError(f"device={name} is not available here; use device=auto or device=cpu")
    return torch.device(name)


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16. Emulated on a CPU without it, it is some ten times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The autocast type that "auto", "float32", "bfloat16" or "float16" means on `device`."""
    if name == "auto":
        name = "bfloat16" if computes_in_bfloat16(device) else "float16" if device.type == "cuda" else "float32"
    return PRECISIONS[name]
