"""One training run: the loop, from the first batch to the last epoch's report. `reid_train.train` is its command."""

import itertools
import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.pixels.augmentation import Augmentation
from data.pixels.batches import AugmentedBatches, training_batches
from data.pixels.cache import Pixels
from data.pixels.sampler import steps_per_epoch
from data.sets.splits import TrainingData
from data.system.errors import UserError
from data.system.threads import usable_cpus
from reid_train.checkpoint import (
    STATE,
    DamagedFile,
    build_model,
    load_pretrained,
    load_state,
    save_checkpoint,
    save_state,
)
from reid_train.config import TrainConfig, check_training, difference
from reid_train.device import as_cuda_graph, choose_compiling, choose_device, choose_precision, keep_freed_memory
from reid_train.distill import Distillation, load_teacher, teacher_digest
from reid_train.frozen import FrozenBatches, frozen_features
from reid_train.model.network import ReIDModel
from reid_train.objective.losses import NonFiniteLoss
from reid_train.objective.objective import Objective
from reid_train.optim import build_average, build_optimizer, build_schedule
from reid_train.report import EpochReport
from reid_train.validate import validate

logger = logging.getLogger(__name__)

STATE_INTERVAL_S = 60.0
"""Seconds between two saves of the training state, at least."""


PLAIN_LOSSES = ("triplet", "cross_entropy")
LEAST_WORKERS = 4
"""With fewer processes than this to prepare batches, a GPU does it faster itself."""
MOST_WORKERS = 8
CHECKED_STEPS = 50
"""Steps after which a GPU is asked whether its losses are finite: each time it has to be waited for."""


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

    `pixels` holds the decoded images of `data`, at the configured size. With `out_dir`, the training state is kept
    there (at most once in `state_interval_s` seconds), a run that finds one goes on from it, bit for bit on the CPU,
    after it has told the state's epoch again: whoever listened may have been killed before. The weights of the last
    epoch are written before its report is given; with `keep_at`, weights and state are written after those epochs too.
    Closing the generator frees everything.

    Raises UserError for a configuration that does not fit the data, NonFiniteLoss when training diverges.
    """
    check_training(config, data)
    pixels = pixels.at(config.image_height, config.image_width)
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    device = choose_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    precision = choose_precision(config.precision, device, trains_width=config.image_width)
    identities = sorted({sample.identity for sample in data.train})
    label_of = {identity: label for label, identity in enumerate(identities)}
    steps = steps_per_epoch(len(data.train), config.batch_size)

    teacher = load_teacher(config, data)
    with _seeded(config.seed, 0, device):
        model = build_model(config, len(identities))
        distillation = None
        if teacher is not None:
            widths = {"student_width": model.neck.num_features, "teacher_width": teacher.embedding_width}
            distillation = Distillation(config, **widths)
    logger.info(load_pretrained(model, config.pretrained, config.backbone))
    model.freeze(config.freeze)
    model.to(device).to(memory_format=torch.channels_last)
    if teacher is not None:
        teacher.to(device).to(memory_format=torch.channels_last)
    objective = Objective(config, distillation).to(device)
    # Of a frozen backbone: what it makes of the images, in whose place it is trained on. None without, where
    # augmentation makes it another in each epoch, and where a teacher needs the images.
    frozen = frozen_features(model, config, pixels, device=device, precision=precision) if teacher is None else None
    compiled = frozen is None and choose_compiling(config.compile, device, config.num_epochs * steps)
    forward = model.from_pooled if frozen else torch.compile(model, dynamic=False) if compiled else model
    optimizer = build_optimizer(
        model,
        name=config.optimizer,
        learning_rate=config.learning_rate,
        backbone_lr_factor=config.backbone_lr_factor,
        layer_decay=config.layer_decay,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        also=objective.parameters(),
    )
    schedule = build_schedule(optimizer, pct_start=config.pct_start, total_steps=config.num_epochs * steps)
    average = build_average(model, config.ema_rate)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule, "scaler": scaler}
    if average is not None:
        parts["average"] = average
    seen: dict[str, Any] = {"identities": identities, "images": len(data.train)}
    if teacher is not None:
        parts["objective"], seen["teacher"] = objective, teacher_digest(config)

    first_epoch, told = _restore(parts, config, seen, out_dir) if out_dir else (0, None)
    if told is not None:
        yield told
    saved_at = time.monotonic()
    workers = 0 if frozen else _num_workers(config, device)
    resident = workers == 0 and not frozen and _fits_beside_training(pixels, len(data.train), device)
    paths = [sample.path for sample in data.train]
    all_labels = [label_of[sample.identity] for sample in data.train]
    augmentation = Augmentation(
        crop_scale=config.crop_scale,
        flip_probability=config.flip_probability,
        randaugment_operations=config.randaugment_operations,
        randaugment_magnitude=config.randaugment_magnitude,
        erasing_probability=config.erasing_probability,
    )
    batches = training_batches(
        FrozenBatches(frozen, paths, all_labels, config.flip_probability, config.seed)
        if frozen
        else AugmentedBatches(
            pixels, paths, all_labels, augmentation, config.seed, device=device if resident else None
        ),
        batch_size=config.batch_size,
        images_per_identity=config.images_per_identity,
        epochs=range(first_epoch, config.num_epochs),
        num_workers=workers,
        pin_memory=device.type == "cuda" and not (resident or frozen),
    )

    trained = [weight for weight in (*model.parameters(), *objective.parameters()) if weight.requires_grad]

    def compute(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Leaves the clipped gradients of a batch in the parameters; gives the objective's figures and their norm."""
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            output = forward(images)
            taught = None if teacher is None else teacher(images)
        batch = objective(model, output, labels, taught)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(batch.loss).backward()
        scaler.unscale_(optimizer)
        grad_norm = torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm or math.inf)
        return torch.cat([batch.figures, grad_norm.detach().view(1)])

    step_figures: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = compute
    # The other losses choose pairs by their values, which a recorded step cannot.
    by_shape = config.mining == "batch_hard" and (config.metric_loss, config.identity_loss) == PLAIN_LOSSES
    if device.type == "cuda" and not scaler.is_enabled() and by_shape and not frozen:
        shape = (config.batch_size, 3, config.image_height, config.image_width)
        with _seeded(config.seed, 0, device):
            step_figures = as_cuda_graph(compute, model.train(), shape)

    for epoch in range(first_epoch, config.num_epochs):
        started = time.monotonic()
        with _seeded(config.seed, epoch + 1, device):
            figures = torch.zeros(steps, len(objective.figures) + 1, device=device)
            model.train()
            for step, (images, labels) in enumerate(itertools.islice(batches, steps)):
                images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
                figures[step] = step_figures(images, labels)
                if device.type == "cpu" or (step + 1) % CHECKED_STEPS == 0 or step + 1 == steps:
                    _check_losses(figures[: step + 1], objective.figures, epoch + 1)
                scale_before = scaler.get_scale()
                scaler.step(optimizer)
                scaler.update()
                learning_rate = schedule.get_last_lr()[-1]
                if scaler.get_scale() < scale_before:  # overflow: the scaler skipped this step
                    figures[step, -1] = 0
                else:
                    schedule.step()
                    if average is not None:
                        average.update_parameters(model)
            names = (*objective.figures, "grad_norm")
            means = dict(zip(names, figures.cpu().double().mean(dim=0).tolist(), strict=True))
        train_s = time.monotonic() - started

        kept: ReIDModel = average.module if average is not None else model  # type: ignore[assignment]
        _check_finite(epoch + 1, means, kept)
        validation = validate(kept, config, data, pixels, label_of, device=device, precision=precision, frozen=frozen)
        _check_finite(epoch + 1, validation)
        report = EpochReport(
            epoch=epoch + 1,
            num_epochs=config.num_epochs,
            **_reported(means),
            learning_rate=float(learning_rate),
            images_per_s=steps * config.batch_size / train_s,
            seconds=time.monotonic() - started,
            **validation,  # type: ignore[arg-type]
        )
        ends, kept_now = epoch + 1 == config.num_epochs, epoch + 1 in keep_at
        if out_dir and (ends or kept_now):
            save_checkpoint(
                out_dir,
                kept.state_dict(),
                config=config,
                epoch=epoch + 1,
                metrics=report.to_record(),
                identities=identities,
            )
        if out_dir and not ends and (kept_now or time.monotonic() - saved_at >= state_interval_s):
            states = {name: part.state_dict() for name, part in parts.items()}
            about = {"config": config.model_dump(mode="json"), "seen": seen, "report": report.to_record()}
            save_state(out_dir, {**about, **states})
            saved_at = time.monotonic()
        yield report


