"""How much faster a search over heads is where a frozen backbone's features are kept: trials with and without.

python -m tests.benchmarks.frozen_backbone [--backbone timm/vit_tiny_patch16_224] [--epochs 10] [--trials 3]

A trial is what a search runs: the model made, all epochs with validation, and the checkpoint written. Random weights:
what features are worth is not measured here. The last line is a JSON object.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from data.drawing.datasets import draw_dataset
from data.pixels.cache import open_pixels
from data.sets.readers import read_train
from data.sets.splits import split_identities
from reid_train.settings.config import make_config
from reid_train.training import run as training_run
from reid_train.training.loop import train_epochs
from tests.benchmarks.machine import describe_machine, spread


def main() -> None:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.frozen_backbone", description=summary)
    parser.add_argument("--backbone", default="timm/vit_tiny_patch16_224")
    parser.add_argument("--size", type=int, nargs=2, default=(128, 64), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--identities", type=int, default=100, help="of 8 images each; default: 100")
    parser.add_argument("--epochs", type=int, default=10, help="default: 10")
    parser.add_argument("--trials", type=int, default=3, help="of each kind, by turns; default: 3")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    options = parser.parse_args()
    height, width = options.size
    print(describe_machine())
    with tempfile.TemporaryDirectory() as work:
        os.environ["XDG_CACHE_HOME"] = f"{work}/cache"
        draw_dataset(
            "market1501",
            Path(work) / "market",
            identities=options.identities,
            test_identities=8,
            cameras=4,
            images_per_camera=2,
            seed=0,
        )
        samples = read_train(Path(work) / "market")
        data = split_identities(samples, fraction=0.2, seed=0)
        pixels = open_pixels(samples, height=height, width=width)
        config = make_config(
            {
                "image_height": height,
                "image_width": width,
                "backbone": options.backbone,
                "pretrained": "none",
                "freeze": "backbone",
                "crop_scale": 1,
                "randaugment_operations": 0,
                "num_epochs": options.epochs,
                "device": options.device,
                "fc_layers": 1,
                "compile": False,
            },
            "benchmark",
        )
        images = f"{len(data.train)} training and {len(samples) - len(data.train)} validation images"
        print(f"{options.backbone}, frozen, at {height} x {width}, {images}, {options.epochs} epochs a trial")

        def trial(number: int) -> tuple[float, float]:
            """Seconds of a trial with settings of its own, and its score."""
            started = time.monotonic()
            changed = config.changed(learning_rate=1e-3 * (1 + number), dropout=0.1 * number)
            *_, last = train_epochs(changed, data, pixels, out_dir=f"{work}/{time.monotonic_ns()}")
            return time.monotonic() - started, last.val_mAP or 0.0

        kept = training_run.frozen_features
        first_s, _ = trial(0)
        print(f"first trial, which computes the features: {first_s:.2f} s", flush=True)
        seconds: dict[str, list[float]] = {"kept": [], "without": []}
        for number in range(options.trials):
            scores = []
            for kind, of_kind in seconds.items():
                training_run.frozen_features = kept if kind == "kept" else lambda *arguments, **named: None
                taken_s, score = trial(number)
                of_kind.append(taken_s)
                scores.append(score)
            gap = abs(scores[0] - scores[1])
            print(
                f"trial {number}: {seconds['kept'][-1]:.2f} s, {seconds['without'][-1]:.2f} s; mAP differs by {gap:.4f}"
            )
        training_run.frozen_features = kept
    times = [without / with_ for with_, without in zip(seconds["kept"], seconds["without"], strict=True)]
    for kind, of_kind in seconds.items():
        print(f"{kind}: {spread(of_kind)} s a trial")
    print(f"times faster: {spread(times, 1)}")
    print(
        json.dumps(
            {
                "kept_s": statistics.median(seconds["kept"]),
                "without_s": statistics.median(seconds["without"]),
                "first_s": first_s,
                "times_faster": statistics.median(times),
            }
        )
    )


if __name__ == "__main__":
    main()
