"""Knowledge distillation: a trained teacher sees the student's batches, and the student learns to answer as it does.

Softened logits after Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), embeddings by their cosine, and relational
distances after Park et al., CVPR 2019 (RKD-D, arXiv 1904.05068).
"""

# B images, D embedding width (student's or teacher's), P parts, I identities

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from data.sets.splits import TrainingData
from data.system.errors import UserError
from reid_train.checkpoint import WEIGHTS, build_model, load_network
from reid_train.config import KD_WEIGHTS, TIMM, TrainConfig, make_config
from reid_train.model.backbones import load_matching
from reid_train.model.network import ModelOutput, ReIDModel
from reid_train.objective.losses import pairwise_distances

if TYPE_CHECKING:
    from reid_train.model.foundation import TimmBackbone

logger = logging.getLogger(__name__)


class Taught(NamedTuple):
    """What the teacher makes of a batch; without gradients."""

    embedding_BD: torch.Tensor
    """What it would retrieve by."""
    logits_BI: torch.Tensor | None
    """Its scores of the student's identities, mean over its parts; None when they are not asked for."""


class Teacher(nn.Module):
    """uint8 images of any size (B x 3 x H x W) -> Taught. In evaluation mode, with weights that stay as they are."""

    def __init__(self, model: ReIDModel, *, height: int, width: int, outputs: Sequence[int] | None):
        """`height` and `width` are of the images that it was trained on, in pixels; `outputs` are those of its
        classifier's that belong to the student's identities, None when it is not asked for them."""
        super().__init__()
        self.model = model.requires_grad_(False)
        self.size = height, width
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


class Distillation(nn.Module):
    """The weighted sum of the configured losses between a student and what it is taught.

    Where the widths differ, a learned projection takes the student's embedding to the teacher's width. It is trained
    with the student and no part of it: a checkpoint does not hold it.
    """

    def __init__(self, config: TrainConfig, *, student_width: int, teacher_width: int):
        super().__init__()
        self.config = config
        projects = config.kd_embedding_weight > 0 and student_width != teacher_width
        self.projection = nn.Linear(student_width, teacher_width, bias=False) if projects else nn.Identity()

    def forward(self, output: ModelOutput, taught: Taught) -> torch.Tensor:
        config = self.config
        loss = torch.zeros((), device=output.embedding_BD.device)
        with torch.autocast(loss.device.type, enabled=False):
            embedding_BD, teacher_BD = output.embedding_BD.float(), taught.embedding_BD.float()
            if taught.logits_BI is not None:
                softened = logits_loss(output.logits_PBI, taught.logits_BI, config.kd_temperature)
                loss = loss + config.kd_logits_weight * softened
            if config.kd_embedding_weight > 0:
                loss = loss + config.kd_embedding_weight * embedding_loss(self.projection(embedding_BD), teacher_BD)
            if config.kd_relation_weight > 0:
                loss = loss + config.kd_relation_weight * relation_loss(embedding_BD, teacher_BD)
        return loss


