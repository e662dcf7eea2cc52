"""How many processes prepare batches: no more than the shared memory holds, which kills them when it is full."""

import pytest
import torch

from data.system.errors import UserError
from reid_train.training import inputs
from reid_train.training.inputs import LEAST_WORKERS, MOST_WORKERS, Pictures
from tests.reid_train.conftest import HEIGHT, WIDTH, tiny_config


@pytest.fixture
def workers(pixels, monkeypatch):
    def of(batches_of_room, device="cuda", **settings):
        config = tiny_config(num_threads=16, **settings)
        room = None if batches_of_room is None else batches_of_room * config.batch_size * 3 * HEIGHT * WIDTH
        monkeypatch.setattr(inputs, "free_shared_memory_bytes", lambda: room)
        pictures = Pictures(pixels.at(HEIGHT, WIDTH), torch.device(device), torch.float32)
        return pictures._workers(config)

    return of


def test_a_gpu_has_as_many_as_the_shared_memory_holds(workers):
    assert workers(None) == workers(10_000) == MOST_WORKERS
    some = workers(6 * 5)
    assert LEAST_WORKERS <= some <= 5
    assert workers(6) == workers(0) == 0, "the GPU then does it itself"
    assert workers(10_000, "cpu") == workers(0, "cpu") == 0


def test_workers_that_are_asked_for_and_would_be_killed_are_refused(workers):
    assert workers(10_000, num_workers=2) == workers(None, num_workers=2) == 2
    assert workers(0, num_workers=0) == 0
    for device in ("cpu", "cuda"):
        with pytest.raises(UserError, match=r"num_workers=2: .* has room for 1; .*--shm-size.* num_workers=0"):
            workers(6, device, num_workers=2)
