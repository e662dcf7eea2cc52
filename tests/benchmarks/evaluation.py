"""Speed and memory of the evaluator and of re-ranking, against plain numpy on the same inputs in one run.

python -m tests.benchmarks.evaluation [--quick]

Takes about 8 minutes on 2 cores (10 s with --quick, whose figures mean nothing); needs 2.2 GB of disk in the
temporary folder. The last line is the figures as one JSON object: `speedup_` is over the loop that toolboxes publish,
for some queries, its time scaled up to all; `_over_vectorised_loop` over one that leaves nothing per image to Python.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import scipy
import torch

from reid_train.measure import metrics
from reid_train.measure.rerank import rerank_distances
from tests.benchmarks.machine import describe_machine

WIDTH = 2048
MARKET = {"queries": 3368, "gallery": 15913, "identities": 750, "cameras": 6, "distractors": 2798}
VERI = {"queries": 1678, "gallery": 11579, "identities": 200, "cameras": 20, "distractors": 0}
SUBSET = 100
"""Queries drawn for the published loop, which needs minutes for all; its time is scaled up in proportion."""
NOISE = 2.0
"""Standard deviation around identity centres of standard deviation 1, in re-ranking's features."""


Labels = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def labels(queries: int, gallery: int, identities: int, cameras: int, distractors: int) -> Labels:
    """Identities and cameras of queries, then of the gallery, at random; distractors have identity 0."""
    generator = torch.Generator().manual_seed(0)
    sides = list[tuple[torch.Tensor, torch.Tensor]]()
    for count, unknown in ((queries, 0), (gallery, distractors)):
        identity = torch.randint(1, identities + 1, (count,), generator=generator)
        identity[torch.randperm(count, generator=generator)[:unknown]] = 0
        sides.append((identity, torch.randint(1, cameras + 1, (count,), generator=generator)))
    return *sides[0], *sides[1]


