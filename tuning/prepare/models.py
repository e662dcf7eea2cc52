"""Whether the models of a space can be made and taught, and what their starting weights give them: found before any is
trained."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from data.sets.splits import TrainingData
from data.system.errors import UserError
from reid_train.config import TrainConfig
from reid_train.model.settings import TIMM
from reid_train.objective.settings import KD_WEIGHTS
from tuning.space.space import SearchSpace

DECIDING = ("backbone", "pretrained", "parts", "freeze")
MOST_LESSONS = 10_000
"""Teachers with weights of their losses that a space may search."""
MOST_STARTS = 256
"""Combinations of values of DECIDING: each is made once, without its memory."""


def starts_of(space: SearchSpace, identities: int) -> list[str]:
    """What each of the space's starting weights gives each of its backbones, a line each; none for random weights.

    Raises UserError for weights that are not there and for models that cannot be: once, and not in every trial.
    """
    configs = space.combinations(DECIDING, MOST_STARTS, f"combinations of {', '.join(DECIDING)}")
    doubtful = [c for c in configs if c.pretrained != "none" or c.backbone.startswith(TIMM) or c.freeze != "none"]
    if not doubtful:
        return []
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # this process does without torch
        lines, problem = pool.submit(_starts, doubtful, identities).result()
    if problem is not None:
        raise UserError(problem)
    return lines


def teachers_in(space: SearchSpace, data: TrainingData) -> str | None:
    """What the space's teachers can be compared by, when the study is gone on with; None without any.

    Raises UserError for one that is not there, or that cannot teach on this data: once, and not in every trial.
    """
    if all(teacher is None for values in space.reach("teacher") for teacher in values):
        return None
    from reid_train.teacher import load_teacher, teacher_digest

    lessons = space.combinations(("teacher", *KD_WEIGHTS), MOST_LESSONS, "ways to be taught, each checked")
    asked = {(config.teacher, config.kd_logits_weight > 0): config for config in lessons if config.distills}
    for config in asked.values():
        load_teacher(config, data)
    digests = {config.teacher: teacher_digest(config) for config in asked.values()}
    return ", ".join(digest for digest in digests.values() if digest) or None


def _starts(configs: list[TrainConfig], identities: int) -> tuple[list[str], str | None]:
    """The lines, and what a user can mend."""
    import torch

    from reid_train.checkpoint import build_model
    from reid_train.pretrained import load_pretrained

    lines = dict[tuple[str, str], str]()
    try:
        for config in configs:  # all before the first weights, which may take minutes to come
            with torch.device("meta"):
                build_model(config, identities).freeze(config.freeze)
        for config in configs:
            key = config.backbone, config.pretrained
            if key not in lines and config.pretrained != "none":
                model = build_model(config, identities)
                lines[key] = f"{config.backbone}: {load_pretrained(model, config.pretrained)}"
    except UserError as error:
        return [], str(error)
    return list(lines.values()), None
