"""Checks once, before any trial, that the models of a space can be made and taught, and says what weights they get.

starts_of(space, identities=751)  # ["resnet50: imagenet: 318 of 318 tensors matched"]
"""

from pathlib import Path

from data.sets.splits import TrainingData
from data.system.kept import file_digest
from data.system.processes import in_processes
from reid_train.model.settings import TIMM
from reid_train.objective.settings import KD_WEIGHTS
from tuning.record.folders import WEIGHTS
from tuning.record.job import weights_file
from tuning.space.space import SearchSpace

DECIDING = ("backbone", "pretrained", "parts", "freeze")
"""The settings that decide whether a model can be made."""
MOST_LESSONS = 10_000
"""Combinations of teachers and weights of their losses that a space may search."""
MOST_STARTS = 256
"""Combinations of values of DECIDING that a space may search: each model is made once, without memory for weights."""


def starts_of(space: SearchSpace, identities: int) -> list[str]:
    """A line for each backbone with each of its starting weights: what matched. None for random weights.

    Raises UserError for weights that are not there and for models that cannot be made.
    """
    configs = space.combinations(DECIDING, MOST_STARTS, f"combinations of {', '.join(DECIDING)}")
    doubtful = [c for c in configs if c.pretrained != "none" or c.backbone.startswith(TIMM) or c.freeze != "none"]
    lines = in_processes("tuning.prepare.probes:starts", doubtful, identities)[0] if doubtful else []
    return list(lines)


def starting_weights(space: SearchSpace) -> str | None:
    """Digests of the files that trials start from, which a study compares before it goes on; None without any."""
    named = [weights_file(value) for values in space.reach("pretrained") for value in values]
    paths = [Path(name) for name in dict.fromkeys(filter(None, named))]
    digests = [file_digest(path / WEIGHTS if path.is_dir() else path) for path in paths]
    return ", ".join(digests) or None


def teachers_in(space: SearchSpace, data: TrainingData) -> str | None:
    """Digests of the space's teachers, which a study compares before it goes on; None without any.

    Raises UserError for one that is not there, or that cannot teach on this data.
    """
    if all(teacher is None for values in space.reach("teacher") for teacher in values):
        return None
    lessons = space.combinations(("teacher", *KD_WEIGHTS), MOST_LESSONS, "ways to be taught, each checked")
    asked = {(config.teacher, config.kd_logits_weight > 0): config for config in lessons if config.distills}
    found = in_processes("tuning.prepare.probes:teachers", [*asked.values()], data)[0] if asked else None
    return None if found is None else str(found)
