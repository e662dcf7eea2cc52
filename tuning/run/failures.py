"""What went wrong in a trial's training, as a Cause. Runs in the trial's process.

failure_cause(torch.OutOfMemoryError(), batch_size=64)  # Cause(OUT_OF_MEMORY, "batch_size=64 is too large here: ...")
"""

import torch

from data.system.errors import UserError
from reid_train.objective.losses import NonFiniteLoss
from tuning.record.cause import Cause, Kind

NO_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "GPU is out of memory",
    "MPS backend out of memory",
    "ALLOC_FAILED",
)
"""What errors say that only their words tell apart: of the CPU's allocator, CUDA, MPS and cuBLAS."""


def failure_cause(error: Exception, batch_size: int) -> Cause:
    """Tells divergence, want of memory, a configuration that does not fit, and faults of code apart."""
    text = " ".join(str(error).split())
    if isinstance(error, NonFiniteLoss):
        return Cause(Kind.DIVERGED, text)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in text for words in NO_MEMORY):
        return Cause(Kind.OUT_OF_MEMORY, f"batch_size={batch_size} is too large here: {text[:200]}")
    if isinstance(error, UserError):
        return Cause(Kind.DOES_NOT_FIT, text)
    return Cause(Kind.ERROR, f"{type(error).__name__}: {text[:300]}")
