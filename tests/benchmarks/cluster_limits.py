"""What limits 1,000 trials on 100 GPUs: the driver, the study's record, states and pixels, from what is measured here.

python -m tests.benchmarks.cluster_limits [--trials 1000] [--gpus 100] [--epoch-s 6] [--quick]

Measures the driver's time a trial and an epoch with the study in SQLite and, where PostgreSQL is installed, in a server
on loopback; copying a state of ResNet-50 with Adam to and from a storage (a folder on this disk); and sending pixels
through Ray's object store into a machine's cache. The last line is the figures as one JSON object.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data.drawing.datasets import draw_dataset
from data.pixels.cache import open_pixels
from data.sets.readers import read_train
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.search_overhead import FIGURES, drive

MB = 1e6
STATE_MB = 310
"""ResNet-50's weights, Adam's two moments and an average: 4 x 94 MB at most, 3 without the average."""
WEIGHTS_MB = 94
MARKET_MB = 12_936 * 256 * 128 * 3 / MB
VERI_MB = 37_778 * 256 * 256 * 3 / MB
RUNGS = (12, 36)
NETWORK_MB_S = 1_250
"""10 Gbit/s: assumed, not measured."""


def seconds(action: Callable[[], Any], times: int) -> list[float]:
    spent = []
    for _ in range(times):
        began_s = time.perf_counter()
        action()
        spent.append(time.perf_counter() - began_s)
    return spent


def measure_record(folder: Path, trials: int, server: tuple[str, str] | None) -> dict[str, float]:
    """Milliseconds of the driver for a trial that costs nothing, the last tenth of `trials`, and for one more epoch."""
    from tests.reports import epoch_report
    from tuning.record.study import Study
    from tuning.space.read import read_space

    folder.mkdir(parents=True)
    figures = drive("tpe", trials, folder, server)
    study = Study(folder / "study", read_space(folder / "bench.yaml"), server=server)
    number = study.add(dict(study.trials()[0].parameters))
    measured = {"val_mAP": 0.5, **dict.fromkeys(FIGURES, 0.123456)}
    epochs = iter(range(1, 1_000))

    def epoch() -> None:
        with study.exclusive():
            study.record(number, 1_000, epoch_report(next(epochs), **measured))

    spent = seconds(epoch, 100)
    study.leave()
    return {"trial_ms": figures["last_ms"], "epoch_ms": 1e3 * statistics.median(spent)}


def measure_states(folder: Path, times: int) -> dict[str, float]:
    """MB/s of keeping a state in a folder of this disk, and of fetching it."""
    from tuning.record.storage import Storage

    trial, storage = folder / "trial", Storage(str(folder / "storage"), "study")
    trial.mkdir(parents=True)
    (trial / "state.pt").write_bytes(os.urandom(STATE_MB * 10**6))
    saved = seconds(lambda: storage.save(trial, "trials/0"), times)
    loaded = seconds(lambda: storage.load("trials/0", folder / "back"), times)
    return {"save_mb_s": STATE_MB / statistics.median(saved), "load_mb_s": STATE_MB / statistics.median(loaded)}


def measure_pixels(folder: Path, times: int) -> dict[str, float]:
    """MB/s of putting a pixel file into the object store, and of a machine's writing it into its cache and checking."""
    import ray

    from tuning.run.shared_pixels import share_pixels

    draw_dataset(
        "market1501", folder / "market", identities=25, test_identities=4, cameras=4, images_per_camera=5, seed=0
    )
    samples = read_train(folder / "market")
    pixels = open_pixels(samples, height=512, width=512, cache_dir=folder / "cache")
    assert pixels.file is not None
    size_mb = pixels.file.stat().st_size / MB
    ray.init(address="local", num_cpus=1, object_store_memory=10**9, logging_level="ERROR", include_dashboard=False)
    puts, writes = [], []
    for number in range(times):
        began_s = time.perf_counter()
        share_pixels.cache_clear()
        shared = share_pixels(pixels)
        puts.append(time.perf_counter() - began_s)
        os.environ["XDG_CACHE_HOME"] = str(folder / f"machine{number}")
        writes += seconds(lambda: shared._replace(node="another").here().read(np.arange(8)), 1)  # noqa: B023
    ray.shutdown()
    return {"size_mb": size_mb, "put_mb_s": size_mb / min(puts), "write_mb_s": size_mb / statistics.median(writes)}


