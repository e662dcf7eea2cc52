"""Which images tell where a checkpoint errs: the validation identities of its training, or query and gallery.

    looked_at = held_out_images("results/sample/best")
    report = errors_on(model, looked_at, cache={"cache_dir": None, "limit_bytes": None})

Validation identities may be looked at as often as one likes. Looks at the test images are counted by the command.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.pixels.bad_images import usable_test_sets
from data.pixels.cache import Pixels, open_pixels
from data.sets.listing import GALLERY, TRAIN
from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.commands import command
from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import load_checkpoint
from reid_train.inference.embedder import Embedder, load_model
from reid_train.inference.error_report import embed_samples, error_report, names_of_set
from reid_train.inference.evaluation_count import study_above
from reid_train.inference.threshold import (
    TEST,
    VALIDATION,
    false_ones,
    reaching,
    read_threshold,
    threshold_file,
    threshold_of,
    write_threshold,
)
from reid_train.settings.config import TrainConfig
from reid_train.training.images import read_training


class LookedAt(NamedTuple):
    """The images of a report, and whose they are."""

    config: TrainConfig
    """The checkpoint's, with the data set that is meant."""
    on: str
    query: Sequence[Sample]
    gallery: Sequence[Sample]
    left_out: list[str]
    """Images that cannot be decoded."""


def test_images(checkpoint: str | Path, changes: Mapping[str, Any] | None = None, cache_dir: Any = None) -> LookedAt:
    """Query and gallery of the data set that the checkpoint was trained on, of the first test set where there are
    several, and of its first draw; `changes` are settings of another data set."""
    config = load_checkpoint(checkpoint).config.changed(**(changes or {}))
    tests, left_out = usable_test_sets(**config.images, cache_dir=cache_dir)
    query, gallery = tests[0].rounds()[0]
    return LookedAt(config, TEST, query, gallery, left_out)


def held_out_images(
    checkpoint: str | Path, changes: Mapping[str, Any] | None = None, cache_dir: Any = None
) -> LookedAt:
    """The validation identities of the checkpoint's training. `changes` are settings that say where its images lie now.

    Raises UserError where the checkpoint was trained on them.
    """
    loaded = load_checkpoint(checkpoint)
    config = loaded.config.changed(**(changes or {}))
    _, data, left_out = read_training(config, cache_dir)
    held_out = {sample.identity for sample in (*data.query, *data.gallery)}
    trained, expected = set(loaded.identities), {sample.identity for sample in (*data.train, *data.holdout)}
    if trained >= held_out | expected:
        raise UserError(
            f"{checkpoint}: trained on all identities, so that none is held out; look at the test images with --test, "
            f"which are counted, or at {_best_near(checkpoint)}"
        )
    if trained != expected:
        raise UserError(
            f"{config.data_dir}: not the images that {checkpoint} was trained on, of which some are held out; name "
            "them with --data-dir, or look at the test images with --test"
        )
    return LookedAt(config, VALIDATION, data.query, data.gallery, left_out)


def _best_near(checkpoint: str | Path) -> str:
    """The study's best/, where the checkpoint lies in one."""
    study = study_above(checkpoint)
    return "a study's best/" if study is None else str(study / "best")


def errors_on(model: Embedder, looked_at: LookedAt, cache: Mapping[str, Any]) -> dict[str, Any]:
    """The content of errors.json. `cache` says how decoded pixels are kept, as to `open_pixels`."""
    config = looked_at.config
    samples = [*looked_at.query, *looked_at.gallery]
    pixels = open_pixels(samples, height=config.image_height, width=config.image_width, **cache)
    split = GALLERY if looked_at.on == TEST else TRAIN
    names = names_of_set(config.data_dir, config.dataset, config.name_pattern, split=split)
    return error_report(model, pixels, looked_at.query, looked_at.gallery, names, on=looked_at.on)


def errors_on_validation(model: Embedder, data: TrainingData, pixels: Pixels) -> dict[str, Any]:
    """The same of the validation images of a training that was just made, of opened pixels."""
    pixels = pixels.at(model.config.image_height, model.config.image_width)
    config = model.config
    names = names_of_set(config.data_dir, config.dataset, config.name_pattern)
    return error_report(model, pixels, data.query, data.gallery, names, on=VALIDATION)


def keep_threshold(checkpoint: str | Path, data: TrainingData, pixels: Pixels) -> str:
    """Writes threshold.json beside the weights of a training that was just made, unless it is there; a line about it.

    Where nothing is held out there is none: what is trained on is found too easily.
    """
    if not data.query:
        return (
            "no threshold: all identities were trained on, and those of other models do not fit this one; "
            f"{command('reid_train.errors', '--checkpoint', str(checkpoint), '--test')} measures one on the "
            "test images, which is counted"
        )
    started = time.monotonic()
    config = load_checkpoint(checkpoint).config
    model = load_model(checkpoint, device=config.device)
    if model.threshold is None:
        embedding_ND = embed_samples(
            model, pixels.at(config.image_height, config.image_width), [*data.query, *data.gallery]
        )
        found = threshold_of(embedding_ND, data.query, data.gallery, on=VALIDATION, weights=model.digest)
        if found is None:
            return "no threshold: that takes two images of one identity by two cameras, and another identity"
        model.threshold = read_threshold(write_threshold(checkpoint, found), model.digest)
    assert model.threshold is not None
    point = model.threshold.points[0]
    return (
        f"the same from {point.threshold:.2f} on ({false_ones(point)}; {reaching(point)}): "
        f"{threshold_file(checkpoint)}, measured on {model.threshold.measured_on} in {time.monotonic() - started:.0f} s"
    )