def random_features(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def vectorised_loop(distances, query_identities, query_cameras, gallery_identities, gallery_cameras):
    """mAP, trapezoid mAP, mINP and rank-1 query by query: argsort, cumulative sums, nothing per image in Python."""
    figures = []
    for row, identity, camera in zip(distances, query_identities, query_cameras, strict=True):
        order = np.argsort(row)
        same = gallery_identities[order] == identity
        good = same[~(same & (gallery_cameras[order] == camera))]
        if not good.any():
            continue
        hits = good.cumsum()
        precision = hits / np.arange(1, len(good) + 1)
        before = np.concatenate([[1.0], precision[:-1]])
        last = np.flatnonzero(good)[-1]
        figures.append(
            (precision[good].mean(), ((precision + before) / 2)[good].mean(), hits[-1] / (last + 1), hits[0])
        )
    return np.mean(figures, axis=0)


def published_loop(distances, query_identities, query_cameras, gallery_identities, gallery_cameras):
    """mAP and rank-1 in the steps of torchreid's and fast-reid's Python evaluator, its per-image list included."""
    order = np.argsort(distances, axis=1)
    matches = gallery_identities[order] == query_identities[:, None]
    curves, precisions = [], []
    for query, (identity, camera) in enumerate(zip(query_identities, query_cameras, strict=True)):
        row = order[query]
        kept = ~((gallery_identities[row] == identity) & (gallery_cameras[row] == camera))
        hits = matches[query][kept].astype(np.int32)
        if not hits.any():
            continue
        found = hits.cumsum()
        curves.append(np.minimum(found, 1)[: metrics.CMC_RANKS])
        shares = [count / (place + 1.0) for place, count in enumerate(found)]
        precisions.append((np.asarray(shares) * hits).sum() / hits.sum())
    return np.array([np.mean(precisions), np.mean(curves, axis=0)[0]])


def plain_rerank(query, gallery, k1=20, k2=6, lambda_value=0.3):
    """Re-ranking in the steps of its published numpy code: dense float32 arrays, a loop over the images."""
    features = np.concatenate([query, gallery])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    distance = np.maximum(2 - 2 * features @ features.T, 0)
    np.fill_diagonal(distance, 0)
    distance /= distance.max(axis=1, keepdims=True)
    nearest = np.argsort(distance, axis=1)
    codes = np.zeros_like(distance)

    def reciprocal(image, count):
        forward = nearest[image, :count]
        return forward[np.where(nearest[forward, :count] == image)[0]]

    for image in range(len(features)):
        core = neighbours = reciprocal(image, k1 + 1)
        for other in core:
            candidates = reciprocal(other, round(k1 / 2) + 1)
            if len(np.intersect1d(candidates, core)) > 2 / 3 * len(candidates):
                neighbours = np.append(neighbours, candidates)
        neighbours = np.unique(neighbours)
        weight = np.exp(-distance[image, neighbours])
        codes[image, neighbours] = weight / weight.sum()
    codes = np.stack([codes[nearest[image, :k2]].mean(axis=0) for image in range(len(features))])
    having = [np.where(codes[:, image] != 0)[0] for image in range(len(features))]
    result = np.empty((len(query), len(gallery)), dtype=np.float32)
    for image in range(len(query)):
        overlap = np.zeros(len(features), dtype=np.float32)
        for column in np.where(codes[image] != 0)[0]:
            overlap[having[column]] += np.minimum(codes[image, column], codes[having[column], column])
        jaccard = 1 - overlap / (2 - overlap)
        result[image] = ((1 - lambda_value) * jaccard + lambda_value * distance[image])[len(query) :]
    return result


def timed(call: Callable):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def shown(name: str, seconds: list[float]) -> float:
    """Prints a side's times; its median."""
    middle = statistics.median(seconds)
    print(f"  {name:<52} {middle:8.3f} s  ({min(seconds):.3f} to {max(seconds):.3f}, n={len(seconds)})", flush=True)
    return middle


@contextmanager
def product_timer() -> Iterator[list[float]]:
    """The seconds of every torch.mm inside: the product that any evaluator needs."""
    spent: list[float] = []
    multiply = torch.mm

    def timed_mm(*args, **kwargs):
        seconds, result = timed(lambda: multiply(*args, **kwargs))
        spent.append(seconds)
        return result

    with mock.patch.object(torch, "mm", timed_mm):
        yield spent


def compare_evaluators(name: str, size: dict[str, int], repeats: int) -> tuple[float, float]:
    """How many times faster than the vectorised loop and than the published one, the product left out."""
    print(f"{name}: {size}, {WIDTH} wide random features")
    truth = labels(**size)
    query, gallery = random_features(size["queries"], 1), random_features(size["gallery"], 2)
    normalise = torch.nn.functional.normalize
    distances = (1 - normalise(query) @ normalise(gallery).T).numpy()
    arrays = [label.numpy() for label in truth]
    some = np.random.default_rng(0).choice(len(query), min(SUBSET, len(query)), replace=False)
    products, ours, loops, published = [], [], [], []
    metrics.evaluate_retrieval(query[:50], truth[0][:50], truth[1][:50], gallery, *truth[2:])
    for _ in range(repeats):
        with product_timer() as spent:
            seconds, result = timed(lambda: metrics.evaluate_retrieval(query, *truth[:2], gallery, *truth[2:]))
        products.append(sum(spent))
        ours.append(seconds - sum(spent))
        seconds, expected = timed(lambda: vectorised_loop(distances, *arrays))
        loops.append(seconds)
        np.testing.assert_allclose([result.mAP, result.mAP_trapezoid, result.mINP], expected[:3], rtol=1e-3)
        seconds, _ = timed(lambda: published_loop(distances[some], arrays[0][some], arrays[1][some], *arrays[2:]))
        published.append(seconds * len(query) / len(some))
    shown("matrix product (shared by every evaluator)", products)
    fast = shown("this evaluator without it", ours)
    speedups = (
        shown("numpy loop: argsort, cumulative sums", loops) / fast,
        shown(f"torchreid's steps, scaled up from {len(some)} queries", published) / fast,
    )
    print(f"  {speedups[0]:.1f} and {speedups[1]:.1f} times faster")
    return speedups


def compare_rerankers(size: dict[str, int], repeats: int) -> float:
    query, gallery = clustered_features(**size)
    print(f"re-ranking: {len(query)} queries, {len(gallery)} gallery images, clustered features, product included")
    ours, plain = [], []
    for _ in range(repeats):
        seconds, result = timed(lambda: rerank_distances(query, gallery))
        ours.append(seconds)
        seconds, expected = timed(lambda: plain_rerank(query.numpy(), gallery.numpy()))
        plain.append(seconds)
    share = float((np.abs(result.numpy() - expected) > 1e-4).mean())
    print(f"  share of distances that differ by more than 1e-4 (neighbours that tie in float32): {share:.1e}")
    fast = shown("this re-ranking", ours)
    return shown("plain numpy", plain) / fast


def clustered_features(queries: int, gallery: int, identities: int, cameras: int, distractors: int):
    truth = labels(queries, gallery, identities, cameras, distractors)
    centres = random_features(identities + 1, 3)
    return tuple(
        centres[identity] + NOISE * random_features(len(identity), seed)
        for seed, identity in ((4, truth[0]), (5, truth[2]))
    )


def anonymous_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


def with_peak_memory(call: Callable) -> dict[str, float]:
    """Seconds, and the peak of this process's anonymous resident memory above where it was, every 2 ms."""
    before = peak = anonymous_bytes()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        seconds, _ = timed(call)
    finally:
        done.set()
        watcher.join()
    return {"seconds": seconds, "extra_mb": (peak - before) / 1e6}


def measure_alone(what: str, size: dict[str, int]) -> dict[str, float]:
    """One of the cases below in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", __spec__.name, "--measure", what, json.dumps(size), folder]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    print(f"{what}, {size}: {result['seconds']:.1f} s, {result['extra_mb']:.0f} MB beyond the features", flush=True)
    return result


def measure(what: str, size: dict[str, int], folder: Path) -> dict[str, float]:
    torch.ones(300, 300) @ torch.ones(300, 300)
    if what == "rerank":
        query, gallery = clustered_features(**size)
        return with_peak_memory(lambda: rerank_distances(query, gallery))
    truth = labels(**size)
    query = random_features(size["queries"], 1)
    if what == "evaluate":
        gallery = random_features(size["gallery"], 2)
        memory_bytes = metrics.MEMORY_BYTES
    else:
        stored = np.memmap(folder / "gallery.bin", np.float16, "w+", shape=(size["gallery"], WIDTH))
        for start in range(0, size["gallery"], 8192):
            part = stored[start : start + 8192]
            part[:] = random_features(len(part), start).half().numpy()
        gallery = torch.from_numpy(stored)
        memory_bytes = 2 * 2**30
    return with_peak_memory(
        lambda: metrics.evaluate_retrieval(query, *truth[:2], gallery, *truth[2:], memory_bytes=memory_bytes)
    )


def shrunk(size: dict[str, int], times: int) -> dict[str, int]:
    return {name: value if name == "cameras" else value // times for name, value in size.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that everything runs")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, size, folder = options.measure
        print(json.dumps(measure(what, json.loads(size), Path(folder))))
        return
    times, repeats = (20, 2) if options.quick else (1, 5)
    market, veri = shrunk(MARKET, times), shrunk(VERI, times)
    distractors = 500_000 // times
    crowd = market | {
        "gallery": market["gallery"] + distractors,
        "distractors": market["distractors"] + distractors,
    }
    print(f"{describe_machine()}, numpy {np.__version__}, scipy {scipy.__version__}")
    market_speedups = compare_evaluators("Market-1501", market, repeats)
    veri_speedups = compare_evaluators("VeRi-776", veri, repeats)
    rerank_speedup = compare_rerankers(shrunk(market, 4), repeats)
    print(f"re-ranking a quarter of Market-1501: {rerank_speedup:.1f} times faster")
    evaluated, crowded, reranked = (
        measure_alone(what, size) for what, size in (("evaluate", market), ("crowd", crowd), ("rerank", market))
    )
    figures = {
        "speedup_market": market_speedups[1],
        "speedup_market_over_vectorised_loop": market_speedups[0],
        "speedup_veri": veri_speedups[1],
        "speedup_veri_over_vectorised_loop": veri_speedups[0],
        "extra_memory_mb_market": evaluated["extra_mb"],
        "distractors_500k_s": crowded["seconds"],
        "distractors_500k_extra_memory_mb": crowded["extra_mb"],
        "rerank_speedup": rerank_speedup,
        "rerank_market_s": reranked["seconds"],
        "rerank_market_extra_memory_mb": reranked["extra_mb"],
    }
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
