"""How many trials share a machine, and what each gets."""

import pytest

from data.system.errors import UserError
from reid_train.model import gpus as gpu_kinds
from reid_train.model.gpus import FULL
from tuning.run import gpus as look_for
from tuning.run import resources
from tuning.space.read import read_space

GIB = 2**30


@pytest.mark.parametrize(
    ("cpus", "memory_gib", "wanted", "expected"),
    [
        (1, 16, None, (1, 1)),
        (2, 24, None, (1, 2)),  # two trials of one thread rather than one of two
        (4, 32, None, (1, 4)),
        (8, 64, None, (2, 4)),
        (64, 512, None, (4, 16)),
        (8, 3, None, (4, 1)),  # memory for one trial only
        (2, 1, None, (2, 1)),
        (2, 24, 1, (2, 1)),  # study.concurrency
        (8, 64, 2, (4, 2)),
    ],
)
def test_trials_share_the_cpus(monkeypatch, cpus, memory_gib, wanted, expected):
    monkeypatch.setattr(resources, "usable_cpus", lambda: cpus)
    monkeypatch.setattr(resources, "usable_memory_bytes", lambda: memory_gib * GIB)
    planned = resources.plan_resources(None, None, wanted, "cpu")
    assert (planned.cpus, planned.concurrency) == expected
    assert planned.gpus == 0


def test_what_is_asked_for_is_given(monkeypatch):
    monkeypatch.setattr(resources, "usable_cpus", lambda: 8)
    monkeypatch.setattr(resources, "usable_memory_bytes", lambda: 6 * GIB)
    planned = resources.plan_resources(2, None, None, "cpu")
    assert (planned.cpus, planned.concurrency) == (2, 4)
    with pytest.raises(UserError, match="--cpus-per-trial 9: this machine has 8"):
        resources.plan_resources(9, None, None, "cpu")
    for cpus in (0, -1):
        with pytest.raises(UserError, match=f"--cpus-per-trial {cpus}: at least 1"):
            resources.plan_resources(cpus, None, None, "cpu")


def found(monkeypatch, names, problem=None, full=False):
    """A machine with these GPUs that can compute."""
    monkeypatch.setattr(resources, "look_for_gpus", lambda: resources.Gpus(names, problem, full))


def test_each_gpu_gets_a_trial_and_its_share_of_the_cpus(monkeypatch):
    monkeypatch.setattr(resources, "usable_cpus", lambda: 8)
    found(monkeypatch, ["one", "two"])
    planned = resources.plan_resources(None, None, None, "auto")
    assert (planned.cpus, planned.gpus, planned.concurrency) == (4, 1.0, 2)
    halves = resources.plan_resources(None, 0.5, None, "auto")
    assert (halves.cpus, halves.gpus, halves.concurrency) == (2, 0.5, 4)


@pytest.mark.parametrize(
    ("share", "gpus", "at_once"), [(1, 2, 2), (0.6, 2, 2), (0.5, 2, 4), (0.4, 3, 6), (0.34, 2, 4), (0.1, 1, 10)]
)
def test_no_more_trials_run_at_once_than_ray_places(monkeypatch, share, gpus, at_once):
    """Ray cuts no trial's share in two: a GPU holds as many whole shares as fit. Counted by filling GPUs by hand."""
    monkeypatch.setattr(resources, "usable_cpus", lambda: 64)
    found(monkeypatch, ["GPU"] * gpus)
    planned = resources.plan_resources(None, share, None, "auto")
    free, placed = [10000] * gpus, 0
    while (place := next((n for n in range(gpus) if free[n] >= round(share * 10000)), None)) is not None:
        free[place] -= round(share * 10000)
        placed += 1
    assert planned.concurrency == placed == at_once and planned.cpus * at_once <= 64


@pytest.mark.parametrize("share", [1.5, 2, -1, 0.001, float("nan"), float("inf")])
def test_a_share_that_no_trial_can_use_is_refused(monkeypatch, share):
    found(monkeypatch, ["one", "two"])
    with pytest.raises(UserError, match=r"--gpus-per-trial .*: 0 or 0\.01 to 1 is needed"):
        resources.plan_resources(None, share, None, "auto")


