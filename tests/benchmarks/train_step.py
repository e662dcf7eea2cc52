"""Images a second of the training loop, beside the same model on one fixed batch and beside a plain loop.

python -m tests.benchmarks.train_step [--device cuda] [--size 64x32 ...] [--repeats 5] [--quick]

Each side runs in a process of its own, one after the other, again and again: an epoch to warm up, then one that
counts. On 2 cores it takes about 20 minutes. The last line is the figures as one JSON object.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from data.drawing.datasets import draw_dataset
from data.pixels.augmentation import IMAGENET_MEAN, IMAGENET_STD, Augmentation
from data.pixels.batches import AugmentedBatches
from data.pixels.cache import open_pixels
from data.pixels.sampler import epoch_batches
from data.sets.readers import read_train
from data.sets.splits import TrainingData
from reid_train.model.classifiers import cross_entropy
from reid_train.model.device import as_cuda_graph, choose_device, choose_precision, keep_freed_memory
from reid_train.model.network import ReIDModel, autocast
from reid_train.model.settings import ModelSettings
from reid_train.objective.losses import batch_hard_triplet_loss
from reid_train.settings.config import TrainConfig, make_config
from reid_train.settings.optim import OptimSettings
from reid_train.training.loop import train_epochs
from reid_train.training.optim import build_optimizer, build_schedule
from tests.benchmarks.machine import describe_machine, spread

BATCH = 32
SETTINGS = {"pretrained": "none", "num_epochs": 2, "learning_rate": 1e-3, "pct_start": 0.5, "batch_size": BATCH}
STEPS = {"cpu": {"64x32": 10, "256x128": 3}, "cuda": {"64x32": 100, "256x128": 100}}
"""Steps of an epoch."""


def configuration(size: str, device: str, **changes) -> TrainConfig:
    height, width = map(int, size.split("x"))
    return make_config(
        {**SETTINGS, "image_height": height, "image_width": width, "device": device, "compile": False, **changes},
        "benchmark",
    )


def training_data(folder: str, steps: int) -> TrainingData:
    samples = read_train(Path(folder))
    repeated = samples * (steps * BATCH // len(samples) + 1)
    return TrainingData(train=repeated[: steps * BATCH], query=[], gallery=[])


# --- the sides: each gives the images a second of its second epoch ---


def ours(size: str, device: str, folder: str, steps: int, **changes) -> float:
    config, data = configuration(size, device, **changes), training_data(folder, steps)
    pixels = open_pixels(data.train, height=config.image_height, width=config.image_width)
    return [report.images_per_s for report in train_epochs(config, data, pixels)][1]


def fixed_batch(size: str, device: str, folder: str, steps: int, *, compile: bool = False) -> float:
    """Nothing but steps of the same model, with the same optimizer and precision, on one batch in memory."""
    config = configuration(size, device)
    where = choose_device(device)
    if device == "cpu":
        keep_freed_memory()
    precision = choose_precision("auto", where)
    count = len({sample.identity for sample in training_data(folder, steps).train})
    model = ReIDModel(ModelSettings(), identities=count).to(where).to(memory_format=torch.channels_last)
    forward = torch.compile(model, dynamic=False) if compile else model
    optimizer = build_optimizer(model, OptimSettings())
    schedule = build_schedule(optimizer, pct_start=0.3, total_steps=2 * steps)
    shape = (BATCH, 3, config.image_height, config.image_width)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=where)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(BATCH // 4, device=where).repeat_interleave(4)

    def step(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with autocast(where, precision):
            output = forward(images)
        loss = cross_entropy(output.logits_PBI, labels, 0.0) + batch_hard_triplet_loss(output.feature_BD, labels, 0.3)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        return loss.detach()

    def optimize(gradients: torch.Tensor) -> torch.Tensor:
        optimizer.step()
        schedule.step()
        return gradients

    gradients = as_cuda_graph(step, model, shape) if device == "cuda" else step
    for _ in range(steps):
        loss = optimize(gradients(images, labels))
    loss.item()
    started = time.perf_counter()
    for _ in range(steps):
        loss = optimize(gradients(images, labels))
    loss.item()
    return steps * BATCH / (time.perf_counter() - started)


class PlainImages(Dataset):
    def __init__(self, samples, label_of, transform):
        self.samples, self.label_of, self.transform = samples, label_of, transform

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        sample = self.samples[index]
        return self.transform(Image.open(sample.path).convert("RGB")), self.label_of[sample.identity]


def brief(size: str, device: str, folder: str, steps: int) -> float:
    """The loop as one writes it: float32, NCHW, PIL images from a DataLoader with 2 workers, .item() each step."""
    height, width = map(int, size.split("x"))
    where = choose_device(device)
    samples = training_data(folder, steps).train
    label_of = {identity: label for label, identity in enumerate(sorted({sample.identity for sample in samples}))}
    transform = transforms.Compose(
        [
            transforms.Resize((height, width)),
            transforms.RandomResizedCrop((height, width), scale=(0.8, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandAugment(),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    labels = [label_of[sample.identity] for sample in samples]
    batches = list(epoch_batches(labels, batch_size=BATCH, images_per_identity=4, seed=0, epoch=0))
    loader = DataLoader(
        PlainImages(samples, label_of, transform), batch_sampler=batches, num_workers=2, persistent_workers=True
    )
    model = ReIDModel(ModelSettings(), identities=len(label_of)).to(where)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, foreach=False, fused=False)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=2 * steps, pct_start=0.5)
    for _ in range(2):
        started = time.perf_counter()
        total = 0.0
        for images, targets in loader:
            images, targets = images.to(where), targets.to(where)
            feature = model.pooling(model.backbone(images))
            logits = model.classifier(model.neck(feature))[0]
            distance = torch.cdist(feature, feature).clamp(min=1e-6)
            same = targets[:, None] == targets[None, :]
            positive = distance.masked_fill(~same, 0).max(dim=1).values
            negative = distance.masked_fill(same, torch.inf).min(dim=1).values
            loss = nn.functional.cross_entropy(logits, targets) + (positive - negative + 0.3).clamp(min=0).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = time.perf_counter() - started
    return len(batches) * BATCH / seconds


def pipeline(size: str, device: str, folder: str, steps: int) -> float:
    """Batches put together and augmented, with one thread and nothing else to do."""
    config, data = configuration(size, device), training_data(folder, steps)
    torch.set_num_threads(1)
    pixels = open_pixels(data.train, height=config.image_height, width=config.image_width)
    augmentation = Augmentation(
        crop_scale=config.crop_scale,
        flip_probability=config.flip_probability,
        randaugment_operations=config.randaugment_operations,
        randaugment_magnitude=config.randaugment_magnitude,
        erasing_probability=config.erasing_probability,
    )
    identities = [sample.identity for sample in data.train]
    batches = AugmentedBatches(pixels, [sample.path for sample in data.train], identities, augmentation, 0)
    keep_freed_memory()
    for count in (4, 30):
        started = time.perf_counter()
        for step in range(count):
            batches[0, step, list(range(BATCH))]
    return count * BATCH / (time.perf_counter() - started)


SIDES = {
    "ours": ours,
    "fixed": fixed_batch,
    "brief": brief,
    "compiled": lambda *given: ours(*given, compile=True),
    "fixed_compiled": lambda *given: fixed_batch(*given, compile=True),
    "resident": lambda *given: ours(*given, num_workers=0),
    "pipeline": pipeline,
}


# --- all of them in turn ---


def measured(side: str, size: str, device: str, folder: str, steps: int) -> dict[str, float]:
    """One side in a process of its own: images a second, and the process's largest resident memory."""
    command = [sys.executable, "-m", __spec__.name, "--run", side, size, device, folder, str(steps)]
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "all_s": time.perf_counter() - started}


