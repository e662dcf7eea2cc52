"""Studies for the report's page, made up in seconds: trials, repeats, a winner, test figures and errors.json.

study = made_up_study(folder, trials=40, data_dir=draw_pictures(folder))
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.drawing.datasets import draw_dataset
from tests.reports import epoch_report
from tuning.confirm.candidates import DEFAULT, Candidate, Comparison, candidates
from tuning.confirm.repeats import open_record
from tuning.confirm.verdict import verdict
from tuning.confirm.winner import Winner, _table, median_run
from tuning.decide.proposals import distinct, drawn
from tuning.record.cause import Cause, Kind
from tuning.record.prices import architecture_key, costs_of
from tuning.record.study import Study
from tuning.record.trial import Decision, TrialState
from tuning.result.conclude import write_best_config
from tuning.space.read import read_space

SPACE = """\
fixed:
  data_dir: DATA
  image_height: 64
  image_width: 32
  backbone: resnet18
  pretrained: none
  images_per_identity: 4
search:
  learning_rate: {low: 1.0e-4, high: 2.0e-2, log: true}
  margin: [0.1, 0.3, 1.0, soft]
  batch_size: [16, 32]
  optimizer: [adamw, sgd]
  momentum: {low: 0.5, high: 0.95, when: {optimizer: sgd}}
  weight_decay: {low: 1.0e-5, high: 1.0e-2, log: true}
  label_smoothing: {low: 0.0, high: 0.2}
study: {trials: 40, rungs: [4, 12], metrics: METRICS}
"""
RUNGS = (4, 12)
ONE_METRIC, TWO_METRICS = "{val_mAP: max}", "{val_mAP: max, parameters: min}"
PARAMETERS = {"resnet18": 11_200_000, "resnet50": 23_500_000, "resnet50_ibn": 23_600_000}
"""What each backbone costs in a study of two metrics, where it is searched."""


def true_score(values: Mapping[str, Any], rung: int) -> float:
    """What a configuration comes to, but for the noise."""
    best = 6e-3 if values["optimizer"] == "adamw" else 9e-3
    away = math.log10(values["learning_rate"] / best)
    score = 0.62 * math.exp(-1.1 * away * away) + 0.03 * (values["margin"] == 0.3)
    score -= 0.3 * values["label_smoothing"] ** 2 + 0.03 * (values["batch_size"] == 16)
    score += 0.06 * list(PARAMETERS).index(values.get("backbone", "resnet18"))
    return float(np.clip(score * (1 if rung == RUNGS[1] else 0.72), 0.03, 0.97))


def train(
    study: Study, number: int, rung: int, score: float, rng: np.random.Generator, most: int | None = None
) -> None:
    """One schedule whose score rises to `score`; `most` of its epochs, where that is not 0."""
    for epoch in range(1, (most or rung) + 1):
        done = epoch / rung
        at = score * (1 - math.exp(-4 * done)) / (1 - math.exp(-4)) * (1 if done == 1 else 1 + rng.normal(0, 0.02))
        figures = {"val_mAP": at, "val_rank1": at**0.6, "val_rank5": at**0.4, "val_mINP": at**1.8}
        losses = {"loss": 4 - 3 * at, "ce_loss": 3 - 2.4 * at, "metric_loss": 1 - 0.6 * at, "accuracy": at**0.8}
        shape = {"num_epochs": rung, "seconds": 3.1, "learning_rate": 1e-3 * math.sin(math.pi * (0.05 + 0.94 * done))}
        study.record(number, rung, epoch_report(epoch, **figures, **losses, **shape))


def made_up_study(
    folder: Path,
    *,
    trials: int,
    data_dir: Path | str = "data/none",
    metrics: str = ONE_METRIC,
    in_memory: bool = False,
    ended: bool = True,
    space: str = SPACE,
) -> Study:
    """A study of random configurations, of which the better ones go on to the top; each eleventh fails.

    `in_memory`: without repeats. `ended`: with a winner.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = space.replace("DATA", json.dumps(str(data_dir))).replace("METRICS", metrics)
    if metrics == TWO_METRICS:
        text = text.replace("  backbone: resnet18\n", "").replace("search:", f"search:\n  backbone: {[*PARAMETERS]}")
    (folder / "space.yaml").write_text(text)
    study = Study(folder, read_space(folder / "space.yaml"), in_memory=in_memory)
    if study.space.study.costs:
        keys = [(architecture_key(study.space.config({"backbone": name})), name) for name in PARAMETERS]
        study.note(prices=[(key, {"parameters": float(PARAMETERS[name])}) for key, name in keys])
    rng = np.random.default_rng(0)
    others = distinct(drawn(study.space, rng), set(), max(trials - 1, 0)) if trials > 1 else []
    for place, values in enumerate([study.space.default, *others][:trials]):
        try_one(study, place, values, rng)
    study.note(elapsed_s=3.3 * sum(trial.epochs for trial in study.trials()), data_fingerprint="3f" * 32)
    study.note(command=".venv/bin/python -m tuning.search --space space.yaml", images_left_out=["0007_c1s1_broken.jpg"])
    study.note(validation_split="8 identities, 64 queries, 0 images held out (0123456789ab)", training_code="ab" * 32)
    if ended and trials:
        conclude(study, None if in_memory else open_record(folder, study.space), rng)
    return study


