"""A GPU that PyTorch cannot use is told of, with the reason; a machine without one is not bothered."""

import functools

import pytest
import torch

from data.system.errors import UserError
from reid_train.model import device, gpus


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Says which driver's files the machine has, and what PyTorch was built for and finds."""

    def there(*, nvidia=(), amd=False, cuda="13.0", count=0, init=None):
        files = [tmp_path / f"nvidia-{number}" for number in range(3)]
        for number in nvidia:
            files[number].touch()
        monkeypatch.setattr(gpus, "NVIDIA", tuple(map(str, files)))
        monkeypatch.setattr(gpus, "AMD", str(tmp_path / "kfd"))
        if amd:
            (tmp_path / "kfd").touch()
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)

        def begin():
            if init is not None:
                raise init

        monkeypatch.setattr(torch.cuda, "init", begin)
        monkeypatch.setattr(device, "_why_no_gpu", functools.cache(gpus.why_no_gpu))

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return there


OLD = RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nPlease update")


@pytest.mark.parametrize(
    ("found", "hidden", "why"),
    [
        ({}, None, None),
        ({"cuda": None}, None, None),
        ({"nvidia": (0, 1), "cuda": None}, None, "is built without CUDA"),
        ({"nvidia": (0, 1), "init": OLD}, None, "driver on your system is too old (found version 11040). Please"),
        ({"nvidia": (0, 1)}, "", "CUDA_VISIBLE_DEVICES= names none"),
        ({"nvidia": (0, 1)}, "7", "CUDA_VISIBLE_DEVICES=7 names none"),
        ({"nvidia": (1,)}, None, "this container was given none; docker run --gpus all"),
        ({"amd": True}, None, "is built for NVIDIA's GPUs"),
    ],
)
def test_the_reason_is_told_where_there_is_a_gpu(machine, monkeypatch, caplog, found, hidden, why):
    machine(**found)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert device.choose_device("auto").type in ("cpu", "mps")
    told = [record.getMessage() for record in caplog.records]
    if why is None:
        assert told == []
        return
    assert len(told) == 1 and why in told[0] and "\n" not in told[0]
    with pytest.raises(UserError, match="device=cuda is not available here: "):
        device.choose_device("cuda")
    assert device.choose_device("cpu").type == "cpu" and len(caplog.records) == 1, "who asks for the CPU knows"


def test_a_card_without_kernels_in_this_build_is_not_taken(machine, monkeypatch, caplog):
    """PyTorch counts it and is_available: only computing shows it."""
    machine(nvidia=(0, 1), count=1)
    monkeypatch.setattr(gpus, "gpu_problem", lambda number: "CUDA error: no kernel image is available for execution")
    assert device.choose_device("auto").type in ("cpu", "mps")
    assert "no kernel image" in caplog.text


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: out of memory")]
)
def test_a_full_gpu_is_an_error_and_no_reason_to_train_on_the_cpu(machine, monkeypatch, error):
    machine(nvidia=(0, 1), count=1)

    def full(*_, **__):
        raise error

    monkeypatch.setattr(torch, "ones", full)
    for name in ("auto", "cuda"):
        with pytest.raises(
            UserError, match=f"^device={name}: the GPU is out of memory: end what else uses it.*device=cpu$"
        ):
            device.choose_device(name)
    assert device.choose_device("cpu").type == "cpu"
    monkeypatch.setattr(gpus, "gpu_problem", lambda number: None)  # what used it has ended
    assert device.choose_device("auto").type == "cuda"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_has_a_problem_of_one_line():
    problem = gpus.gpu_problem(0)
    assert problem and "\n" not in problem