def test_no_gpu_for_trials_is_no_way_to_train_on_one(monkeypatch):
    found(monkeypatch, ["one", "two"])
    assert resources.plan_resources(None, 0, None, "auto").gpus == 0
    with pytest.raises(UserError, match="--gpus-per-trial 0: the space asks for device=cuda"):
        resources.plan_resources(None, 0, None, "cuda")


def test_a_gpu_that_cannot_compute_is_told_before_the_first_trial(monkeypatch, capsys):
    old = "The NVIDIA driver on your system is too old (found version 11040)"
    found(monkeypatch, [], old)
    with pytest.raises(UserError, match="device=cuda is not available here: The NVIDIA driver"):
        resources.plan_resources(None, None, None, "cuda")
    with pytest.raises(UserError, match="--gpus-per-trial 1: The NVIDIA driver"):
        resources.plan_resources(None, 1, None, "auto")
    assert resources.plan_resources(None, None, None, "auto").gpus == 0
    (note,) = resources.note_of_gpus("auto")
    assert old in note and "device=cpu" in note and "\n" not in note
    assert resources.note_of_gpus("cpu") == []


def test_one_gpu_of_several_that_cannot_compute_is_to_be_left_out(monkeypatch):
    found(monkeypatch, ["good"], "GPU 1 cannot compute: no kernel image; leave it out: CUDA_VISIBLE_DEVICES=0")
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES=0"):
        resources.plan_resources(None, None, None, "auto")
    assert resources.plan_resources(None, 0, None, "auto").gpus == 0


def test_a_full_gpu_is_no_reason_to_search_on_the_cpu(monkeypatch):
    found(monkeypatch, [], FULL, full=True)
    for device in ("auto", "cuda"):
        with pytest.raises(UserError, match=r"^the GPU is out of memory: end what else uses it.*device=cpu$"):
            resources.plan_resources(None, None, None, device)
    assert resources.plan_resources(None, 0, None, "auto").gpus == resources.plan_resources(1, None, 1, "cpu").gpus == 0


def test_the_words_of_a_problem_decide_nothing(monkeypatch):
    found(monkeypatch, [], "the driver says: out of memory pages to map; update it")
    assert resources.plan_resources(None, None, None, "auto").gpus == 0
    found(monkeypatch, [], "voll", full=True)
    with pytest.raises(UserError, match=r"^voll$"):
        resources.plan_resources(None, None, None, "auto")


@pytest.mark.parametrize(("one", "two"), [(gpu_kinds.FULL, None), ("no kernel image", None), (gpu_kinds.FULL, "x")])
def test_the_process_that_asks_torch_says_whether_memory_is_full(monkeypatch, one, two):
    monkeypatch.setattr(look_for.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(look_for.torch.cuda, "get_device_name", lambda number: f"card {number}")
    monkeypatch.setattr(look_for, "gpu_problem", [one, two].__getitem__)
    monkeypatch.setattr(look_for, "why_no_gpu", lambda: one)
    found = look_for.look()
    assert found.full == (one == gpu_kinds.FULL) and one in found.problem
    assert found.names == (["card 1"] if two is None else [])


def test_memory_is_reckoned_from_the_largest_batch_of_the_largest_images(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("fixed: {image_height: 256, image_width: 128}\nsearch: {batch_size: [32, 64, 16]}\n")
    space = read_space(str(file))
    assert resources.trial_memory_bytes(space) == resources.PROCESS_BYTES + resources.BYTES_A_PIXEL * 64 * 256 * 128


@pytest.mark.parametrize(("cpus", "of_cpus"), [(4, 4), (8, 8), (16, 8)])
@pytest.mark.parametrize("device", ["auto", "mps"])
def test_a_mac_trains_one_trial_on_its_gpu(monkeypatch, device, cpus, of_cpus):
    monkeypatch.setattr(resources, "usable_cpus", lambda: cpus)
    monkeypatch.setattr(look_for.torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(resources, "look_for_gpus", look_for.look)
    planned = resources.plan_resources(None, None, None, device)
    assert (planned.cpus, planned.gpus, planned.concurrency) == (of_cpus, 1.0, 1)
    with pytest.raises(UserError, match="trains one trial at a time"):
        resources.plan_resources(None, 0.5, None, device)
    with pytest.raises(UserError, match="device=cuda is not available"):
        resources.plan_resources(None, None, None, "cuda")
    assert resources.plan_resources(None, None, None, "cpu").gpus == 0
