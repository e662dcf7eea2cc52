"""Every setting is read, and every choice of a setting has code of its own: a change of it changes what a run gives."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reid_train.training.inputs
from data.pixels.cache import open_pixels
from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import build_model, load_checkpoint, save_checkpoint
from reid_train.model.classifiers import build_classifier
from reid_train.model.network import ReIDModel
from reid_train.objective.losses import feature_loss
from reid_train.settings.config import FIELD_NAMES, TrainConfig
from reid_train.training.images import read_training
from reid_train.training.loop import train_epochs
from reid_train.training.optim import build_optimizer
from tests.reid_train.conftest import choices, tiny_config

OUTSIDE, BROKEN, OTHER, TEACHER = "(linked images)", "(a broken image)", "(other images)", "(a checkpoint)"
MISNAMED, FLAT = "(images with other names)", "(images beside a data set's folder)"
"""Stand for paths that the fixture `places` makes."""
EXPERTS = {"fc_layers": 1, "fc_width": 8, "moe_experts": 3}
CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "data_dir": (OTHER, {}),
    "dataset": ("veri", {}),
    "name_pattern": (r"(?P<identity>\d+)_c(?P<camera>\d)", {"data_dir": FLAT}),
    "outside_images": (True, {"data_dir": OUTSIDE}),
    "max_left_out": (1.0, {"data_dir": MISNAMED}),
    "on_bad_image": ("skip", {"data_dir": BROKEN}),
    "validation_fraction": (0.7, {}),
    "holdout_images_per_identity": (0, {}),
    "batch_size": (4, {}),
    "images_per_identity": (None, {}),
    "num_workers": (3, {}),
    "crop_scale": (0.3, {}),
    "flip_probability": (0.0, {}),
    "randaugment_operations": (2, {}),
    "randaugment_magnitude": (3, {"randaugment_operations": 2}),
    "erasing_probability": (0.9, {}),
    "image_height": (48, {}),
    "image_width": (32, {}),
    "backbone": ("timm/test_vit", {}),
    "last_stride": (1, {}),
    "pooling": ("gem", {}),
    "parts": (2, {"last_stride": 1}),
    "part_width": (8, {"last_stride": 1, "parts": 2}),
    "fc_layers": (1, {}),
    "fc_width": (8, {"fc_layers": 1}),
    "moe_experts": (2, {"fc_layers": 1}),
    "moe_top_k": (2, EXPERTS),
    "pretrained": (TEACHER, {}),
    "freeze": ("first_1", {}),
    "dropout": (0.5, {}),
    "moe_noise": (False, EXPERTS),
    "identity_loss": ("arcface", {}),
    "angular_margin": (0.5, {"identity_loss": "arcface"}),
    "angular_scale": (10.0, {"identity_loss": "arcface"}),
    "ce_weight": (0.5, {}),
    "label_smoothing": (0.2, {}),
    "metric_loss": ("circle", {}),
    "metric_weight": (0.5, {}),
    "metric_scale": (10.0, {"metric_loss": "circle"}),
    "margin": (0.7, {}),
    "mining": ("random", {}),
    "normalize_features": (True, {}),
    "moe_balance_weight": (1.0, EXPERTS),
    "moe_z_weight": (1.0, EXPERTS),
    "teacher": (TEACHER, {}),
    "kd_logits_weight": (3.0, {"teacher": TEACHER}),
    "kd_temperature": (1.0, {"teacher": TEACHER}),
    "kd_embedding_weight": (1.0, {"teacher": TEACHER}),
    "kd_relation_weight": (1.0, {"teacher": TEACHER}),
    "num_epochs": (2, {}),
    "optimizer": ("sgd", {}),
    "learning_rate": (0.01, {}),
    "backbone_lr_factor": (0.1, {}),
    "layer_decay": (0.5, {}),
    "weight_decay": (0.5, {}),
    "momentum": (0.5, {"optimizer": "sgd"}),
    "pct_start": (0.7, {}),
    "max_grad_norm": (None, {}),
    "ema_rate": (0.5, {}),
    "seed": (1, {}),
    "split_seed": (1, {}),
    "device": ("cuda", {}),
    "precision": ("float16", {}),
    "compile": (True, {}),
    "num_threads": (2, {}),
}
"""Another value of each setting, and the settings without which it means nothing."""


@pytest.fixture(scope="module")
def places(data_dir, tmp_path_factory) -> dict[str, str]:
    """Image folders and a checkpoint, by the words that stand for them."""
    folder = tmp_path_factory.mktemp("places")
    for name in ("linked", "broken", "fewer", "misnamed", "flat"):
        shutil.copytree(data_dir / "bounding_box_train", folder / name / "bounding_box_train")
    file = "0001_c1s1_000000_00.png"
    (folder / "linked/bounding_box_train" / file).unlink()
    (folder / "linked/bounding_box_train" / file).symlink_to(data_dir / "bounding_box_train" / file)
    (folder / "broken/bounding_box_train" / file).write_bytes(b"no picture")
    for image in (folder / "fewer/bounding_box_train").glob("0003_*"):
        image.unlink()
    for image in (folder / "misnamed/bounding_box_train").glob("0003_*"):
        image.rename(image.with_name(f"x{image.name}"))
    names = {OUTSIDE: "linked", BROKEN: "broken", OTHER: "fewer", TEACHER: "teacher", MISNAMED: "misnamed"}
    names[FLAT] = "flat"
    shutil.copytree(data_dir / "bounding_box_train", folder / "flat", dirs_exist_ok=True)
    return {word: str(folder / name) for word, name in names.items()}


Observe = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def known() -> dict[str, dict[str, Any]]:
    """What was seen of runs, by their settings: most are compared with the same one."""
    return {}


@pytest.fixture
def observe(monkeypatch, narrow, data_dir, cache_dir, places, tmp_path, known) -> Observe:
    """Gives everything that a run with these settings does, as far as it can be seen from outside."""
    batches, seen = reid_train.training.inputs.training_batches, dict[str, Any]()

    def watched(source, *, num_workers, **options):
        seen["workers"] = num_workers
        return batches(source, num_workers=0, **options)

    monkeypatch.setattr(reid_train.training.inputs, "training_batches", watched)
    monkeypatch.setattr(
        reid_train.training.inputs, "choose_compiling", lambda wanted, *_: bool(seen.update(compile=wanted)) and False
    )

    monkeypatch.setattr(torch, "set_num_threads", lambda threads: seen.update(threads=threads))

    def run(**settings) -> dict[str, Any]:
        if (key := repr(sorted(settings.items()))) not in known:
            known[key] = anew(**settings)
        return known[key]

    def anew(**settings) -> dict[str, Any]:
        seen.clear()
        settings = {"num_epochs": 1, "pct_start": 0.6, "data_dir": str(data_dir), **settings}
        config = tiny_config(**{name: places.get(str(value), value) for name, value in settings.items()})
        out = tmp_path / str(len(known))
        try:
            samples, data, left_out = read_training(config, cache_dir)
            if TEACHER in settings.values() and not Path(places[TEACHER]).exists():
                teach(config, data, places[TEACHER])
            size = {"height": config.image_height, "width": config.image_width}
            reports = list(train_epochs(config, data, open_pixels(samples, **size, cache_dir=cache_dir), out_dir=out))
        except UserError as error:
            return {"refused": str(error)}
        plain = [{n: v for n, v in r.to_record().items() if n not in ("seconds", "images_per_s")} for r in reports]
        return {**seen, "left_out": left_out, "reports": plain, "weights": load_checkpoint(out).digest}

    return run


def teach(config: TrainConfig, data, folder: str) -> None:
    """A checkpoint of the images' identities, with random weights."""
    identities = sorted({sample.identity for sample in data.train})
    settings = config.changed(teacher=None, pretrained="none")
    torch.manual_seed(7)
    state = build_model(settings, len(identities)).state_dict()
    state["classifier.weight"] *= 100  # else it scores all identities alike
    save_checkpoint(folder, state, config=settings, epoch=1, metrics={}, identities=identities)


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_every_setting_is_read(observe: Observe, name):
    value, companions = CHANGES[name]
    one, other = observe(**companions), observe(**companions, **{name: value})
    assert one != other
    if "refused" not in {**one, **other} and name not in ("num_workers", "compile", "num_threads"):
        assert one["weights"] != other["weights"], "training is to read it, and not validation alone"


