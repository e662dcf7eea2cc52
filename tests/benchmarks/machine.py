"""What a benchmark says of the machine it ran on, and of the times it took."""

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch


def describe_machine() -> str:
    """One line: processor, cores, GPU, versions, threads, and how busy the machine was at the start."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return (
        f"{model}, {cores} cores{gpu}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.backends.cpu.get_cpu_capability()}, load {os.getloadavg()[0]:.1f} at the start"
    )


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median (least to greatest, n)."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f}, n={len(values)})"