def compare(size: str, device: str, folder: str, steps: int, repeats: int, sides: list[str]) -> dict[str, list[float]]:
    """Each side's images a second, in the order of the repeats."""
    print(f"{size}, batches of {BATCH}, epochs of {steps} steps, images/s: median (least to greatest)")
    results: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side in sides:
            results[side].append(run := measured(side, size, device, folder, steps))
            print(f"    {side}: {run['images_per_s']:.1f} ({run['all_s']:.0f} s in all)", flush=True)
    for side, runs in results.items():
        memory = statistics.median(run["peak_mb"] for run in runs)
        seconds = statistics.median(run["all_s"] for run in runs)
        rates = spread([run["images_per_s"] for run in runs], 1)
        print(f"  {side:<15} {rates:<38} {memory:6.0f} MB at most, {seconds:.0f} s with start and warm-up", flush=True)
    return {side: [run["images_per_s"] for run in runs] for side, runs in results.items()}


def ratio(rates: dict[str, list[float]], side: str, other: str) -> float:
    """Median over the repeats of how many times as fast `side` was as `other`."""
    both = zip(rates[side], rates[other], strict=True)
    values = [one / two for one, two in both]
    print(f"  {side} / {other}: {spread(values)}", flush=True)
    return statistics.median(values)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.train_step",
        description=f"{__doc__.splitlines()[0]} Takes about 20 minutes on 2 cores.",
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--size", nargs="+", default=["64x32", "256x128"], choices=("64x32", "256x128"))
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 100), metavar="N", help="default: 5")
    parser.add_argument("--quick", action="store_true", help="2 steps, 1 repeat: to see that everything runs")
    parser.add_argument("--without-compiling", action="store_true")
    parser.add_argument("--run", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        side, size, device, folder, steps = options.run
        rate = SIDES[side](size, device, folder, int(steps))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"images_per_s": rate, "peak_mb": peak_mb}))
        return
    print(describe_machine())
    figures: dict[str, float] = {}
    device = options.device
    with tempfile.TemporaryDirectory() as work:
        os.environ["XDG_CACHE_HOME"] = f"{work}/cache"
        folder = f"{work}/market"
        draw_dataset(
            "market1501", Path(folder), identities=64, test_identities=8, cameras=4, images_per_camera=2, seed=0
        )
        for size in options.size:
            steps = 2 if options.quick else STEPS[device][size]
            sides = ["fixed", "ours", "brief"]
            if not options.without_compiling and (device == "cuda" or size == "64x32"):
                sides += ["compiled"]
            if device == "cuda":
                sides += ["fixed_compiled", "resident"]
            rates = compare(size, device, folder, steps, 1 if options.quick else options.repeats, sides)
            figures[f"ratio_to_ceiling_{size}"] = ratio(rates, "ours", "fixed")
            figures[f"speedup_over_brief_{size}"] = ratio(rates, "ours", "brief")
            if "compiled" in rates:
                figures[f"speedup_compiled_{size}"] = ratio(rates, "compiled", "brief")
            if "resident" in rates:
                figures[f"resident_over_workers_{size}"] = ratio(rates, "resident", "ours")
            (made,) = [measured("pipeline", size, device, folder, steps)["images_per_s"]]
            consumed = statistics.median(rates["ours"])
            print(f"  the pipeline gives {made:.0f} images/s a core, training takes {consumed:.0f}")
            figures[f"pipeline_images_per_s_a_core_{size}"] = made
            figures[f"images_per_s_{size}"] = consumed
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
