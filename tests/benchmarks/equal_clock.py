"""What a search hands over after the same time, on real pictures: this project's, Ray's, and random search.

    python -m tests.benchmarks.equal_clock --data-dir DIR/omniglot_veri [--minutes 5] [--starts 3] [--keep FILE]

Every side gets the same space, images, validation split, loop, machine and time, with two trials at once of one CPU
each. Random search and Ray's OptunaSearch with ASHAScheduler (grace period a third, reduction 3) hand over the trial
with the best last score, of those of full length where there are any. Each model is evaluated once on the test images.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from data.system.errors import exit_on_user_error
from data.system.files import read_json
from tests.benchmarks.machine import describe_machine
from tuning.space.read import read_space
from tuning.space.space import SearchSpace

SPACE = Path(__file__).parent / "omniglot_clock.yaml"
CLOSING_S = 15.0
"""Seconds that the rivals leave for starting and for the evaluation of their model."""
AT_ONCE = 2
STEP = 3


def ours(data_dir: Path, seconds: float, seed: int, folder: Path) -> Path:
    """The command itself; gives the folder of the winner's checkpoint."""
    text = SPACE.read_text() + f"  sampler_seed: {seed}\n"
    space = folder / "space.yaml"
    space.write_text(text)
    command = [sys.executable, "-m", "tuning.search", "--space", str(space), "--data-dir", str(data_dir)]
    command += ["--time-budget", f"{seconds:.0f}s", "--results", str(folder), "--set", f"seed={100 * seed}"]
    subprocess.run(command, check=True, stdout=(folder / "out.txt").open("w"), stderr=subprocess.STDOUT)
    return folder / "space" / "best"


def rays(data_dir: Path, seconds: float, seed: int, folder: Path, *, asha: bool) -> Path | None:
    """Ray's OptunaSearch with ASHA, or random search at full length."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
    from ray.tune.search import BasicVariantGenerator
    from ray.tune.search.optuna import OptunaSearch

    from tuning.record.trial import distribution

    began_s = time.monotonic()
    space = read_space(SPACE, [f"seed={100 * seed}"], str(data_dir))
    epochs = space.base_config().num_epochs
    ray.init(num_cpus=AT_ONCE, include_dashboard=False, log_to_driver=False, object_store_memory=200 * 2**20)
    if asha:
        search: Any = OptunaSearch(
            {parameter.name: distribution(parameter) for parameter in space.parameters},
            metric="val_mAP",
            mode="max",
            points_to_evaluate=[space.default],
            seed=seed,
        )
        scheduler: Any = ASHAScheduler(
            metric="val_mAP", mode="max", max_t=epochs, grace_period=round(epochs / STEP), reduction_factor=STEP
        )
        values: dict[str, Any] = {}
    else:
        search, scheduler = (
            BasicVariantGenerator(random_state=seed, points_to_evaluate=[space.default]),
            FIFOScheduler(),
        )
        values = {p.name: _domain(tune, p) for p in space.parameters}
    trainable = tune.with_parameters(train_one, space=space, folder=str(folder.absolute()))
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=values,
        tune_config=tune.TuneConfig(
            num_samples=-1,
            search_alg=search,
            scheduler=scheduler,
            max_concurrent_trials=AT_ONCE if asha else None,
            time_budget_s=seconds - CLOSING_S - (time.monotonic() - began_s),
        ),
        run_config=tune.RunConfig(storage_path=str(folder.absolute()), name="ray", verbose=0),
    )
    tuner.fit()
    ray.shutdown()
    ended = [json.loads(file.read_text()) for file in folder.glob("ended/*.json")]
    return Path(max(ended, key=lambda one: one["val_mAP"])["folder"]) if ended else None


def _domain(tune: Any, parameter: Any) -> Any:
    if parameter.kind == "categorical":
        return tune.choice(list(parameter.choices))
    return (tune.loguniform if parameter.log else tune.uniform)(parameter.low, parameter.high)


def train_one(values: dict[str, Any], space: SearchSpace, folder: str) -> None:
    """Trains one configuration in a process of Ray's; a run that ends notes its score and where its weights are."""
    import secrets

    import torch
    from ray import tune

    from data.pixels.cache import open_pixels
    from reid_train.training.images import read_training
    from reid_train.training.loop import train_epochs

    torch.set_num_threads(1)
    config = space.config(values).changed(num_threads=1)
    samples, data, _ = read_training(config)
    pixels = open_pixels(samples, height=config.image_height, width=config.image_width)
    own = Path(folder) / "weights" / secrets.token_hex(4)
    for report in train_epochs(config, data, pixels, out_dir=own):
        if report.epoch == config.num_epochs:
            note = Path(folder) / "ended" / f"{own.name}.json"
            note.parent.mkdir(exist_ok=True)
            note.write_text(json.dumps({"val_mAP": report.val_mAP, "folder": str(own)}))
        tune.report({"val_mAP": report.val_mAP})


METHODS = {
    "ours": ours,
    "Ray OptunaSearch + ASHA": lambda *known: rays(*known, asha=True),
    "random": lambda *known: rays(*known, asha=False),
}


def measure(method: str, data_dir: Path, seconds: float, seed: int) -> dict[str, Any]:
    """One search of one side: its test mAP, and the time that the whole of it took."""
    from data.pixels.bad_images import usable_test_sets
    from reid_train.inference.checkpoint_scores import evaluate_tests
    from reid_train.settings.config import TrainConfig

    with tempfile.TemporaryDirectory() as place:
        folder, began_s = Path(place), time.monotonic()
        best = METHODS[method](data_dir, seconds, seed, folder)
        took_s = time.monotonic() - began_s
        if best is None:
            return {"method": method, "seed": seed, "mAP": None, "seconds": took_s}
        if method == "ours":
            found = read_json(best.parent / "test_metrics.json")["mAP"]
        else:
            tests, _ = usable_test_sets(**TrainConfig(data_dir=str(data_dir)).images)
            found = float(evaluate_tests(best, tests, num_threads=AT_ONCE)["mAP"])
            took_s = time.monotonic() - began_s
        return {"method": method, "seed": seed, "mAP": round(found, 4), "seconds": round(took_s, 1)}


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.equal_clock", description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="file of a line for each search; it goes on where it ended")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "SEED"), help="a single search; for the command itself")
    arguments = parser.parse_args()
    if arguments.one:
        method, seed = arguments.one
        print(json.dumps(measure(method, arguments.data_dir, 60 * arguments.minutes, int(seed))))
        return
    print(describe_machine())
    keep = arguments.keep or Path(tempfile.mkdtemp()) / "searches.jsonl"
    rows = [json.loads(line) for line in keep.read_text().splitlines()] if keep.is_file() else []
    for seed in range(1, arguments.starts + 1):
        for method in METHODS:
            if any((row["method"], row["seed"]) == (method, seed) for row in rows):
                continue
            command = [sys.executable, "-m", "tests.benchmarks.equal_clock", "--data-dir", str(arguments.data_dir)]
            command += ["--minutes", str(arguments.minutes), "--one", method, str(seed)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            with keep.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(rows[-1], flush=True)
    for method in METHODS:
        found = [row["mAP"] or 0.0 for row in rows if row["method"] == method]
        seconds = [row["seconds"] for row in rows if row["method"] == method]
        print(
            f"{method:26s} test mAP {np.mean(found):.3f} ({min(found):.3f} to {max(found):.3f}), n={len(found)}; "
            f"{np.mean(seconds):.0f} s"
        )
    print(json.dumps({method: [r["mAP"] for r in rows if r["method"] == method] for method in METHODS}))


if __name__ == "__main__":
    main()
