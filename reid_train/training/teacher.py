"""The teacher of distillation: a trained model, or a foundation backbone, that sees the student's batches.

teacher = load_teacher(config, data)  # None where config.teacher is null
taught = teacher(images)
"""

# B images, D embedding width

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from data.sets.splits import TrainingData
from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import WEIGHTS, Checkpoint, build_model, load_network
from reid_train.checkpoints.pretrained import published_state
from reid_train.model.hub import input_size, is_source
from reid_train.model.matching import load_matching
from reid_train.model.network import ReIDModel
from reid_train.model.settings import TIMM
from reid_train.objective.distillation import Taught
from reid_train.objective.settings import KD_WEIGHTS
from reid_train.settings.config import TrainConfig, make_config

logger = logging.getLogger(__name__)


class Teacher(nn.Module):
    """uint8 images of any size (B x 3 x H x W) -> Taught. In evaluation mode, with weights that stay as they are."""

    def __init__(self, model: ReIDModel, settings: TrainConfig, *, outputs: Sequence[int] | None):
        """`settings` are those that it was trained with; `outputs` are the classifier's outputs that belong to the
        student's identities, None when its scores are not asked for."""
        super().__init__()
        self.model = model.requires_grad_(False)
        self.size = settings.image_height, settings.image_width
        self.register_buffer("outputs", None if outputs is None else torch.tensor(outputs))
        self.eval()

    @property
    def embedding_width(self) -> int:
        return self.model.neck.num_features

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> Taught:
        if images.shape[2:] != self.size:
            images = F.interpolate(images.float(), self.size, mode="bilinear", antialias=True)
        embedding_BD = self.model(images)
        if self.outputs is None:
            return Taught(embedding_BD, None)
        return Taught(embedding_BD, self.model.classifier(embedding_BD).mean(dim=0)[:, self.outputs])


def load_teacher(config: TrainConfig, data: TrainingData) -> Teacher | None:
    """The configured teacher, on the CPU; None where nothing is distilled.

    Raises UserError for a checkpoint that is missing or damaged, for one that has seen the validation identities, and,
    where its scores are asked for, for one that does not know all of the student's identities.
    """
    if config.teacher is None:
        return None
    if not config.distills:
        logger.warning("teacher=%s teaches nothing: %s are 0", config.teacher, ", ".join(KD_WEIGHTS))
        return None
    if config.teacher.startswith(TIMM):
        return _foundation(config.teacher)
    model, checkpoint = load_network(teacher_file(config.teacher))
    others = checkpoint.config.dataset
    elsewhere = None not in (others, config.dataset) and others != config.dataset
    if not elsewhere:
        _check_unseen(config, data, checkpoint)
    outputs = _outputs(config, data, [] if elsewhere else checkpoint.identities)
    return Teacher(model, checkpoint.config, outputs=outputs)


def _foundation(teacher: str) -> Teacher:
    """timm's model with its published weights."""
    settings = foundation_settings(teacher)
    model = build_model(settings, identities=1)  # whose neck passes on what it is given
    try:
        load_matching(model, *published_state(model), head=False)
    except UserError as error:
        raise UserError(f"teacher={teacher}: {error}; or take a checkpoint of this project") from error
    return Teacher(model, settings, outputs=None)


def _check_unseen(config: TrainConfig, data: TrainingData, checkpoint: Checkpoint) -> None:
    """Raises UserError when the teacher was trained on identities that validate the student."""
    held_out = {sample.identity for sample in (*data.query, *data.gallery)}
    if seen := sorted(held_out.intersection(checkpoint.identities)):
        raise UserError(
            f"teacher={config.teacher}: was trained on {len(seen)} of {len(held_out)} validation identities "
            f"({_few(seen)}), and what it teaches of them would flatter every score; train it with "
            f"split_seed={config.split_seed} and validation_fraction={config.validation_fraction:g}, as a trial is"
        )


def _outputs(config: TrainConfig, data: TrainingData, known: Sequence[int]) -> list[int] | None:
    """Which of the teacher's outputs, one for each of the `known` identities, are of the student's, in their order.

    None where its scores are not asked for. Raises UserError when it does not know all.
    """
    if config.kd_logits_weight == 0:
        return None
    places = {identity: place for place, identity in enumerate(known)}
    wanted = sorted({sample.identity for sample in data.train})
    if missing := [identity for identity in wanted if identity not in places]:
        raise UserError(
            f"teacher={config.teacher}: its classifier does not know {len(missing)} of {len(wanted)} training "
            f"identities ({_few(missing)}); train it on these images, or set kd_logits_weight to 0"
        )
    return [places[identity] for identity in wanted]


def foundation_settings(teacher: str) -> TrainConfig:
    """The settings of a foundation backbone that is a teacher: its own weights and image size."""
    import timm  # takes 2 s: only who asks for it pays

    from reid_train.model.foundation import check_name

    name = teacher.removeprefix(TIMM)
    check_name(name, setting="teacher")
    if is_source(name):
        height, width = input_size(name)
        return _settings_of(teacher, height, width)
    known = timm.get_pretrained_cfg(name)
    if known is None:
        raise UserError(f"teacher={teacher}: timm has no trained weights of it; timm.list_models(pretrained=True)")
    _, height, width = known.input_size
    return _settings_of(teacher, height, width)


def _settings_of(teacher: str, height: int, width: int) -> TrainConfig:
    values = {"backbone": teacher, "pretrained": "imagenet", "image_height": height, "image_width": width}
    return make_config(values, f"teacher={teacher}")


def teacher_file(teacher: str) -> Path:
    """The file with the weights of a checkpoint that is a teacher. Raises UserError when it is not there."""
    path = Path(os.path.expanduser(teacher))  # noqa: PTH111 - Path's raises for users that there are not
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"teacher={teacher}: no such checkpoint; train it first, and give the folder that holds {WEIGHTS}"
        )
    return file


def teacher_digest(config: TrainConfig) -> str | None:
    """What a run with this teacher can be compared by: the SHA-256 of its file, in hex; None where there is no file."""
    if not config.distills or config.teacher is None or config.teacher.startswith(TIMM):
        return None
    with teacher_file(config.teacher).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _few(identities: list[int]) -> str:
    return ", ".join(map(str, identities[:3])) + (", ..." if len(identities) > 3 else "")
