"""Where and how to compute: what "auto" takes, and what it refuses."""

import os
import subprocess
import sys

import pytest
import torch

from data.pixels.augmentation import to_device
from data.system.errors import UserError
from reid_train.model import device
from reid_train.model.device import COMPILED_STEPS, choose_compiling, choose_device, choose_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def compilers(monkeypatch):
    """Says whether a C++ compiler and triton are there; the cache's place is put back afterwards."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "unused")
    monkeypatch.delenv("CXX", raising=False)

    def there(cpp: bool, triton: bool) -> None:
        monkeypatch.setattr(device.shutil, "which", lambda name: f"/usr/bin/{name}" if cpp else None)
        monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: object() if triton else None)

    return there


def test_auto_compiles_long_runs_on_a_gpu_alone(compilers):
    compilers(cpp=True, triton=True)
    assert choose_compiling("auto", CUDA, COMPILED_STEPS)
    assert not choose_compiling("auto", CUDA, COMPILED_STEPS - 1)
    assert not choose_compiling("auto", CPU, 10**9)


@pytest.mark.parametrize(("cpp", "triton", "missing"), [(False, True, "a C\\+\\+ compiler"), (True, False, "triton")])
def test_what_compiling_needs_is_named_and_auto_does_without(compilers, cpp, triton, missing):
    compilers(cpp=cpp, triton=triton)
    assert not choose_compiling("auto", CUDA, COMPILED_STEPS)
    with pytest.raises(UserError, match=f"compile=true needs {missing}"):
        choose_compiling(True, CUDA, 1)
    assert not choose_compiling(False, CUDA, COMPILED_STEPS)


def test_a_cpu_needs_no_triton(compilers):
    compilers(cpp=True, triton=False)
    assert choose_compiling(True, CPU, 1)


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device=cuda is not available here"):
        choose_device("cuda")


@pytest.mark.parametrize(("there", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_computes_in_bfloat16_where_it_multiplies_it(monkeypatch, there, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": there})
    assert choose_precision("auto", CPU) == choose_precision("auto", CPU, trains_width=17) == expected
    assert choose_precision("auto", CPU, trains_width=16) == torch.float32
    assert choose_precision("float32", CPU) == torch.float32


def test_a_cpu_trains_on_no_narrow_images_in_bfloat16():
    with pytest.raises(UserError) as caught:
        choose_precision("bfloat16", CPU, trains_width=16)
    assert str(caught.value) == (
        "precision=bfloat16: a CPU computes wrong gradients in it for images 16 pixels wide; set precision=float32, or "
        "image_width to 17 or more"
    )
    assert choose_precision("bfloat16", CPU, trains_width=17) == torch.bfloat16
    assert choose_precision("bfloat16", CPU) == torch.bfloat16, "to use a model is no matter of gradients"
    assert choose_precision("float16", CPU, trains_width=16) == torch.float16
    assert choose_precision("bfloat16", CUDA, trains_width=16) == torch.bfloat16


def test_a_cpu_computes_without_amx_whatever_comes_first(monkeypatch):
    """oneDNN reads the variable once: float32 before bfloat16 in one process must not leave AMX on."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    choose_device("cpu")
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX512_CORE_BF16"


PROGRAM = """
import torch
if {before}:
    torch.nn.functional.conv2d(torch.zeros(32, 16, 32, 32), torch.zeros(16, 16, 3, 3))
from reid_train.model.device import choose_device, choose_precision
print(choose_precision("auto", choose_device("cpu")))
try:
    print(choose_precision("bfloat16", torch.device("cpu")))
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("before", [False, True])
def test_bfloat16_is_not_used_with_amx_which_another_computation_switched_on(before):
    """A program that computes before it loads a model got embeddings that are not finite."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN")}
    command = [sys.executable, "-c", PROGRAM.format(before=before)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    auto = "bfloat16" if capabilities.get("avx512_bf16") else "float32"
    with_amx = before and capabilities.get("amx_tile", False)
    told = "precision=bfloat16: PyTorch began to compute here before AMX" if with_amx else "torch.bfloat16"
    first, second = done.stdout.splitlines()
    assert (first, second[: len(told)]) == (f"torch.{'float32' if with_amx else auto}", told), done.stderr


@pytest.mark.parametrize(("kind", "waits"), [("mps", True), ("cpu", True), ("cuda", False)])
def test_only_copies_to_cuda_do_not_wait(monkeypatch, kind, waits):
    asked = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)

    def to(tensor, device, non_blocking=False):
        asked.append((device.type, non_blocking, tensor.is_contiguous()))
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", to)
    images = torch.zeros(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    to_device(images, torch.device(kind))
    assert asked == [(kind, not waits, kind == "mps")]


@pytest.mark.parametrize("kind", ["mps", "cpu"])
def test_no_model_is_channels_last_on_mps(monkeypatch, kind):
    whole = torch.nn.Module.to
    monkeypatch.setattr(  # stays on the CPU
        torch.nn.Module, "to", lambda model, *to, **layout: whole(model, **layout) if layout else model
    )
    weight = device.place(torch.nn.Conv2d(3, 8, 3), torch.device(kind)).weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == (kind == "cpu")