def try_one(study: Study, place: int, values: Mapping[str, Any], rng: np.random.Generator) -> None:
    """A trial: failed, paused at the first rung, or complete."""
    number = study.add(dict(values), costs=costs_of(study, values))
    if place % 11 == 7:
        if place % 2:
            train(study, number, RUNGS[0], 0.05, rng, most=2)
        study.finish(number, TrialState.FAILED, Cause(Kind.DIVERGED, "the loss was nan at step 37: ce_loss nan"))
        return
    first, last = (float(np.clip(true_score(values, rung) + rng.normal(0, 0.012), 0.01, 0.99)) for rung in RUNGS)
    train(study, number, RUNGS[0], first, rng)
    if place and first < 0.34:
        study.decide(number, RUNGS[0], Decision.PAUSED)
        return
    study.decide(number, RUNGS[0], Decision.PROMOTED)
    train(study, number, RUNGS[1], last, rng)
    study.finish(number, TrialState.COMPLETE)


def conclude(study: Study, record: Study | None, rng: np.random.Generator) -> None:
    """Repeats of the best three, the winner, and what a search's end writes."""
    found = sorted(candidates(study, record), key=lambda one: -max(run.score for run in one.runs))
    for one in found[:3]:
        for seed in (1, 2) if record is not None else ():
            assert record is not None
            number = record.add({}, {"of": one.of, "parameters": one.parameters, "seed": seed})
            train(record, number, RUNGS[1], true_score(one.parameters, RUNGS[1]) + rng.normal(0, 0.012), rng)
            record.finish(number, TrialState.COMPLETE)
    found = candidates(study, record)
    if not any(one.of == DEFAULT for one in found):
        found.append(Candidate(DEFAULT, study.space.default, [], costs_of(study, study.space.default), False))
    compared = Comparison(study, record, found)
    means = [compared.mean_C[place] if one.runs and one.eligible else 0.0 for place, one in enumerate(found)]
    winner, default = int(np.argmax(means)), [one.of for one in found].index(DEFAULT)
    said = verdict(study, found, compared, winner=winner, default=default, own_sd=0.008)
    study.note(confirmation={"rows": _table(study, found, compared, winner), "sentences": [said]})
    of, run = found[winner].of, median_run(found[winner])
    config = study.space.config(found[winner].parameters).changed(seed=run.seed, num_epochs=RUNGS[1])
    write_best_config(study, Winner(of, config, None, run.score))
    label = {"of": of, "epochs": RUNGS[1], "seed": run.seed, "score": run.score}
    write(study.folder / "best" / "trial.json", label)
    write(study.folder / "untrained.json", {"val_mAP": 0.061})
    bounds = {"mAP": [0.47, 0.58], "mAP_trapezoid": [0.44, 0.56], "rank1": [0.6, 0.74], "mINP": [0.2, 0.31]}
    figures = {"mAP": 0.527, "mAP_trapezoid": 0.502, "rank1": 0.672, "rank5": 0.8, "rank10": 0.88, "mINP": 0.252}
    looks = [{"for": f"search's end, {of}", "when": "2026-11-27T10:00:00+00:00"}]
    test = {"best": label, "dataset": "market1501", **figures, "queries": 64, "identities": 16, "intervals": bounds}
    write(study.folder / "test_metrics.json", {**test, "evaluations": looks})
    versions = {"python": "3.11.7", "torch": "2.14.1", "ray": "2.60.0", "optuna": "5.0.0"}
    machine = {"machine": "Linux-6.1", "processor": "a processor", "cpus": 2, "gpus": []}
    write(study.folder / "environment.json", {"versions": versions, "commit": "3cc671f0", **machine, "seed": 0})


def write(file: Path, value: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value))


def draw_pictures(folder: Path) -> Path:
    """Drawn people, as the project's sample has them."""
    draw_dataset(
        "market1501", folder / "drawn", identities=24, test_identities=8, cameras=4, images_per_camera=2, seed=0
    )
    return folder / "drawn"


