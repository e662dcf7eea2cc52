"""Whether bfloat16 costs accuracy: validation mAP of complete schedules in both precisions, with the same seeds.

python -m tests.benchmarks.precision [--device cuda] [--epochs 20] [--seeds 3]

For a device that computes in bfloat16: elsewhere it is emulated and takes hours. The last line is a JSON object.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from data.drawing.datasets import draw_dataset
from data.pixels.cache import open_pixels
from data.sets.readers import read_train
from data.sets.splits import split_identities
from reid_train.settings.config import make_config
from reid_train.training.loop import train_epochs
from tests.benchmarks.machine import describe_machine, spread


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.precision", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--epochs", type=int, default=20, help="default: 20")
    parser.add_argument("--seeds", type=int, default=3, choices=range(2, 100), metavar="N", help="default: 3")
    parser.add_argument("--workers", type=int, help="processes that prepare batches")
    parser.add_argument("--backbone", default="resnet50", choices=("resnet50", "resnet18"))
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as work:
        os.environ["XDG_CACHE_HOME"] = f"{work}/cache"
        folder = Path(work) / "market"
        draw_dataset("market1501", folder, identities=120, test_identities=8, cameras=4, images_per_camera=3, seed=0)
        samples = read_train(folder)
        data = split_identities(samples, fraction=0.2, seed=0)
        pixels = open_pixels(samples, height=64, width=32)
        print(f"{options.backbone} from scratch at 64x32, {len(data.train)} images, {options.epochs} epochs")
        scores: dict[str, list[float]] = {"float32": [], "bfloat16": []}
        for seed in range(options.seeds):
            for precision, found in scores.items():
                config = make_config(
                    {
                        "image_height": 64,
                        "image_width": 32,
                        "backbone": options.backbone,
                        "pretrained": "none",
                        "num_epochs": options.epochs,
                        "precision": precision,
                        "device": options.device,
                        "seed": seed,
                        "compile": False,
                        "num_workers": options.workers,
                    },
                    "benchmark",
                )
                *_, last = train_epochs(config, data, pixels)
                found.append(last.val_mAP or 0.0)
                print(f"  seed {seed}, {precision}: validation mAP {found[-1]:.4f}", flush=True)
    for precision, found in scores.items():
        print(f"{precision}: {spread(found, 4)}")
    gaps = [half - full for full, half in zip(*scores.values(), strict=True)]
    print(f"bfloat16 - float32 with the same seed: {spread(gaps, 4)}")
    noise = statistics.stdev(scores["float32"])
    print(json.dumps({"bfloat16_minus_float32": statistics.mean(gaps), "float32_seed_deviation": noise}))


if __name__ == "__main__":
    main()