def load_of(trials: int, gpus: int, epoch_s: float) -> dict[str, float]:
    """What a search of so many trials asks of everything, in its steady state: events a second."""
    from tuning.decide.budget import epochs_for_trials

    epochs = epochs_for_trials(trials, *RUNGS)
    total_s = epochs * epoch_s / gpus
    return {"epochs": epochs, "hours": total_s / 3600, "epochs_s": gpus / epoch_s, "trials_s": trials / total_s}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cluster_limits")
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--gpus", type=int, default=100)
    parser.add_argument("--epoch-s", type=float, default=6.0, help="an epoch's seconds; 6: Market-1501 on an H100")
    parser.add_argument("--quick", action="store_true", help="a record of 100 trials instead of --trials")
    arguments = parser.parse_args()
    print(describe_machine())
    recorded = 100 if arguments.quick else arguments.trials
    with tempfile.TemporaryDirectory(prefix="reid-limits-", dir="/tmp") as name:
        folder = Path(name)
        load = load_of(arguments.trials, arguments.gpus, arguments.epoch_s)
        measured = {"sqlite": measure_record(folder / "sqlite", recorded, None)}
        if (found := with_server(folder / "server", recorded)) is not None:
            measured["postgresql"] = found
        measured["states"] = measure_states(folder / "states", 3)
        measured["pixels"] = measure_pixels(folder / "pixels", 3)
    rungs = " and ".join(map(str, RUNGS))
    print(f"{arguments.trials} trials on {arguments.gpus} GPUs, rungs {rungs}, {arguments.epoch_s:g} s an epoch:")
    print(f"  {load['epochs']:.0f} epochs, {load['hours']:.1f} hours, {load['epochs_s']:.1f} epochs a second")
    for kind in ("sqlite", "postgresql"):
        if kind in measured:
            figures = measured[kind]
            busy = (load["epochs_s"] * figures["epoch_ms"] + load["trials_s"] * figures["trial_ms"]) / 1e3
            measured[kind]["busy"] = busy
            print(
                f"  study in {kind}: {figures['trial_ms']:.0f} ms a trial, {figures['epoch_ms']:.1f} ms an epoch: "
                f"{busy:.1%} of the driver's time"
            )
    writes_s = load["epochs_s"] * min(1.0, arguments.epoch_s / 60)  # a state a minute
    rate = writes_s * STATE_MB
    measured["states"]["needed_mb_s"] = rate
    print(
        f"  states: {rate:.0f} MB/s of {STATE_MB} MB each, one a minute and trial; a trial waits "
        f"{STATE_MB / measured['states']['save_mb_s']:.2f} s a minute for its own at this disk's speed"
    )
    for name, size in (("Market-1501 at 256 x 128", MARKET_MB), ("VeRi-776 at 256 x 256", VERI_MB)):
        put, write = size / measured["pixels"]["put_mb_s"], size / measured["pixels"]["write_mb_s"]
        sent = size / NETWORK_MB_S
        print(
            f"  pixels of {name}: {size / 1e3:.1f} GB; {put:.0f} s into the store, {sent:.0f} s a machine over "
            f"10 Gbit/s, {write:.0f} s into its cache and checked"
        )
    print(json.dumps({"load": load, **measured}))


def with_server(folder: Path, trials: int) -> dict[str, float] | None:
    """The record's figures with a server; None where none is installed."""
    import pytest

    from tests.postgres import server

    try:
        with server("measured") as url:
            return measure_record(folder, trials, (url, "driver"))
    except pytest.skip.Exception as reason:
        print(f"no server: {reason}")
        return None


if __name__ == "__main__":
    main()