def made_up_errors(data_dir: Path, *, points: int = 400, lists: int = 6) -> dict[str, Any]:
    """An errors.json about the training images of a data set in Market-1501's layout."""
    rng = np.random.default_rng(1)
    files = sorted(data_dir.glob("bounding_box_train/*.jpg")) or [
        Path(f"{n:04d}_c{n % 4 + 1}s1.jpg") for n in range(99)
    ]
    images = [image_of(file, data_dir) for file in files]
    identities, cameras = sorted({i["identity"] for i in images}), sorted({i["camera"] for i in images})

    def ranked(query: dict[str, str], kind: str) -> list[dict[str, Any]]:
        others = [image for image in images if image["camera"] != query["camera"]]
        own = [image for image in others if image["identity"] == query["identity"]]
        wrong = [others[place] for place in rng.permutation(len(others))[:10] if others[place] not in own]
        order = (own + wrong if kind == "best" else wrong[:4] + own + wrong[4:])[:10]
        return [
            {**image, "similarity": round(0.92 - 0.04 * place, 3), "right": image["identity"] == query["identity"]}
            for place, image in enumerate(order)
        ]

    found = []
    for kind, low in (("worst", 0.03), ("random", 0.4), ("best", 0.97)):
        for place in range(lists):
            query = images[int(rng.integers(len(images)))]
            found.append({"kind": kind, "query": query, "ap": low + 0.005 * place, "ranked": ranked(query, kind)})
    centres = rng.normal(0, 3, (len(identities), 2))
    chosen = [images[place % len(images)] for place in range(points)]
    positions = [centres[identities.index(image["identity"])] + rng.normal(0, 0.35, 2) for image in chosen]
    return {
        "on": "validation identities", "data_dir": str(data_dir), "queries": 64, "identities": len(identities),
        "cameras": len(cameras), "mAP": 0.61, "rank1": 0.8, "lists": found,
        "camera_pairs": sorted((
            {"query": a, "gallery": b, "queries": 16, "rank1": float(rng.uniform(0.4, 0.95)),
             "mAP": float(rng.uniform(0.3, 0.8))}
            for a in cameras for b in cameras if a != b
        ), key=lambda pair: pair["rank1"]),
        "by_identity": [{"identity": name, "queries": 4, "images": 8, "mAP": 0.1 + 0.8 * place / len(identities)}
                        for place, name in enumerate(identities)],
        "confused": [{"identity": a, "with": b, "queries": 6 - place, "of": 8, "example": [
            next(i["path"] for i in images if i["identity"] == name) for name in (a, b)]}
            for place, (a, b) in enumerate(zip(identities[:5], identities[5:10], strict=False))],
        "threshold": made_up_threshold(),
        "map": [{**image, "x": float(p[0]), "y": float(p[1])} for image, p in zip(chosen, positions, strict=True)],
    }  # fmt: skip


def image_of(file: Path, data_dir: Path) -> dict[str, str]:
    """An image as errors.json names it."""
    identity, camera = file.name.split("_")[:2]
    path = file.relative_to(data_dir).as_posix() if file.is_absolute() else file.as_posix()
    return {"path": path, "identity": str(int(identity)), "camera": camera[:2]}


def made_up_threshold() -> dict[str, Any]:
    """A threshold.json of two bell curves."""
    normal = np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))
    thresholds = np.linspace(-0.2, 1.0, 101)
    same, different = 1 - normal((thresholds - 0.7) / 0.1), 1 - normal((thresholds - 0.38) / 0.1)
    edges = np.linspace(-0.2, 1.0, 51)
    counts = {
        "same": (np.diff(normal((edges - 0.7) / 0.1)) * 1200).round().astype(int).tolist(),
        "different": (np.diff(normal((edges - 0.38) / 0.1)) * 50000).round().astype(int).tolist(),
    }
    return {
        "measured_on": "validation identities", "identities": 20, "pairs_same": 1200, "pairs_different": 50000,
        "eer": {"threshold": 0.54, "rate": 0.055, "low": 0.03, "high": 0.08},
        "at": [
            {"false_positive_rate": 0.01, "threshold": 0.61, "true_positive_rate": 0.81, "low": 0.74, "high": 0.87},
            {"false_positive_rate": 0.001, "threshold": 0.69, "true_positive_rate": 0.54, "low": 0.45, "high": 0.63},
        ],
        "curve": [
            {"threshold": round(float(t), 4), "true_positive_rate": float(s), "false_positive_rate": float(d)}
            for t, s, d in zip(thresholds, same, different, strict=True)
        ],
        "histogram": {"edges": [round(float(e), 4) for e in edges], **counts},
    }  # fmt: skip
