"""One training run: the loop, from the first batch to the last epoch's report. `reid_train.train` is its command.

for report in train_epochs(config, data, pixels, out_dir="results/one"):
    print(report.epoch, report.val_mAP)
"""

import itertools
import logging
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch

from data.pixels.augmentation import to_device
from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from data.system.wording import counted
from reid_train.checkpoints.checkpoint import restore, save_checkpoint, save_state, training_state
from reid_train.measure.epoch_report import EpochReport
from reid_train.settings.config import TrainConfig, fit_defaults
from reid_train.training.divergence import check_finite, check_losses
from reid_train.training.inputs import batches_of
from reid_train.training.optim import take_step
from reid_train.training.run import prepare, seeded
from reid_train.training.validation import validate

logger = logging.getLogger(__name__)

STATE_INTERVAL_S = 60.0
"""Seconds between two saves of the training state, at least."""
CHECKED_STEPS = 50
"""Steps after which a GPU is asked whether its losses are finite: asking means waiting for it."""


def train_epochs(
    config: TrainConfig,
    data: TrainingData,
    pixels: Pixels,
    *,
    out_dir: str | Path | None = None,
    state_interval_s: float = STATE_INTERVAL_S,
    keep_at: Collection[int] = (),
) -> Iterator[EpochReport]:
    """Trains one complete schedule; yields a report after each epoch.

    `pixels` holds the decoded images of `data`. With `out_dir` the training state is kept there, at most once in
    `state_interval_s` seconds. A run that finds a state goes on from it, bit for bit on the CPU; it gives the state's
    report once more, since whoever listened may have been killed before. The weights of the last epoch are written
    before its report is given; weights and state are written after the epochs in `keep_at` too. Closing the generator
    frees everything.

    Raises UserError for a configuration that does not fit the data, NonFiniteLoss when training diverges.
    """
    config, adapted = fit_defaults(config, data)
    for line in adapted:
        logger.info(line)
    run = prepare(config, data, pixels)
    logger.info(
        "%s: %d training images of %d identities, %d identities held out (%d queries, %d gallery images); %d epochs of "
        "%d steps",
        run.device if run.device.type != "cpu" else f"CPU, {counted(torch.get_num_threads(), 'thread')}",
        len(data.train),
        len(run.identities),
        len({sample.identity for sample in data.gallery}),
        len(data.query),
        len(data.gallery),
        config.num_epochs,
        run.steps,
    )
    behind, told = restore(run.parts, config, run.seen, out_dir) if out_dir else (0, None)
    if told is not None:
        yield told
    saved_at = time.monotonic()
    label_of = {identity: label for label, identity in enumerate(run.identities)}
    labels_N = [label_of[sample.identity] for sample in data.train]
    batches = batches_of(run.inputs, config, data.train, labels_N, range(behind, config.num_epochs))

    for epoch in range(behind, config.num_epochs):
        started = time.monotonic()
        with seeded(config.seed, epoch + 1, run.device):
            figures = torch.zeros(run.steps, len(run.figures), device=run.device)
            run.model.train()
            for step, (inputs, labels) in enumerate(itertools.islice(batches, run.steps)):
                inputs, labels = to_device(inputs, run.device), to_device(labels, run.device)
                figures[step] = run.step(inputs, labels)
                if run.device.type == "cpu" or (step + 1) % CHECKED_STEPS == 0 or step + 1 == run.steps:
                    check_losses(figures[: step + 1], run.figures, epoch + 1)
                learning_rate = run.schedule.get_last_lr()[-1]
                if take_step(run.optimizer, run.scaler):
                    run.schedule.step()
                    run.average.update_parameters(run.model)
                else:
                    figures[step, -1] = 0  # gradients that overflowed have no norm
                logger.debug(
                    "epoch %d of %d: step %d of %d",
                    *(epoch + 1, config.num_epochs, step + 1, run.steps),
                    extra={"step": epoch * run.steps + step + 1, "steps": config.num_epochs * run.steps},
                )
            means = dict(zip(run.figures, figures.cpu().double().mean(dim=0).tolist(), strict=True))
        train_s = time.monotonic() - started

        kept: Any = run.average.module
        check_finite(epoch + 1, means, kept)
        validation = validate(kept, config, data, run.inputs, label_of)
        check_finite(epoch + 1, validation)
        report = EpochReport(
            epoch=epoch + 1,
            num_epochs=config.num_epochs,
            **_reported(means),
            learning_rate=float(learning_rate),
            images_per_s=run.steps * config.batch_size / train_s,
            seconds=time.monotonic() - started,
            **validation,  # type: ignore[arg-type]
        )
        ends, asked_for = epoch + 1 == config.num_epochs, epoch + 1 in keep_at
        if out_dir and (ends or asked_for):
            described: dict[str, Any] = {
                "epoch": epoch + 1,
                "metrics": report.to_record(),
                "identities": run.identities,
                "seen": run.seen,
            }
            save_checkpoint(out_dir, kept.state_dict(), config=config, **described)
        if out_dir and not ends and (asked_for or time.monotonic() - saved_at >= state_interval_s):
            save_state(out_dir, training_state(run.parts, config, run.seen, report))
            saved_at = time.monotonic()
        yield report


def _reported(means: dict[str, float]) -> dict[str, Any]:
    """The report's fields of an epoch's mean figures: all experts' usage is one."""
    usage = tuple(mean for name, mean in means.items() if name.startswith("expert_"))
    plain = {name: mean for name, mean in means.items() if not name.startswith("expert_")}
    return {**plain, **({"expert_usage": usage} if usage else {})}
