"""What a training run is made of, and how it is set up: all that the loop in reid_train/training/loop.py uses.

run = prepare(config, data, pixels)
figures = run.step(images, labels)  # gradients are left in run.model
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler

from data.pixels.cache import Pixels
from data.pixels.sampler import steps_per_epoch
from data.sets.splits import TrainingData
from data.system.limits import usable_cpus
from reid_train.checkpoints.checkpoint import build_model
from reid_train.checkpoints.pretrained import load_pretrained
from reid_train.model.device import as_cuda_graph, choose_device, choose_precision, keep_freed_memory, place
from reid_train.model.network import ReIDModel, autocast
from reid_train.objective.distillation import Distillation
from reid_train.objective.losses import is_static
from reid_train.objective.weighted_sum import Objective
from reid_train.settings.config import TrainConfig, check_training
from reid_train.training.frozen import frozen_features
from reid_train.training.inputs import Inputs, Pictures
from reid_train.training.learned_from import learned_from
from reid_train.training.optim import MovingAverage, NoAverage, build_average, build_optimizer, build_schedule
from reid_train.training.teacher import Teacher, load_teacher

logger = logging.getLogger(__name__)

Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A batch's inputs and labels -> its figures; gradients are left in the parameters, clipped."""


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """One run, before its first step or to go on from a state."""

    device: torch.device
    identities: list[int]
    """The identity of each of the classifier's outputs."""
    steps: int
    """In an epoch."""
    inputs: Inputs
    """Where batches, and the features of validation images, come from."""
    model: ReIDModel
    average: MovingAverage | NoAverage
    """Its `module` is what is validated and kept: the moving average of the weights, or the model itself."""
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    """Does nothing but in float16."""
    schedule: LRScheduler
    step: Step
    figures: tuple[str, ...]
    """The names of what `step` gives; the loss is the first, the gradients' norm the last."""
    parts: dict[str, Any]
    """What a training state holds: everything above that training changes."""
    seen: dict[str, Any]
    """What the run learns from: a state of a run that learned from something else is refused."""


def prepare(config: TrainConfig, data: TrainingData, pixels: Pixels) -> TrainingRun:
    """Everything with its starting weights, on its device. Raises UserError for what cannot be trained."""
    check_training(config, data)
    device, precision = _machine(config)
    identities = sorted({sample.identity for sample in data.train})
    steps = steps_per_epoch(len(data.train), config.batch_size)
    total_steps = config.num_epochs * steps
    teacher = load_teacher(config, data)
    model, objective = _learners(config, teacher, len(identities), device)
    pixels = pixels.at(config.image_height, config.image_width)
    inputs = _inputs(model, config, pixels, teacher, device, precision)
    optimizer = build_optimizer(model, config, also=objective.parameters())
    schedule = build_schedule(optimizer, pct_start=config.pct_start, total_steps=total_steps)
    average = build_average(model, config.ema_rate)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    forward = inputs.forward(model, config, total_steps)
    step = _gradients(config, model, forward, teacher, objective, optimizer, scaler, precision)
    if device.type == "cuda" and precision != torch.float16 and isinstance(inputs, Pictures):
        step = _recorded(step, model, config, device)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule, "scaler": scaler}
    if isinstance(average, MovingAverage):
        parts["average"] = average
    if teacher is not None:
        parts["objective"] = objective
    return TrainingRun(
        device=device,
        identities=identities,
        steps=steps,
        inputs=inputs,
        model=model,
        average=average,
        optimizer=optimizer,
        scaler=scaler,
        schedule=schedule,
        step=step,
        figures=(*objective.figures, "grad_norm"),
        parts=parts,
        seen=learned_from(config, data, pixels),
    )


def _machine(config: TrainConfig) -> tuple[torch.device, torch.dtype]:
    """Where and in which precision to compute; sets this process's threads and memory up for it."""
    # PyTorch counts the machine's CPUs, not those that a container may use.
    torch.set_num_threads(config.num_threads or min(torch.get_num_threads(), usable_cpus()))
    device = choose_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    return device, choose_precision(config.precision, device, trains_width=config.image_width)


def _learners(
    config: TrainConfig, teacher: Teacher | None, identities: int, device: torch.device
) -> tuple[ReIDModel, Objective]:
    """The model with its starting weights, and what it minimises, on the device; the teacher is taken there too."""
    with seeded(config.seed, 0, device):
        model = build_model(config, identities)
        distillation = None
        if teacher is not None:
            widths = {"student_width": model.neck.num_features, "teacher_width": teacher.embedding_width}
            distillation = Distillation(config, **widths)
            place(teacher, device)
    logger.info(load_pretrained(model, config.pretrained))
    model.freeze(config.freeze)
    place(model, device)
    return model, Objective(config, experts=config.moe_experts, distillation=distillation).to(device)


def _inputs(
    model: ReIDModel,
    config: TrainConfig,
    pixels: Pixels,
    teacher: Teacher | None,
    device: torch.device,
    precision: torch.dtype,
) -> Inputs:
    """What a frozen backbone makes of the pictures, where that stays the same and no teacher needs the pictures."""
    frozen = None
    if teacher is None:
        frozen = frozen_features(model, config, pixels, device=device, precision=precision)
    return frozen or Pictures(pixels, device, precision)


def _gradients(
    config: TrainConfig,
    model: ReIDModel,
    forward: Callable[[torch.Tensor], Any],
    teacher: Teacher | None,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    precision: torch.dtype,
) -> Step:
    trained = [weight for weight in (*model.parameters(), *objective.parameters()) if weight.requires_grad]
    device = next(model.parameters()).device

    def compute(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with autocast(device, precision):
            output = forward(inputs)
            taught = None if teacher is None else teacher(inputs)
        batch = objective(model, output, labels, taught)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(batch.loss).backward()
        scaler.unscale_(optimizer)
        grad_norm = torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm or math.inf)
        return torch.cat([batch.figures, grad_norm.detach().view(1)])

    return compute


def _recorded(step: Step, model: ReIDModel, config: TrainConfig, device: torch.device) -> Step:
    """The step as a CUDA graph. A loss that chooses pairs by their values cannot be recorded: then the step itself."""
    if not (is_static(config) and model.classifier.static):
        return step
    shape = (config.batch_size, 3, config.image_height, config.image_width)
    with seeded(config.seed, 0, device):
        return as_cuda_graph(step, model.train(), shape)


@contextmanager
def seeded(seed: int, stage: int, device: torch.device) -> Iterator[None]:
    """Random numbers of its own for each epoch: all that is random follows from (seed, epoch), nothing needs saving."""
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence([seed, stage]).generate_state(1)[0]))
        yield
