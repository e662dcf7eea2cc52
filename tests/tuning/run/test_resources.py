"""How many trials share a machine, and what each gets."""

import pytest

from data.system.errors import UserError
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
    monkeypatch.setattr(resources, "_memory_bytes", lambda: memory_gib * GIB)
    planned = resources.plan_resources(None, None, wanted, "cpu")
    assert (planned.cpus, planned.concurrency) == expected
    assert planned.gpus == 0


def test_what_is_asked_for_is_given(monkeypatch):
    monkeypatch.setattr(resources, "usable_cpus", lambda: 8)
    monkeypatch.setattr(resources, "_memory_bytes", lambda: 6 * GIB)
    planned = resources.plan_resources(2, None, None, "cpu")
    assert (planned.cpus, planned.concurrency) == (2, 4)
    with pytest.raises(UserError, match="--cpus-per-trial 9: this machine has 8"):
        resources.plan_resources(9, None, None, "cpu")
    for cpus in (0, -1):
        with pytest.raises(UserError, match=f"--cpus-per-trial {cpus}: at least 1"):
            resources.plan_resources(cpus, None, None, "cpu")


def test_each_gpu_gets_a_trial_and_its_share_of_the_cpus(monkeypatch):
    monkeypatch.setattr(resources, "usable_cpus", lambda: 8)
    monkeypatch.setattr(resources, "gpus", lambda: ["one", "two"])
    planned = resources.plan_resources(None, None, None, "auto")
    assert (planned.cpus, planned.gpus, planned.concurrency) == (4, 1.0, 2)
    halves = resources.plan_resources(None, 0.5, None, "auto")
    assert (halves.cpus, halves.gpus, halves.concurrency) == (2, 0.5, 4)


def test_memory_is_reckoned_from_the_largest_batch_of_the_largest_images(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("fixed: {image_height: 256, image_width: 128}\nsearch: {batch_size: [32, 64, 16]}\n")
    space = read_space(str(file))
    assert resources.trial_memory_bytes(space) == resources.PROCESS_BYTES + resources.BYTES_A_PIXEL * 64 * 256 * 128
