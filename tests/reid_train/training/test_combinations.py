"""Every two choices of a run go together, one training epoch shows it, or are refused with the reason.

The combinations are a covering array: few runs, in which every pair that is not refused occurs. What is refused is
found by trying, and must be what is listed here.
"""

import itertools
import math
import random
from functools import cache
from typing import Any

import pytest
import torch

from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import build_model, save_checkpoint
from reid_train.model.backbones import BACKBONES, IBN
from reid_train.settings.config import make_config
from reid_train.training.loop import train_epochs
from tests.narrow_resnet import NarrowResNet
from tests.reid_train.conftest import TINY, choices

NO_KD = {"kd_logits_weight": 0.0}
TEACHER = "(the test's)"
DISTILLATION: dict[str, dict[str, Any]] = {
    "none": {},
    "logits": {"teacher": TEACHER},
    "embedding": {"teacher": TEACHER, **NO_KD, "kd_embedding_weight": 1.0},
    "relation": {"teacher": TEACHER, **NO_KD, "kd_relation_weight": 1.0},
}
CHOICES: dict[str, tuple[Any, ...]] = {
    "backbone": ("resnet18", "resnet50_ibn", "timm/test_vit", "timm/test_efficientnet"),
    "freeze": ("none", "first_1", "backbone"),
    "pooling": tuple(choices("pooling")),
    "parts": (1, 2),
    "fc_layers": (0, 1),
    "moe_experts": (1, 3),
    "identity_loss": tuple(choices("identity_loss")),
    "metric_loss": tuple(choices("metric_loss")),
    "margin": (0.3, "soft"),
    "normalize_features": (False, True),
    "mining": tuple(choices("mining")),
    "images_per_identity": (2, None),
    "optimizer": tuple(choices("optimizer")),
    "ema_rate": (0.0, 0.1),
    "precision": ("float32", "bfloat16", "float16"),
    "distillation": tuple(DISTILLATION),
}
REFUSED = {
    (("backbone", "timm/test_vit"), ("parts", 2)): "gives one vector an image, which has no stripes; set parts to 1",
    (("backbone", "timm/test_efficientnet"), ("parts", 2)): "feature map of 1 rows; lower parts, or raise image_height",
    (("parts", 2), ("fc_layers", 1)): "parts=2 has layers of its own; set fc_layers to 0",
    (("parts", 2), ("identity_loss", "arcface")): "has a classifier a part; set identity_loss to cross_entropy",
    (("parts", 2), ("identity_loss", "cosface")): "has a classifier a part; set identity_loss to cross_entropy",
    (("fc_layers", 0), ("moe_experts", 3)): "are copies of the additional layers; set fc_layers to 1",
    (("parts", 2), ("moe_experts", 3)): "are copies of the additional layers; set fc_layers to 1",
}
TRIES = 300
"""Completions of a pair that are looked at: of those that are not refused, one in ten or more is valid."""
Chosen = dict[str, Any]


def settings(chosen: Chosen, teacher: str = TEACHER) -> dict[str, Any]:
    """TrainConfig's values for one choice of each."""
    lesson = {
        name: teacher if value == TEACHER else value for name, value in DISTILLATION[chosen["distillation"]].items()
    }
    heads = {"fc_width": 24, "part_width": 8, "moe_top_k": min(2, chosen["moe_experts"]), "last_stride": 1}
    chosen = {name: value for name, value in chosen.items() if name != "distillation"}
    return {**TINY, "image_width": 32, **heads, **chosen, **lesson, "num_epochs": 1, "pct_start": 0.6}


def pairs(chosen: Chosen) -> set[tuple[Any, Any]]:
    return set(itertools.combinations(chosen.items(), 2))


def refusal(chosen: Chosen) -> str | None:
    """Why there is no such run; None where there is."""
    try:
        config = make_config(settings(chosen), "test")
        return _backbone_refusal(config.backbone, config.parts)
    except UserError as error:
        return str(error)


@cache
def _backbone_refusal(backbone: str, parts: int) -> str | None:
    """What only a model that is made shows, whatever else was chosen."""
    try:
        build_model(make_config({**TINY, "backbone": backbone, "parts": parts, "last_stride": 1}, "test"), 5)
    except UserError as error:
        return str(error)
    return None


@cache
def covering() -> tuple[list[Chosen], frozenset[tuple[Any, Any]]]:
    """Combinations in which every pair occurs that any valid one has, and the pairs that none has."""
    rng, rows, refused = random.Random(0), list[Chosen](), set[tuple[Any, Any]]()
    left = {
        pair
        for one, other in itertools.combinations(CHOICES, 2)
        for pair in itertools.product([(one, value) for value in CHOICES[one]], [(other, v) for v in CHOICES[other]])
    }
    while left:
        pair = min(left, key=repr)
        valid = []
        for _ in range(TRIES):
            drawn = {name: rng.choice(values) for name, values in CHOICES.items()} | dict(pair)
            if refusal(drawn) is None:
                valid.append(drawn)
        if valid:
            rows.append(max(valid, key=lambda row: len(pairs(row) & left)))
            left -= pairs(rows[-1])
        else:
            refused.add(pair)
            left.discard(pair)
    return rows, frozenset(refused)


def test_what_is_refused_is_what_is_listed_each_with_its_reason():
    assert covering()[1] == set(REFUSED)
    for pair, reason in REFUSED.items():
        plain = {name: values[0] for name, values in CHOICES.items()}
        said = refusal({**plain, **dict(pair)})
        assert said is not None and reason in said and "\n" not in said


@pytest.fixture
def backbones(monkeypatch, narrow):
    """resnet50_ibn is narrow, too."""

    def narrow_ibn(**options):
        network = NarrowResNet(**options)
        for stage in (network.layer1, network.layer2, network.layer3):
            stage[0].bn1 = IBN(stage[0].bn1.num_features)
        return network

    monkeypatch.setitem(BACKBONES, "resnet50_ibn", (narrow_ibn, "", 64))


def test_every_other_pair_takes_training_steps(backbones, data, wide_pixels, tmp_path, monkeypatch):
    scaler = (
        torch.amp.GradScaler
    )  # begins at 2^16: in so few steps it would skip them all until it has a scale that fits
    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda device, enabled: scaler(device, init_scale=1.0, enabled=enabled)
    )
    identities = sorted({sample.identity for sample in data.train})
    lessons = make_config({**TINY, "image_height": 48, "fc_layers": 1, "fc_width": 32}, "teacher")
    state = build_model(lessons, len(identities)).state_dict()
    save_checkpoint(tmp_path, state, config=lessons, epoch=1, metrics={}, identities=identities)
    rows, _ = covering()
    assert len(rows) < 40  # a run each
    for chosen in rows:
        config = make_config(settings(chosen, teacher=str(tmp_path)), "test")
        torch.manual_seed(0)
        (report,) = train_epochs(config, data, wide_pixels)
        assert math.isfinite(report.loss) and math.isfinite(report.val_mAP), chosen
        assert report.grad_norm > 0, chosen
        assert (report.kd_loss is not None) == (chosen["distillation"] != "none"), chosen
        assert (report.expert_usage is not None) == (chosen["moe_experts"] > 1), chosen
