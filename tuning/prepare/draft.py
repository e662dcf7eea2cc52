"""A first search space for a data set: sizes, batches, epochs and a budget that fit its images and the machine.

facts = look_at("data/mine", "market1501", {}, gpu=True)
write_text("space.yaml", draft(facts, "imagenet", "A search for mine."))
"""

import json
import statistics
from collections import Counter
from typing import Any, NamedTuple

from data.pixels.decoding import load_image
from data.pixels.sampler import steps_per_epoch
from data.system.commands import program
from data.system.errors import printable
from reid_train.settings.config import TrainConfig
from reid_train.training.images import read_training

LOOKED_AT = 100
"""Pictures whose size is read, evenly spaced."""
LONG_SIDE = {True: 256, False: 128}
"""Of the images, with a GPU and without one; no more than twice what the pictures have."""
STEP = 16
"""Sides are multiples of it."""
BACKBONES = {True: "resnet50", False: "resnet18"}
BATCHES = {True: (16, 32, 64, 128), False: (16, 32, 64)}
FEWEST_STEPS_AN_EPOCH = 3
STEPS = {True: 8000, False: 1500}
"""Of a full-length training, about."""
EPOCHS = (12, 60)
"""The least and the most of it. A small budget shortens it anyway (`rungs: auto`)."""
LARGE = {True: 5000, False: 1500}
"""Training images from which on a search is given its longer time."""
BUDGETS = {True: ("2h", "12h"), False: ("1h", "8h")}


class Facts(NamedTuple):
    """What a draft follows from."""

    config: TrainConfig
    """Which images."""
    given: dict[str, Any]
    """The settings of the images that are not the defaults: on_bad_image, for instance."""
    images: int
    """Of training, validation left out; so are the next three."""
    identities: int
    of_identity: int
    """Images of an identity, median."""
    held_out: int
    """Identities of validation."""
    height: int
    """Pixels of a picture, median."""
    width: int
    gpu: bool


def look_at(data_dir: str, dataset: str | None, given: dict[str, Any], *, gpu: bool) -> Facts:
    """Reads the data set's training images. Raises UserError as a training would."""
    config = TrainConfig(data_dir=data_dir, dataset=dataset, holdout_images_per_identity=0, **given)
    samples, data, _ = read_training(config)
    of_identity = Counter(sample.identity for sample in data.train)
    pictures = [load_image(sample.path).size for sample in samples[:: -(-len(samples) // LOOKED_AT)]]
    return Facts(
        config,
        given,
        len(data.train),
        len(of_identity),
        int(statistics.median(of_identity.values())),
        len({sample.identity for sample in data.gallery}),
        round(statistics.median(height for _, height in pictures)),
        round(statistics.median(width for width, _ in pictures)),
        gpu,
    )


def image_size(facts: Facts) -> tuple[int, int]:
    """Height and width of the images: in the pictures' proportions, at most twice as large."""
    long_side, short_side = max(facts.height, facts.width), min(facts.height, facts.width)
    long = max(2 * STEP, _multiple(min(LONG_SIDE[facts.gpu], 2 * long_side)))
    short = max(STEP, _multiple(long * short_side / long_side))
    return (long, short) if facts.height >= facts.width else (short, long)


def _multiple(side: float) -> int:
    return STEP * round(side / STEP)


def batches(facts: Facts) -> tuple[list[int], list[int]]:
    """The choices of batch_size and of images_per_identity, each combination of which the data can fill."""
    most_k = 8 if facts.of_identity >= 8 else 4 if facts.of_identity >= 4 else 2
    ks = [4, 8] if most_k == 8 else [most_k]

    def fits(size: int) -> bool:
        enough = facts.images >= FEWEST_STEPS_AN_EPOCH * size
        return enough and all(2 <= size // k <= facts.identities for k in ks)

    sizes = [size for size in BATCHES[facts.gpu] if fits(size)]
    if not sizes:  # few identities
        ks = [2]
        sizes = [2 * min(facts.identities, 8)]
    return sizes[-3:], ks


def num_epochs(facts: Facts, batch_size: int) -> int:
    """The full length of training."""
    least, most = EPOCHS
    return max(least, min(most, round(STEPS[facts.gpu] / steps_per_epoch(facts.images, batch_size))))


def draft(facts: Facts, pretrained: str, title: str) -> str:
    """The space's file."""
    (height, width), (sizes, ks) = image_size(facts), batches(facts)
    epochs, gpu = num_epochs(facts, sizes[0]), facts.gpu
    budget = BUDGETS[gpu][facts.images >= LARGE[gpu]]
    machine = "this machine's GPU" if gpu else "a machine without a GPU; with one, take resnet50 and twice the size"
    fixed: list[tuple[str, Any, str]] = [
        ("data_dir", facts.config.data_dir, "where the images are"),
        *([("dataset", facts.config.dataset, "how they are laid out")] if facts.config.dataset else []),
        *((name, value, "as it was asked for") for name, value in facts.given.items()),
        ("image_height", height, f"the pictures have {facts.height} x {facts.width} pixels, in the median"),
        ("image_width", width, "in their proportions"),
        ("backbone", BACKBONES[gpu], f"for {machine}"),
        ("pretrained", pretrained, _says_of_weights(pretrained)),
        ("num_epochs", epochs, "the longest training; a small budget shortens it"),
    ]
    searched = [
        ("learning_rate", "{low: 5.0e-5, high: 5.0e-3, log: true}", "matters most"),
        ("weight_decay", "{low: 1.0e-5, high: 1.0e-2, log: true}", "against overfitting"),
        ("margin", "[0.1, 0.3, 1.0, soft]", "of the triplet loss"),
        ("label_smoothing", "{low: 0.0, high: 0.2}", "of the classifier"),
        ("randaugment_magnitude", "{low: 0, high: 12}", "strength of augmentation; 0 is none"),
        ("erasing_probability", "{low: 0.0, high: 0.7}", "hides a part of a picture"),
        ("pct_start", "{low: 0.05, high: 0.4}", "share of the training in which the learning rate rises"),
    ]
    for name, choices, says in (
        ("batch_size", sizes, f"{facts.identities} identities fill them"),
        ("images_per_identity", ks, f"an identity has {facts.of_identity} images, in the median"),
    ):
        if len(choices) > 1:
            searched.append((name, json.dumps(choices), says))
        else:
            fixed.append((name, choices[0], says))
    lines = [
        f"# {printable(title)}",
        f"# {facts.images} training images of {facts.identities} identities; {facts.held_out} more are held out for "
        "validation.",
        f"# Every line may be changed: `{program('reid.settings')} NAME` tells what a setting takes and means.",
        "fixed:  # what every trial has",
        *(f"  {name}: {json.dumps(value, ensure_ascii=False)}  # {says}" for name, value, says in fixed),
        "",
        "search:  # what is tried",
        *(f"  {name}: {value}  # {says}" for name, value, says in searched),
        "",
        "study:  # how",
        f"  time_budget: {budget}  # for the whole command; --plan says what it buys here",
    ]
    return "\n".join(lines) + "\n"


def _says_of_weights(pretrained: str) -> str:
    if pretrained == "none":
        return "ImageNet's weights could not be fetched here; with them (imagenet) results are far better"
    return "starts from ImageNet's weights"
