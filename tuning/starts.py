"""Whether the models of a space can be made, and what their starting weights give them: found before any is trained."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from data.errors import UserError
from reid_train.config import TIMM, TrainConfig
from tuning.space import SearchSpace

DECIDING = ("backbone", "pretrained", "parts", "freeze")
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


def _starts(configs: list[TrainConfig], identities: int) -> tuple[list[str], str | None]:
    """The lines, and what a user can mend."""
    import torch

    from reid_train.checkpoint import build_model, load_pretrained

    lines = dict[tuple[str, str], str]()
    try:
        for config in configs:  # all before the first weights, which may take minutes to come
            with torch.device("meta"):
                build_model(config, identities).freeze(config.freeze)
        for config in configs:
            key = config.backbone, config.pretrained
            if key not in lines and config.pretrained != "none":
                model = build_model(config, identities)
                lines[key] = f"{config.backbone}: {load_pretrained(model, config.pretrained, config.backbone)}"
    except UserError as error:
        return [], str(error)
    return list(lines.values()), None
