"""Chooses where to compute, in which precision, and whether by compiled code.

device = choose_device("auto")
precision = choose_precision("auto", device)
"""

import ctypes
import functools
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar

import torch
from torch import nn

from data.system.errors import UserError
from data.system.kept import default_cache_dir
from reid_train.model.gpus import FULL, why_no_gpu

logger = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)

COMPILERS = ("g++", "clang++", "c++")
COMPILED_STEPS = 50_000
"""Compiling takes a minute and saves an H100 1.7 ms a step: it pays in runs of this many steps or more."""
ISA = ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
"""The variable by which oneDNN does without AMX, and its value."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """The device that "auto", "cpu", "cuda" or "mps" means here; a CPU's AMX is switched off for this process.

    To be called before anything is computed. Raises UserError for a device that is not there, or cannot compute, and
    for a GPU whose memory is full. Where "auto" passes over a GPU it logs why.
    """
    problem = _why_no_gpu() if name in ("auto", "cuda") else None
    cuda = torch.cuda.is_available() and problem is None
    available = {"cuda": cuda, "mps": torch.backends.mps.is_available(), "cpu": True}
    if problem == FULL:
        _why_no_gpu.cache_clear()  # it may be free when it is asked for again
        raise UserError(f"device={name}: {FULL}")
    if name == "auto":
        name = next(device for device, there in available.items() if there)
        if problem:
            logger.warning("the GPU is not used: %s; computing on device=%s", problem, name)
    if not available[name]:
        why = f": {problem}" if problem else ""
        raise UserError(f"device={name} is not available here{why}; use device=auto or device=cpu")
    if name == "cpu":
        leave_out_amx()
    return torch.device(name)


_why_no_gpu = functools.cache(why_no_gpu)
"""Asked once: the answer takes a second where there is a GPU."""


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16. A CPU that has to emulate it is some ten times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool(_capabilities().get("avx512_bf16"))


def _capabilities() -> dict[str, Any]:
    """What the CPU can do, by torch's names; a torch that does not tell (before 2.11) counts as one without."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return capabilities


NARROWEST_BFLOAT16 = 17
"""The least width of images, in pixels, that a CPU may train on in bfloat16. Narrower ones reach a ResNet's last stage
as maps of one column, for which oneDNN computes wrong weight gradients of a 3x3 convolution that strides: NaN in 27 of
27 sizes that were tried on an AMD EPYC (torch 2.14.1), and in none of 945 of wider maps."""


def choose_precision(name: str, device: torch.device, *, trains_width: int | None = None) -> torch.dtype:
    """The autocast type that "auto", "float32", "bfloat16" or "float16" means on `device`.

    `trains_width` is the width of the images that are to be trained on, in pixels. Raises UserError for bfloat16 on a
    CPU where that is below NARROWEST_BFLOAT16, and for bfloat16 on one that computes with AMX; "auto" is float32 there.
    """
    if device.type == "cpu" and trains_width is not None and trains_width < NARROWEST_BFLOAT16:
        if name == "bfloat16":
            raise UserError(
                f"precision=bfloat16: a CPU computes wrong gradients in it for images {trains_width} pixels wide; set "
                f"precision=float32, or image_width to {NARROWEST_BFLOAT16} or more"
            )
        name = "float32" if name == "auto" else name
    amx = device.type == "cpu" and name in ("auto", "bfloat16") and computes_with_amx()
    if name == "bfloat16" and amx:
        raise UserError(
            "precision=bfloat16: PyTorch began to compute here before AMX was left out, and is wrong with it; call "
            f"load_model before anything else, set {ISA[0]}={ISA[1]} before Python starts, or precision=float32"
        )
    if name == "auto":
        name = "float16" if device.type == "cuda" else "float32"
        name = "bfloat16" if computes_in_bfloat16(device) and not amx else name
    return PRECISIONS[name]


def precision_in_use(name: str, device: torch.device) -> torch.dtype:
    """The autocast type in which a trained model is used: as `choose_precision`, but "auto" is float32 on every device.

    Embeddings that one machine keeps are compared with those that another makes: the hardware must not decide.
    """
    return choose_precision("float32" if name == "auto" else name, device)


