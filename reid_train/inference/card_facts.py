"""What is on record of a model: in its checkpoint, beside it, and in the study in whose folder it lies.

facts = collect("results/sample/best")
facts.test["mAP"], facts.looks
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from data.sets.readers import find_reader
from data.system.errors import UserError
from data.system.files import read_json
from reid_train.checkpoints.checkpoint import DESCRIPTION, build_model, load_checkpoint
from reid_train.inference.evaluation_count import TEST_METRICS, read_test_metrics, study_above
from reid_train.inference.threshold import THRESHOLD
from reid_train.settings.config import TrainConfig

ENVIRONMENT = "environment.json"
"""In a study's folder: versions and the data's fingerprint (tuning/record/environment.py)."""
LABEL = "trial.json"
"""In a study's best/: whose weights these are."""


class CardFacts(NamedTuple):
    """What a card is made of; None and empty for what nobody recorded."""

    title: str
    config: TrainConfig
    epoch: int
    width: int
    identities: int
    digest: str
    metrics: Mapping[str, Any]
    """The last epoch's report."""
    layout: str
    """The reader of the data set, or "unknown"."""
    test: Mapping[str, Any]
    """Figures on query and gallery, as `measure.scores.summary` names them."""
    looks: Sequence[Mapping[str, str]]
    """Every counted look at the test images."""
    threshold: Mapping[str, Any] | None
    fingerprint: str | None
    left_out: int | None
    versions: Mapping[str, str]


def collect(folder: str | Path) -> CardFacts:
    """Raises UserError for a damaged checkpoint."""
    folder = Path(folder)
    place = folder if folder.is_dir() else folder.parent
    loaded = load_checkpoint(folder)
    study = study_above(place)
    of_study = _read(study / ENVIRONMENT) if study else {}
    test = _test_figures(place, study, loaded.digest)
    with torch.device("meta"):
        width = build_model(loaded.config, len(loaded.identities)).neck.num_features
    return CardFacts(
        title=f"{study.name}, {place.name}" if study else place.resolve().name,
        config=loaded.config,
        epoch=loaded.epoch,
        width=width,
        identities=len(loaded.identities),
        digest=loaded.digest,
        metrics=loaded.metrics,
        layout=test.get("dataset") or _layout(loaded.config),
        test=test,
        looks=read_test_metrics(study).get("evaluations", []) if study else [],
        threshold=_read(place / THRESHOLD) or None,
        fingerprint=of_study.get("data_fingerprint"),
        left_out=len(of_study["images_left_out"]) if "images_left_out" in of_study else None,
        versions=_read(place / DESCRIPTION).get("versions", {}),
    )


def _test_figures(place: Path, study: Path | None, digest: str) -> dict[str, Any]:
    """What was measured of these weights: for a study's winner by the search, for a retrained one by the retraining,
    else by reid_train.evaluate."""
    if study is not None and (winner := _read(place / LABEL)):
        figures = _read(study / TEST_METRICS)
        if "mAP" in figures and figures.get("best") == winner:
            return figures
    if "mAP" in (figures := _read(place / TEST_METRICS)):
        return figures
    figures = _read(place / "evaluation.json")
    return figures if figures.get("weights_sha256") == digest and "mAP" in figures else {}


def _layout(config: TrainConfig) -> str:
    with suppress(UserError):
        return find_reader(config.data_dir, config.dataset, config.name_pattern)[0].name
    return "unknown"


def _read(file: Path) -> dict[str, Any]:
    """What a JSON file holds; empty where it is missing, damaged or no object."""
    try:
        found = read_json(file)
    except (OSError, UserError):
        return {}
    return found if isinstance(found, dict) else {}
