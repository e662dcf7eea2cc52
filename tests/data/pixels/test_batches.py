"""Batches: the right pictures with the right labels. That workers change nothing, test_loop.py shows."""

import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from data.pixels.augmentation import Augmentation
from data.pixels.batches import AugmentedBatches, LabelledBatches, training_batches
from data.pixels.cache import Pixels
from data.pixels.sampler import epoch_batches, steps_per_epoch
from data.system.processes import HelperDied, dead_helpers_told

HEIGHT, WIDTH = 24, 16
LABELS = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]


@pytest.fixture(scope="module")
def pixels(tmp_path_factory) -> Pixels:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = [str(folder / f"{number}.png") for number in range(len(LABELS) + 2)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path)
    return Pixels(paths, HEIGHT, WIDTH)


def augmentation(strong: bool) -> Augmentation:
    return Augmentation(
        crop_scale=0.5 if strong else 1.0,
        flip_probability=0.5 if strong else 0.0,
        randaugment_operations=2 if strong else 0,
        randaugment_magnitude=9,
        erasing_probability=0.5 if strong else 0.0,
    )


def made(pixels, *, strong=True, seed=3, epochs=range(2), images_per_identity=2, device=None):
    # The last pictures but two, in reverse: the set of training images is a part of what is decoded.
    paths = pixels.paths[: len(LABELS)][::-1]
    return list(
        training_batches(
            AugmentedBatches(pixels, paths, LABELS, augmentation(strong), seed, device=device),
            batch_size=4,
            images_per_identity=images_per_identity,
            epochs=epochs,
            num_workers=0,
            pin_memory=False,
        )
    )


def same(one, other) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("images_per_identity", [2, None])
def test_batches_are_the_samplers_pictures_with_their_labels(pixels, images_per_identity):
    batches = made(pixels, strong=False, images_per_identity=images_per_identity)
    expected = [
        indices
        for epoch in range(2)
        for indices in epoch_batches(LABELS, batch_size=4, images_per_identity=images_per_identity, seed=3, epoch=epoch)
    ]
    assert len(batches) == len(expected) == 2 * steps_per_epoch(len(LABELS), 4)
    for (images, labels), indices in zip(batches, expected, strict=True):
        assert labels.tolist() == [LABELS[index] for index in indices]
        plain = np.stack([np.asarray(Image.open(pixels.paths[len(LABELS) - 1 - index])) for index in indices])
        assert images.dtype == torch.uint8 and images.is_contiguous(memory_format=torch.channels_last)
        assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), plain)


def test_the_same_seed_gives_the_same_batches_another_other_ones(pixels):
    assert same(made(pixels), made(pixels))
    assert not same(made(pixels), made(pixels, seed=4))


def test_beginning_at_a_later_epoch_gives_the_same_as_arriving_there(pixels):
    assert same(made(pixels, epochs=range(3))[6:], made(pixels, epochs=range(2, 3)))


def test_epochs_and_steps_have_random_numbers_of_their_own(pixels):
    """The same picture is augmented in another way each time."""
    batches = AugmentedBatches(pixels, pixels.paths[: len(LABELS)], LABELS, augmentation(True), 3)
    pictures = [batches[epoch, step, [5, 5]][0] for epoch in range(2) for step in range(2)]
    flat = {picture.numpy().tobytes() for images in pictures for picture in images}
    assert len(flat) == 8


def test_the_global_random_state_is_neither_used_nor_changed(pixels):
    first = made(pixels)
    torch.manual_seed(77)
    before = torch.get_rng_state()
    assert same(first, made(pixels))
    assert torch.equal(torch.get_rng_state(), before)


def test_pixels_that_lie_on_the_device_give_the_same_batches(pixels):
    assert same(made(pixels), made(pixels, device=torch.device("cpu")))


class KillsItself(LabelledBatches):
    """What the system does to a process that prepares batches, where memory runs out."""

    labels, seed = torch.tensor(LABELS), 0

    def __getitem__(self, item):
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_death_of_a_process_that_prepares_batches_is_told_in_one_line():
    options = {"images_per_identity": None, "epochs": range(1), "num_workers": 1, "pin_memory": False}
    with pytest.raises(HelperDied, match=r"prepares batches was killed.*the same command goes on.*num_workers=0"):
        list(dead_helpers_told(training_batches(KillsItself(), batch_size=4, **options)))