def _reported(means: dict[str, float]) -> dict[str, Any]:
    """The report's fields of an epoch's mean figures: the experts' usage is one."""
    usage = tuple(mean for name, mean in means.items() if name.startswith("expert_"))
    plain = {name: mean for name, mean in means.items() if not name.startswith("expert_")}
    return {**plain, **({"expert_usage": usage} if usage else {})}


@contextmanager
def _seeded(seed: int, stage: int, device: torch.device) -> Iterator[None]:
    """Random numbers of its own for each epoch: all that is random follows from (seed, epoch), nothing needs saving."""
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence([seed, stage]).generate_state(1)[0]))
        yield


def _num_workers(config: TrainConfig, device: torch.device) -> int:
    """Processes that prepare batches: as many as CPUs beside a GPU, none beside a CPU that computes or with few."""
    if config.num_workers is not None:
        return config.num_workers
    cpus = config.num_threads or usable_cpus()
    return 0 if device.type == "cpu" or cpus < LEAST_WORKERS else min(MOST_WORKERS, cpus)


def _fits_beside_training(pixels: Pixels, images: int, device: torch.device) -> bool:
    """Whether a GPU can keep the pixels and have three quarters of its free memory left to train in."""
    if device.type != "cuda":
        return False
    return images * pixels.height * pixels.width * 3 <= torch.cuda.mem_get_info(device)[0] / 4


