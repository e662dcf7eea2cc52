"""A tiny data set of coloured pictures, and the smallest configuration that trains on it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from PIL import Image

from data.pixels.cache import Pixels, open_pixels
from data.pixels.decoding import decode
from data.sets.readers import read_train
from data.sets.splits import TrainingData, hold_out_images, split_identities
from reid_train.checkpoints.checkpoint import build_model, save_checkpoint
from reid_train.model.backbones import BACKBONES
from reid_train.settings.config import TrainConfig
from tests.narrow_resnet import NarrowResNet

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 32, 16


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


def draw_person(colours: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """A picture of two colours, one above the other, in light and dark and with noise."""
    rows = np.repeat(colours, HEIGHT // 2, axis=0)[:, None, :] * rng.uniform(0.6, 1.2)
    return Image.fromarray(np.clip(rows + rng.normal(0, 12, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Market-1501's layout: 14 training and 4 test identities, 2 cameras, 3 images each."""
    folder = tmp_path_factory.mktemp("data") / "market"
    rng = np.random.default_rng(0)
    for name in ("bounding_box_train", "query", "bounding_box_test"):
        (folder / name).mkdir(parents=True)
    for identity in range(1, 19):
        colours = rng.uniform(30, 220, (2, 3))
        for camera in (1, 2):
            for number in range(3):
                tested = "query" if number == 0 else "bounding_box_test"
                place = folder / ("bounding_box_train" if identity <= 14 else tested)
                draw_person(colours, rng).save(place / f"{identity:04d}_c{camera}s1_{number:06d}_00.png")
    return folder


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def data(data_dir: Path) -> TrainingData:
    """6 identities with 5 images each to learn from, one more of each held out, 8 identities for validation."""
    return hold_out_images(split_identities(read_train(data_dir)))


@pytest.fixture(scope="session")
def pixels(data_dir: Path, cache_dir: Path) -> Pixels:
    return open_pixels(read_train(data_dir), height=HEIGHT, width=WIDTH, cache_dir=cache_dir)


@pytest.fixture(scope="session")
def wide_pixels(data_dir: Path, cache_dir: Path) -> Pixels:
    """Twice as wide: on a CPU narrower images cannot be trained on in bfloat16."""
    return open_pixels(read_train(data_dir), height=HEIGHT, width=2 * WIDTH, cache_dir=cache_dir)


TINY: dict[str, Any] = {
    "image_height": HEIGHT,
    "image_width": WIDTH,
    "batch_size": 8,
    "images_per_identity": 2,
    "backbone": "resnet18",
    "pretrained": "none",
    "last_stride": 2,
    "num_epochs": 2,
    "pct_start": 0.3,
    "randaugment_operations": 0,
    "device": "cpu",
    "precision": "float32",
}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes resnet18 mean NarrowResNet in this test."""
    monkeypatch.setitem(BACKBONES, "resnet18", (NarrowResNet, BACKBONES["resnet18"][1], 64))


def tiny_config(**changes: Any) -> TrainConfig:
    """ResNet-18 at 32 x 16, batches of 4 x 2; 4 steps an epoch on the tiny data."""
    return TrainConfig(**{**TINY, **changes})


def choices(name: str) -> list[Any]:
    """What a setting may be by name; "auto" stands for one of the others."""
    annotation = TrainConfig.model_fields[name].annotation
    options = [annotation, *get_args(annotation)]
    named = [choice for option in options if get_origin(option) is Literal for choice in get_args(option)]
    return [choice for choice in named if choice != "auto"]


@pytest.fixture
def narrow_checkpoint(narrow: None, tmp_path: Path, data_dir: Path) -> Path:
    """A folder with a narrow model of 9 identities, random but for its normalisation, which has seen pictures."""
    torch.manual_seed(0)
    model = build_model(tiny_config(), 9).train()
    paths = sorted(map(str, (data_dir / "bounding_box_train").iterdir()))
    for start in range(0, len(paths), 28):
        batch = np.stack([decode(path, HEIGHT, WIDTH) for path in paths[start : start + 28]])
        model(torch.from_numpy(batch).permute(0, 3, 1, 2))
    described = {"config": tiny_config(), "epoch": 3, "metrics": {}, "identities": list(range(9))}
    save_checkpoint(tmp_path / "checkpoint", model.state_dict(), **described)
    return tmp_path / "checkpoint"


def run_module(module: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module arguments` from the project's root on one thread."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hugging Face cache with nothing in it, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


@pytest.fixture
def published_vit(empty_hub: Path, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """timm's smallest ViT for images of 160 x 160, with random weights that the Hugging Face cache holds as its own."""
    import huggingface_hub
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(1)
    published: torch.nn.Module = timm.create_model("test_vit")
    repository, commit = empty_hub / "models--timm--test_vit.r160_in1k", "0" * 40
    for folder in ("refs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True)
    save_file(published.state_dict(), repository / "snapshots" / commit / "model.safetensors")
    (repository / "refs/main").write_text(commit)
    monkeypatch.setattr(
        "reid_train.model.foundation.try_to_load_from_cache",
        lambda *names: huggingface_hub.try_to_load_from_cache(*names, cache_dir=empty_hub),
    )
    return published.eval()