def logits_loss(student_PBI: torch.Tensor, teacher_BI: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 x KL divergence of the student's softened probabilities from the teacher's, mean over images and the
    student's parts, at least 0. T^2 keeps the gradients' size whatever the temperature (Hinton et al., section 2.1).
    """
    student_PBI = (student_PBI.float() / temperature).log_softmax(dim=2)
    teacher_BI = (teacher_BI.float() / temperature).log_softmax(dim=1)
    divergence_PBI = teacher_BI.exp() * (teacher_BI - student_PBI)
    return temperature**2 * divergence_PBI.sum(dim=2).mean()


def embedding_loss(student_BD: torch.Tensor, teacher_BD: torch.Tensor) -> torch.Tensor:
    """1 - cosine of each image's two embeddings, which are of one width; mean, 0 to 2."""
    return 1 - F.cosine_similarity(student_BD, teacher_BD).mean()


def relation_loss(student_BD: torch.Tensor, teacher_BD: torch.Tensor) -> torch.Tensor:
    """Huber loss between the distances of all pairs of images, each in units of its batch's mean (RKD-D); mean.

    Widths may differ. Unlike the paper's, embeddings are of unit length: retrieval compares directions.
    """

    def relations(embedding_BD: torch.Tensor) -> torch.Tensor:
        distance_BB = pairwise_distances(F.normalize(embedding_BD))
        count = len(distance_BB)
        first, second = torch.triu_indices(count, count, offset=1, device=distance_BB.device)
        distance_N = distance_BB[first, second]
        return distance_N / distance_N.mean()

    return F.smooth_l1_loss(relations(student_BD), relations(teacher_BD))


def load_teacher(config: TrainConfig, data: TrainingData) -> Teacher | None:
    """The configured teacher, on the CPU; None where nothing is distilled.

    Raises UserError for a checkpoint that is missing or damaged, one that has seen the validation identities, and
    where its logits are asked for, one that does not know all of the student's.
    """
    if config.teacher is None:
        return None
    if not config.distills:
        logger.warning("teacher=%s teaches nothing: %s are 0", config.teacher, ", ".join(KD_WEIGHTS))
        return None
    if config.teacher.startswith(TIMM):
        settings = foundation_settings(config.teacher)
        model = build_model(settings, identities=1)  # whose neck passes on what it is given
        backbone: TimmBackbone = model.backbone  # type: ignore[assignment]
        try:
            load_matching(backbone.net, backbone.imagenet_state(), "imagenet")
        except UserError as error:
            raise UserError(f"teacher={config.teacher}: {error}; or take a checkpoint of this project") from error
        return Teacher(model, height=settings.image_height, width=settings.image_width, outputs=None)
    path = teacher_file(config.teacher)
    model, checkpoint = load_network(path)
    known, others = checkpoint.identities, checkpoint.config.dataset
    elsewhere = None not in (others, config.dataset) and others != config.dataset
    held_out = {sample.identity for sample in (*data.query, *data.gallery)}
    if (seen := sorted(held_out.intersection(known))) and not elsewhere:
        raise UserError(
            f"teacher={config.teacher}: was trained on {len(seen)} of {len(held_out)} validation identities "
            f"({_few(seen)}), and what it teaches of them would flatter every score; train it with "
            f"split_seed={config.split_seed} and validation_fraction={config.validation_fraction:g}, as a trial is"
        )
    outputs = None
    if config.kd_logits_weight > 0:
        places = {identity: place for place, identity in enumerate(known)}
        wanted = sorted({sample.identity for sample in data.train})
        missing = wanted if elsewhere else [identity for identity in wanted if identity not in places]
        if missing:
            raise UserError(
                f"teacher={config.teacher}: its classifier does not know {len(missing)} of {len(wanted)} training "
                f"identities ({_few(missing)}); train it on these images, or set kd_logits_weight to 0"
            )
        outputs = [places[identity] for identity in wanted]
    size = {"height": checkpoint.config.image_height, "width": checkpoint.config.image_width}
    return Teacher(model, **size, outputs=outputs)


def foundation_settings(teacher: str) -> TrainConfig:
    """The settings of a foundation backbone that is a teacher: its own weights and image size, in pixels."""
    import timm

    from reid_train.model.foundation import check_name

    name = teacher.removeprefix(TIMM)
    check_name(name, setting="teacher")
    known = timm.get_pretrained_cfg(name)
    if known is None:
        raise UserError(f"teacher={teacher}: timm has no trained weights of it; timm.list_models(pretrained=True)")
    _, height, width = known.input_size
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
    """What a run with this teacher can be compared by: the SHA-256 of its file, in hex; None where there is none."""
    if not config.distills or config.teacher is None or config.teacher.startswith(TIMM):
        return None
    with teacher_file(config.teacher).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _few(identities: list[int]) -> str:
    return ", ".join(map(str, identities[:3])) + (", ..." if len(identities) > 3 else "")
