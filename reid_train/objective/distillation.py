"""Distillation's losses: the student learns to answer as a teacher does that sees the same batch.

    distillation = Distillation(DistillationSettings(kd_embedding_weight=1), student_width=512, teacher_width=2048)
    loss = distillation(model(images), teacher(images))

Softened logits after Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), embeddings by their cosine, and relational
distances after Park et al., CVPR 2019 (RKD-D, arXiv 1904.05068).
"""

# B images, D embedding width (student's or teacher's), P parts, I identities

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from reid_train.model.network import ModelOutput
from reid_train.objective.losses import pairwise_distances
from reid_train.objective.settings import DistillationSettings


class Taught(NamedTuple):
    """What the teacher makes of a batch; without gradients."""

    embedding_BD: torch.Tensor
    """What it would retrieve by."""
    logits_BI: torch.Tensor | None
    """Its scores of the student's identities, mean over its parts; None when they are not asked for."""


class Distillation(nn.Module):
    """The weighted sum of the configured losses between a student and what it is taught.

    Where the widths differ, a learned projection takes the student's embedding to the teacher's width. It is trained
    with the student and no part of it: a checkpoint does not hold it.
    """

    def __init__(self, settings: DistillationSettings, *, student_width: int, teacher_width: int):
        super().__init__()
        self.settings = settings
        projects = settings.kd_embedding_weight > 0 and student_width != teacher_width
        self.projection = nn.Linear(student_width, teacher_width, bias=False) if projects else nn.Identity()

    def forward(self, output: ModelOutput, taught: Taught) -> torch.Tensor:
        settings = self.settings
        loss = torch.zeros((), device=output.embedding_BD.device)
        with torch.autocast(loss.device.type, enabled=False):
            embedding_BD, teacher_BD = output.embedding_BD.float(), taught.embedding_BD.float()
            if taught.logits_BI is not None:
                softened = logits_loss(output.logits_PBI, taught.logits_BI, settings.kd_temperature)
                loss = loss + settings.kd_logits_weight * softened
            if settings.kd_embedding_weight > 0:
                loss = loss + settings.kd_embedding_weight * embedding_loss(self.projection(embedding_BD), teacher_BD)
            if settings.kd_relation_weight > 0:
                loss = loss + settings.kd_relation_weight * relation_loss(embedding_BD, teacher_BD)
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