@pytest.mark.parametrize("name", [name for name in FIELD_NAMES if len(choices(name)) > 1])
def test_every_choice_has_code_of_its_own(observe: Observe, name):
    _, companions = CHANGES[name]
    companions = {**companions, "image_width": 32}  # bfloat16 is for nothing narrower
    seen = {choice: observe(**companions, **{name: choice}) for choice in choices(name)}
    assert [pair for pair in itertools.combinations(seen, 2) if seen[pair[0]] == seen[pair[1]]] == []


FEATURES, LABELS = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 4))).float(), torch.arange(8) // 2


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("metric_loss", lambda config: feature_loss(FEATURES, LABELS, config)),
        ("mining", lambda config: feature_loss(FEATURES, LABELS, config)),
        ("identity_loss", lambda config: build_classifier(config, identities=2, width=4)),
        ("pooling", lambda config: ReIDModel(config, identities=2)),
        ("optimizer", lambda config: build_optimizer(ReIDModel(tiny_config(), identities=2), config)),
    ],
)
@pytest.mark.usefixtures("narrow")
def test_a_choice_that_is_not_known_is_never_taken_for_another(name, use):
    with pytest.raises((KeyError, AssertionError), match="unheard_of"):
        use(TrainConfig.model_construct(**{**tiny_config().model_dump(), name: "unheard_of"}))
