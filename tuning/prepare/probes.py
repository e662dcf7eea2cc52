"""What is tried before a search, in processes of its own: the process that steers a search does without torch.

Each function is called by data.system.processes.in_processes.
"""

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read when torch is loaded: threads that spin wait for each other longer

import torch

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from reid_train.checkpoints.checkpoint import build_model
from reid_train.checkpoints.pretrained import load_pretrained
from reid_train.inference.cost import latency_ms, parameters_and_width
from reid_train.settings.config import TrainConfig
from reid_train.training.loop import train_epochs
from reid_train.training.teacher import load_teacher, teacher_digest
from tuning.record.facts import Prices
from tuning.record.prices import architecture_key

ROUNDS = 3
SLOW_S = 60.0
"""An epoch of a few steps that takes longer is not trained twice."""


def step_s(config: TrainConfig, part: TrainingData, pixels: Pixels) -> float:
    """Seconds of a training step, in the second of two epochs: the first pays for what is made once. Where that takes
    longer than SLOW_S, the first has to do: the time comes off the search's own."""
    epochs = train_epochs(config.changed(num_epochs=2, pct_start=0.5), part, pixels)
    measured = next(epochs)
    if measured.seconds < SLOW_S:
        measured = next(epochs)
    return config.batch_size / measured.images_per_s


def prices(configs: list[TrainConfig], wanted: tuple[str, ...]) -> Prices:
    """The wanted costs of each configuration's architecture."""
    costs: list[dict[str, float]] = [dict(parameters_and_width(config)) for config in configs]
    if "latency_ms" in wanted:
        # Whatever else the machine does slows some rounds and quickens none: the shortest time of all rounds counts.
        rounds = [[latency_ms(config) for config in configs] for _ in range(ROUNDS)]
        costs = [{**own, "latency_ms": round(min(times), 3)} for own, *times in zip(costs, *rounds, strict=True)]
    return [
        (architecture_key(config), {name: own[name] for name in wanted})
        for config, own in zip(configs, costs, strict=True)
    ]


def starts(configs: list[TrainConfig], identities: int) -> list[str]:
    """A line for each backbone with each of its starting weights: what matched. Raises UserError for a model that
    cannot be made and for weights that are not there or do not fit."""
    for config in configs:  # all of them before the first weights, which may take minutes to come
        with torch.device("meta"):
            build_model(config, identities).freeze(config.freeze)
    lines = dict[tuple[str, str], str]()
    for config in configs:
        key = config.backbone, config.pretrained
        if key not in lines and config.pretrained != "none":
            model = build_model(config, identities)
            lines[key] = f"{config.backbone}: {load_pretrained(model, config.pretrained)}"
    return list(lines.values())


def teachers(lessons: list[TrainConfig], data: TrainingData) -> str | None:
    """Digests of these configurations' teachers; None where none has one. Raises UserError for a teacher that is not
    there or cannot teach on this data."""
    for config in lessons:
        load_teacher(config, data)
    digests = {config.teacher: teacher_digest(config) for config in lessons}
    return ", ".join(digest for digest in digests.values() if digest) or None
