"""Why a trial's training failed: told apart, and some are the configuration's doing."""

import pytest
import torch

from data.system.errors import UserError
from reid_train.objective.losses import NonFiniteLoss
from tuning.record.cause import Kind
from tuning.run.failures import failure_cause


@pytest.mark.parametrize(
    ("error", "kind", "told", "bad"),
    [
        (NonFiniteLoss("loss is not finite at step 3"), Kind.DIVERGED, "diverged: loss is not finite at step 3", True),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            Kind.OUT_OF_MEMORY,
            "out of memory: batch_size=64 is too large here: CUDA",
            True,
        ),
        (MemoryError(), Kind.OUT_OF_MEMORY, "out of memory: batch_size=64", True),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            Kind.OUT_OF_MEMORY,
            "out of memory: batch_size=64",
            True,
        ),
        *(
            (RuntimeError(words), Kind.OUT_OF_MEMORY, "out of memory: batch_size=64", True)
            for words in (
                "CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`",
                "MPS backend out of memory (MPS allocated: 9 GB)",
                "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            )
        ),
        (RuntimeError("mat1 and mat2 shapes"), Kind.ERROR, "RuntimeError: mat1 and mat2 shapes", False),
        (UserError("a.jpg: cannot be read"), Kind.DOES_NOT_FIT, "does not fit: a.jpg: cannot be read", False),
        (RuntimeError("diverged: so a library says"), Kind.ERROR, "RuntimeError: diverged: so a library says", False),
    ],
)
def test_causes_are_told_apart(error, kind, told, bad):
    cause = failure_cause(error, 64)
    assert cause.kind is kind and str(cause).startswith(told) and cause.shows_bad_region is bad


def test_a_message_of_several_lines_becomes_one():
    assert str(failure_cause(ValueError("one\n  two"), 64)) == "ValueError: one two"