def place(model: Network, device: torch.device) -> Network:
    """The model itself, moved to `device`, in the layout that is fast there: on MPS channels_last computes wrongly."""
    layout = torch.contiguous_format if device.type == "mps" else torch.channels_last
    return model.to(device).to(memory_format=layout)


def whole_float32() -> AbstractContextManager[None]:
    """A block in which a GPU multiplies float32 as it is: by default convolutions round it to 10 bits (TF32)."""
    flags = torch.backends.cudnn
    kept = {"enabled": flags.enabled, "benchmark": flags.benchmark, "deterministic": flags.deterministic}
    whole: AbstractContextManager[None] = flags.flags(**kept, allow_tf32=False)
    return whole


def leave_out_amx() -> None:
    """Has this process do without oneDNN's bfloat16 kernels for AMX, which read memory that nobody has written.

    On a Xeon with AMX (torch 2.11) losses became NaN within 1 to 10 steps in 10 of 16 runs, and in none of 3 without
    these kernels. oneDNN reads the variable when it computes for the first time, in whatever precision: so it is set
    where a CPU is chosen.
    """
    os.environ.setdefault(*ISA)


@functools.cache
def computes_with_amx() -> bool:
    """Whether oneDNN takes AMX for bfloat16 in this process: then it computed before `leave_out_amx` was called.

    Nothing but its own account of a convolution tells, which it writes to the process's standard output; where that is
    closed nothing does, and the answer is True.
    """
    if not _capabilities().get("amx_tile"):
        return False
    image, weight = (torch.zeros(32, 32, size, size, dtype=torch.bfloat16) for size in (16, 3))
    try:
        kept = os.dup(1)
    except OSError:  # a process without standard output
        return True
    flush = ctypes.CDLL(None).fflush
    with tempfile.TemporaryFile() as told:
        flush(None)
        os.dup2(told.fileno(), 1)
        try:
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON), torch.no_grad():
                nn.functional.conv2d(image, weight)
            flush(None)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        told.seek(0)
        return b"_amx" in told.read()


def choose_compiling(wanted: bool | Literal["auto"], device: torch.device, steps: int) -> bool:
    """Whether to compile a model that makes `steps` steps. Raises UserError where compiling is wanted but impossible.

    "auto" compiles for a GPU when the run is long enough to pay for it, and never for a CPU: tests/benchmarks/README.md
    has the figures.
    """
    needed = [*COMPILERS] if os.environ.get("CXX") is None else [os.environ["CXX"]]
    missing = None if any(map(shutil.which, needed)) else "a C++ compiler"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        missing = "triton"
    if wanted is True and missing:
        raise UserError(f"compile=true needs {missing}, which is not here; install it or set compile=false")
    if wanted == "auto":
        wanted = device.type == "cuda" and steps >= COMPILED_STEPS and not missing
    if wanted:  # one cache for all trials
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(default_cache_dir().parent / "compiled"))
    return wanted


def as_cuda_graph(
    compute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], model: nn.Module, shape: tuple[int, ...]
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """`compute` (images and labels -> figures, gradients left in `model`) recorded once, then replayed by one launch.

    A step launches more than a thousand kernels; with small batches a GPU waits for the launches longer than it
    computes. Every batch must have this `shape` of images. The model's buffers are left as they are.
    """
    device = next(model.parameters()).device
    images = torch.zeros(shape, dtype=torch.uint8, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(shape[0], device=device) % 2
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # in their first calls libraries set themselves up, which cannot be recorded
        for _ in range(3):
            compute(images, labels)
    torch.cuda.current_stream().wait_stream(side)
    for parameter in model.parameters():
        parameter.grad = None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        figures = compute(images, labels)
    for buffer, before in buffers:
        buffer.copy_(before)

    def replay(new_images: torch.Tensor, new_labels: torch.Tensor) -> torch.Tensor:
        images.copy_(new_images, non_blocking=True)
        labels.copy_(new_labels, non_blocking=True)
        graph.replay()
        return figures

    return replay


def keep_freed_memory() -> None:
    """Has glibc's malloc keep what is freed for the next step, instead of giving it back to the system.

    A step frees and takes gigabytes of activations, and the system would have to clear each page anew. This holds for
    the whole process; another C library ignores it.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, mmap_max = -1, -4
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
