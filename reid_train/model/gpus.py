"""Whether the GPUs of this machine can compute, and if not why: a driver may be older than PyTorch, a card too.

why_no_gpu()  # "this PyTorch (2.14.1+cpu) is built without CUDA"
"""

import os
from pathlib import Path

import torch
from torch import nn

from data.system.errors import in_one_line

NVIDIA = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/usr/lib/wsl/lib/libcuda.so.1")
"""Files of NVIDIA's driver. A container that was given no GPU shows the second alone."""
AMD = "/dev/kfd"
"""The file of AMD's driver."""
FULL = "the GPU is out of memory: end what else uses it (nvidia-smi lists that), or set device=cpu"
"""What is wrong with a GPU that could compute: to train on the CPU instead is nothing that its owner wants."""


def why_no_gpu() -> str | None:
    """Why PyTorch can use no GPU of a machine that has one; None where it has none, and where one can compute."""
    amd = Path(AMD).exists()
    if not amd and not any(Path(file).exists() for file in NVIDIA):
        return None
    hip = torch.version.hip is not None
    if torch.version.cuda is None and not hip:
        return f"this PyTorch ({torch.__version__}) is built without CUDA"
    if amd and not hip and not Path(NVIDIA[0]).exists():
        return f"this PyTorch ({torch.__version__}) is built for NVIDIA's GPUs, this one is AMD's"
    if torch.cuda.device_count():
        return gpu_problem(0)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        return f"CUDA_VISIBLE_DEVICES={hidden} names none"
    if not amd and not Path(NVIDIA[0]).exists() and not Path(NVIDIA[2]).exists():
        return "this container was given none; docker run --gpus all does"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without CUDA
        return in_one_line(error)
    return "PyTorch finds none"


def gpu_problem(number: int) -> str | None:
    """Why this GPU of those that PyTorch sees cannot compute; None where it can. It is tried: PyTorch's builds have no
    kernels for cards that are too old or too new, and cuDNN none for others."""
    try:
        device = torch.device("cuda", number)
        picture, weight = torch.ones(1, 3, 8, 8, device=device), torch.ones(4, 3, 3, 3, device=device)
        nn.functional.conv2d(picture, weight).sum().item()
    except (RuntimeError, AssertionError) as error:
        return FULL if "out of memory" in str(error) else in_one_line(error)
    return None
