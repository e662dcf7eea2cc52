"""Asks torch for the GPUs, in a process of its own: one that has asked keeps memory of each GPU.

names()  # ["NVIDIA H100 80GB HBM3"]; [] without a GPU
"""

import torch


def names() -> list[str]:
    """The names of the GPUs that torch sees."""
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
