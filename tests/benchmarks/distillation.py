"""What distillation is worth: a ResNet-18 that learns from a ResNet-50, against the same ResNet-18 alone.

python -m tests.benchmarks.distillation [--epochs 20] [--teacher-epochs 40] [--seeds 3] [--out results/distillation]

Drawn pedestrians at 64 x 32, from scratch; validation mAP on identities that neither teacher nor student has seen. The
teacher sees the picture at twice the student's size where --teacher-scale is 2. Finished runs in --out are not trained
again, and an interrupted one goes on. The last line is a JSON object.
"""

import argparse
import json
import statistics
from pathlib import Path

from data.drawing.datasets import draw_dataset
from data.pixels.cache import open_pixels
from data.sets.readers import read_train
from data.sets.splits import TrainingData, split_identities
from reid_train.checkpoints.checkpoint import load_checkpoint
from reid_train.settings.config import make_config
from reid_train.training.folder import train_into
from tests.benchmarks.machine import describe_machine, spread

WAYS: dict[str, dict[str, float]] = {
    "logits": {"kd_logits_weight": 1.0},
    "embedding": {"kd_logits_weight": 0.0, "kd_embedding_weight": 2.0},
    "relation": {"kd_logits_weight": 0.0, "kd_relation_weight": 20.0},
    "all": {"kd_logits_weight": 1.0, "kd_embedding_weight": 2.0, "kd_relation_weight": 20.0},
}
"""Distillation's losses, weighted so that each is of the size of the cross-entropy; not tuned."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.distillation", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--epochs", type=int, default=20, help="of the student; default: 20")
    parser.add_argument("--teacher-epochs", type=int, default=40, help="default: 40")
    parser.add_argument("--teacher-scale", type=int, default=1, choices=(1, 2), help="default: 1")
    parser.add_argument("--identities", type=int, default=120, help="drawn; a fifth validates; default: 120")
    parser.add_argument("--seeds", type=int, default=3, choices=range(2, 100), metavar="N", help="default: 3")
    parser.add_argument("--ways", nargs="+", default=["logits", "all"], choices=list(WAYS), help="default: logits all")
    parser.add_argument("--threads", type=int, help="default: all")
    parser.add_argument("--out", type=Path, default=Path("results/distillation"), metavar="DIR")
    options = parser.parse_args()
    print(describe_machine())
    folder = options.out / f"market-{options.identities}"
    if not folder.is_dir():
        numbers = {"identities": options.identities, "test_identities": 8, "cameras": 4, "images_per_camera": 3}
        draw_dataset("market1501", folder, **numbers, seed=0)
    data = split_identities(read_train(folder), fraction=0.2, seed=0)
    common = {
        "data_dir": str(folder),
        "image_height": 64,
        "image_width": 32,
        "pretrained": "none",
        "batch_size": 32,
        "images_per_identity": 4,
        "learning_rate": 2e-3,
        "pct_start": 0.2,
        "last_stride": 2,
        "randaugment_magnitude": 0,
        "num_threads": options.threads,
    }
    sizes = {"image_height": 64 * options.teacher_scale, "image_width": 32 * options.teacher_scale}
    teacher = options.out / f"teacher-{options.identities}-{options.teacher_epochs}-{options.teacher_scale}"
    learned = {**common, **sizes, "backbone": "resnet50", "num_epochs": options.teacher_epochs}
    best_possible = score({**learned, "learning_rate": 1e-3}, data, teacher)
    print(f"teacher: ResNet-50, {options.teacher_epochs} epochs, validation mAP {best_possible:.4f}", flush=True)
    student = {**common, "backbone": "resnet18", "num_epochs": options.epochs}
    found: dict[str, list[float]] = {way: [] for way in ("alone", *options.ways)}
    for seed in range(options.seeds):
        for way, scores in found.items():
            lessons = {} if way == "alone" else {"teacher": str(teacher), **WAYS[way]}
            run = options.out / f"{way}-{options.identities}-{options.epochs}-{seed}"
            scores.append(score({**student, **lessons, "seed": seed}, data, run))
    for way, scores in found.items():
        print(f"{way}: {spread(scores, 4)}, mean {statistics.mean(scores):.4f} ± {statistics.stdev(scores):.4f} (sd)")
    gaps = {
        way: [taught - alone for taught, alone in zip(found[way], found["alone"], strict=True)] for way in options.ways
    }
    for way, differences in gaps.items():
        print(f"{way} - alone with the same seed: {spread(differences, 4)}")
    print(json.dumps({"teacher": best_possible, **found}))


def score(settings: dict[str, object], data: TrainingData, folder: Path) -> float:
    """Validation mAP of these settings' last epoch, trained in the folder unless that was done."""
    config = make_config(settings, "benchmark")
    samples = [*data.train, *data.query, *data.gallery]
    pixels = open_pixels(samples, height=config.image_height, width=config.image_width)
    train_into(config, data, pixels, folder)
    return float(load_checkpoint(folder).metrics["val_mAP"])


if __name__ == "__main__":
    main()
