"""What each trial gets of this machine, and how many trials run at once.

plan_resources(None, None, None, "auto")  # Resources(cpus=1, gpus=0.0, concurrency=2) on 2 CPUs
"""

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from data.system.errors import UserError
from data.system.limits import usable_cpus, usable_memory_bytes
from data.system.processes import in_processes
from tuning.space.space import SearchSpace

PROCESS_BYTES = 2 * 2**30
"""Memory that a trial on the CPU needs before its first batch: libraries, model, optimizer, evaluation."""
BYTES_A_PIXEL = 4096
"""Memory for what ResNet-50 keeps of each pixel of a batch until the gradients are known; measured, rounded up."""
DRIVERS = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/kfd", "/dev/dxg")
"""Files of the drivers of NVIDIA's (the second in a container that was given no GPU), AMD's and Windows' GPUs."""
MPS = "Apple's GPU (MPS)"
"""The name of a Mac's GPU, of which there is one."""
MOST_CPUS_ON_MPS = 8
"""That prepare batches for a Mac's one trial."""
LEAST_SHARE = 0.01
"""Of a GPU that a trial can be given."""


class Gpus(NamedTuple):
    """What torch says of this machine's GPUs."""

    names: list[str]
    """Of those that can compute."""
    problem: str | None
    """What is wrong with the others, or where there should be one."""
    full: bool
    """Whether that is its memory, which others use: it may be free soon."""


NO_GPUS = Gpus([], None, False)


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
    cpus, (names, problem, full) = usable_cpus(), look_for_gpus() if device != "cpu" else NO_GPUS
    gpu_count = len(names)
    if problem and gpus_per_trial != 0 and (gpu_count or full):
        raise UserError(problem)  # Ray would give trials a bad one, too; a full one may be free soon
    mps = names == [MPS]
    if (device == "cuda" and (mps or not gpu_count)) or (device == "mps" and not mps):
        why = f": {problem}" if problem else ""
        raise UserError(f"device={device} is not available here{why}; use device=auto or device=cpu")
    if cpus_per_trial is not None:
        if cpus_per_trial < 1:
            raise UserError(f"--cpus-per-trial {cpus_per_trial}: at least 1")
        if cpus_per_trial > cpus:
            raise UserError(f"--cpus-per-trial {cpus_per_trial}: this machine has {cpus}")
    check_gpus_per_trial(gpus_per_trial, device)
    if mps and gpus_per_trial not in (None, 1):
        raise UserError(
            f"--gpus-per-trial {gpus_per_trial:g}: a Mac's GPU trains one trial at a time; leave the option out, or "
            "--set device=cpu"
        )
    if gpus_per_trial and not gpu_count:
        why = "device=cpu is asked for" if device == "cpu" else problem or "this machine has 0"
        raise UserError(f"--gpus-per-trial {gpus_per_trial:g}: {why}")
    of_gpus = gpus_per_trial if gpus_per_trial is not None else float(min(gpu_count, 1))
    if of_gpus:
        places = gpu_count * trials_on_a_gpu(of_gpus)
        of_cpus = cpus_per_trial or min(MOST_CPUS_ON_MPS if mps else cpus, max(1, cpus // places))
        at_once = min(cpus // of_cpus, places)
    else:
        at_once = min(concurrency or cpus, cpus, max(1, usable_memory_bytes() // trial_bytes))
        of_cpus = cpus_per_trial or min(4, max(1, cpus // min(at_once, 4)))
        at_once = min(at_once, cpus // of_cpus) if cpus_per_trial is None else cpus // of_cpus
    return Resources(of_cpus, of_gpus, max(1, min(at_once, concurrency or at_once)))


def check_gpus_per_trial(gpus_per_trial: float | None, device: str) -> None:
    """Raises UserError for a share of GPUs that no trial can use: a trial computes on one GPU."""
    if gpus_per_trial is None:
        return
    if gpus_per_trial != 0 and not LEAST_SHARE <= gpus_per_trial <= 1:
        raise UserError(
            f"--gpus-per-trial {gpus_per_trial:g}: 0 or {LEAST_SHARE:g} to 1 is needed, since a trial trains on one GPU"
        )
    if gpus_per_trial == 0 and device == "cuda":
        raise UserError("--gpus-per-trial 0: the space asks for device=cuda; give a GPU, or --set device=cpu")


def trials_on_a_gpu(of_gpus: float) -> int:
    """How many trials with this share share a GPU: 0.6 leaves no room for a second."""
    return int(1 / of_gpus + 1e-9)


def trial_memory_bytes(space: SearchSpace) -> int:
    """Memory that the largest trial of the space takes on a CPU, roughly."""
    pixels = space.largest("batch_size") * space.largest("image_height") * space.largest("image_width")
    return PROCESS_BYTES + BYTES_A_PIXEL * int(pixels)


def gpus() -> list[str]:
    """The names of the GPUs that can compute."""
    return look_for_gpus().names


@cache
def look_for_gpus() -> Gpus:
    """The GPUs of this machine."""
    if sys.platform == "linux" and not any(Path(file).exists() for file in DRIVERS):
        return NO_GPUS  # no driver, so no need to load torch
    found: Gpus = in_processes("tuning.run.gpus:look")[0]
    return found


def note_of_gpus(device: str) -> list[str]:
    """A line where there is a GPU that `device` "auto" passes over."""
    if device != "auto" or gpus() or (problem := look_for_gpus().problem) is None:
        return []
    return [f"note: the GPU is not used: {problem}; trials compute on the CPU, as with --set device=cpu"]
