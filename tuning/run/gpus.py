"""Asks torch for the GPUs, in a process of its own: one that has asked keeps memory of each GPU.

look()  # Gpus(["NVIDIA H100 80GB HBM3"], None, False)
"""

import torch

from reid_train.model.gpus import FULL, gpu_problem, why_no_gpu
from tuning.run.resources import MPS, Gpus


def look() -> Gpus:
    """The names of the GPUs that can compute, and what is wrong: with the others, or where there should be one."""
    if torch.backends.mps.is_available():
        return Gpus([MPS], None, False)
    problems = [gpu_problem(number) for number in range(torch.cuda.device_count())]
    good = [number for number, problem in enumerate(problems) if problem is None]
    names = [torch.cuda.get_device_name(number) for number in good]
    if not names:
        problem = why_no_gpu()
        return Gpus([], problem, problem == FULL)
    if bad := [number for number in range(len(problems)) if number not in good]:
        usable = ",".join(map(str, good))
        said = f"GPU {bad[0]} cannot compute: {problems[bad[0]]}; leave it out: CUDA_VISIBLE_DEVICES={usable}"
        return Gpus(names, said, problems[bad[0]] == FULL)
    return Gpus(names, None, False)