def _check_losses(figures: torch.Tensor, names: Sequence[str], epoch: int) -> None:
    """Raises NonFiniteLoss that names the first of the epoch's steps whose loss is not finite, and its terms."""
    if torch.isfinite(figures[:, 0]).all():
        return
    step = int((~torch.isfinite(figures[:, 0])).nonzero()[0])
    terms = ", ".join(
        f"{name.replace('ce_loss', 'identity loss').replace('_', ' ')} {value:.4g}"
        for name, value in zip(names, figures[step].tolist(), strict=False)
        if name.endswith("_loss")
    )
    raise NonFiniteLoss(f"loss is not finite at step {step + 1} of epoch {epoch}: {terms}")


def _check_finite(epoch: int, figures: dict[str, float], model: ReIDModel | None = None) -> None:
    """Raises NonFiniteLoss for what no step's loss shows: the last step's gradients and weights, and validation."""
    bad = [name for name, figure in figures.items() if not math.isfinite(figure)]
    if model is not None and not bad:
        still = {f"{name}." for name, module in model.named_modules() if module in model.frozen}
        changed = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(tuple(still))}
        bad = [name for name, tensor in changed.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise NonFiniteLoss(f"not finite at the end of epoch {epoch}: {', '.join(bad[:3])}")


def _restore(
    parts: dict[str, Any], config: TrainConfig, seen: dict[str, Any], out_dir: str | Path
) -> tuple[int, EpochReport | None]:
    """Loads the training state in `out_dir`, if there is one, into `parts`; gives the epochs that it has behind it and
    the report of the last of them.

    `seen` is what the run learns from. Raises UserError for a state of other settings or images, DamagedFile.
    """
    state = load_state(out_dir)
    if state is None:
        return 0, None
    way_out = "choose another folder, or remove it to train from the beginning"
    try:
        if changed := difference(state["config"], config):
            raise UserError(f"{out_dir}: holds the state of another run: {changed}; {way_out}")
        if state["seen"] != seen:
            images = {**state["seen"], "teacher": None} != {**seen, "teacher": None}
            other = "on other training images" if images else "with other weights of its teacher"
            raise UserError(f"{out_dir}: holds the state of a run {other}; {way_out}")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        report = EpochReport.from_record(state["report"])
        if not 0 < report.epoch <= config.num_epochs:
            raise ValueError("epoch")
    except UserError:
        raise
    except Exception as error:  # what a file says may be anything
        raise DamagedFile(Path(out_dir) / STATE, f"damaged training state; {way_out}") from error
    logger.info("%s: going on after epoch %d", out_dir, report.epoch)
    return report.epoch, report
