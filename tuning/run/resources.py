"""What each trial gets of this machine, and how many trials run at once.

plan_resources(None, None, None, "auto")  # Resources(cpus=1, gpus=0.0, concurrency=2) on 2 CPUs
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from data.system.errors import UserError
from data.system.processes import in_processes
from data.system.threads import usable_cpus
from tuning.space.space import SearchSpace

PROCESS_BYTES = 2 * 2**30
"""Memory that a trial on the CPU needs before its first batch: libraries, model, optimizer, evaluation."""
BYTES_A_PIXEL = 4096
"""Memory for what ResNet-50 keeps of each pixel of a batch until the gradients are known; measured, rounded up."""
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Files of the drivers of NVIDIA's and AMD's GPUs, and of Windows' own."""


@dataclass(frozen=True)
class Resources:
    """What each trial gets, and how many run at once."""

    cpus: int
    gpus: float
    concurrency: int


def plan_resources(
    cpus_per_trial: int | None,
    gpus_per_trial: float | None,
    concurrency: int | None,
    device: str,
    trial_bytes: int = PROCESS_BYTES,
) -> Resources:
    """Follows the machine: a GPU a trial where there are GPUs, else rather many trials at once than many threads.

    Trials side by side do not wait for each other, threads of one trial wait for each other at every layer (measured
    by tests/benchmarks/search_overhead.py). So a trial gets one CPU; more, up to 4, only where more than 4 trials
    would run at once or the machine has no memory for `trial_bytes` each. Raises UserError for more than the machine
    has.
    """
    cpus, gpu_count = usable_cpus(), len(gpus()) if device in ("auto", "cuda") else 0
    if (device == "cuda" and not gpu_count) or (device == "mps" and sys.platform != "darwin"):
        raise UserError(f"device={device} is not available here; use device=auto or device=cpu")
    asked = (("--cpus-per-trial", cpus_per_trial, cpus), ("--gpus-per-trial", gpus_per_trial, gpu_count))
    for name, value, there in asked:
        if value is not None and value > there:
            raise UserError(f"{name} {value:g}: this machine has {there}")
    if cpus_per_trial is not None and cpus_per_trial < 1:
        raise UserError(f"--cpus-per-trial {cpus_per_trial}: at least 1")
    if gpus_per_trial is not None and gpus_per_trial < 0:
        raise UserError(f"--gpus-per-trial {gpus_per_trial:g}: at least 0")
    of_gpus = gpus_per_trial if gpus_per_trial is not None else float(min(gpu_count, 1))
    if of_gpus:
        of_cpus = cpus_per_trial or max(1, int(cpus * of_gpus / gpu_count))
        at_once = min(cpus // of_cpus, int(gpu_count / of_gpus))
    else:
        at_once = min(concurrency or cpus, cpus, max(1, _memory_bytes() // trial_bytes))
        of_cpus = cpus_per_trial or min(4, max(1, cpus // min(at_once, 4)))
        at_once = min(at_once, cpus // of_cpus) if cpus_per_trial is None else cpus // of_cpus
    return Resources(of_cpus, of_gpus, max(1, min(at_once, concurrency or at_once)))


def trial_memory_bytes(space: SearchSpace) -> int:
    """Memory that the largest trial of the space takes on a CPU, roughly."""
    pixels = space.largest("batch_size") * space.largest("image_height") * space.largest("image_width")
    return PROCESS_BYTES + BYTES_A_PIXEL * int(pixels)


def gpus() -> list[str]:
    """The names of the GPUs that torch sees."""
    if sys.platform == "linux" and not any(Path(file).exists() for file in DRIVERS):
        return []  # no driver, so no need to load torch
    names: list[str] = in_processes("tuning.run.gpus:names")[0]
    return names


def _memory_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
