"""A model's thresholds: threshold.json beside its weights, and what they say of a similarity.

    threshold = read_threshold("results/sample/best", digest)
    threshold.similarity(0.01)  # 0.62: of 100 pairs of two identities one reaches it
    threshold.verdict(0.71)  # "same (0.71, threshold 0.62: 1 false in 100)"

They belong to the weights that they were measured with: beside others they are not used.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from data.sets.listing import DISTRACTOR
from data.sets.samples import Sample, knows_cameras, name_of
from data.system.errors import UserError
from data.system.files import read_json, write_json
from reid_train.measure.pairs import Pairs
from reid_train.measure.threshold import measure_threshold

logger = logging.getLogger(__name__)

THRESHOLD = "threshold.json"
VALIDATION, TEST = "validation identities", "test images"
"""What errors and thresholds are measured on."""
USUALLY = 0.5
"""The least share of pairs of one identity that must reach a threshold, for one below it to tell anything."""
LENIENT = ConfigDict(extra="ignore", allow_inf_nan=False)


@dataclass(frozen=True, config=LENIENT)
class Point:
    """A threshold and its errors, shares from 0 to 1."""

    threshold: float
    """The least similarity that counts as the same."""
    false_positive_rate: float
    """Share of the pairs of two identities that reach it."""
    true_positive_rate: float
    """Share of the pairs of one identity that reach it."""
    low: float | None = None
    """The 95 % interval of the true-positive rate; None with too few identities."""
    high: float | None = None


@dataclass(frozen=True, config=LENIENT)
class EqualError:
    """Where as many of the one are taken for the same as of the other for different."""

    threshold: float
    rate: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, config=LENIENT)
class Threshold:
    """From which similarity on two images show the same identity."""

    measured_on: str
    identities: int
    pairs_same: int
    pairs_different: int
    eer: EqualError
    at: tuple[Point, ...]
    """For each false-positive rate that the pairs could tell, the largest first."""
    weights_sha256: str

    def similarity(self, false_positive_rate: float) -> float:
        """The threshold at one of the measured rates (0.01, 0.001, 0.0001). Raises UserError for another one."""
        for point in self.at:
            if abs(point.false_positive_rate - false_positive_rate) < 1e-9:
                return point.threshold
        known = ", ".join(f"{point.false_positive_rate:g}" for point in self.at) or "none"
        raise UserError(
            f"false_positive_rate={false_positive_rate:g}: no threshold was measured at it; there are: {known} "
            f"(of {self.pairs_different:,} pairs); eer.threshold is there always"
        )

    @property
    def points(self) -> tuple[Point, ...]:
        """`at`; where the pairs could tell no rate, the one point of the equal error rate."""
        equal = self.eer
        return self.at or (Point(equal.threshold, equal.rate, 1 - equal.rate),)

    def reached(self, similarity: float) -> Point | None:
        """The strictest threshold that the similarity reaches."""
        return next((point for point in reversed(self.points) if similarity >= point.threshold), None)

    def verdict(self, similarity: float) -> str:
        """What the thresholds say of two images that are so similar, in words."""
        if point := self.reached(similarity):
            return f"same ({similarity:.2f}, threshold {point.threshold:.2f}: {false_ones(point)})"
        return f"not the same, probably ({self._below(similarity)})"

    def verdict_in(self, similarity: float, images: int) -> str:
        """The same of a gallery of so many images, the most similar of which is so similar."""
        point, first = self.reached(similarity), self.points[0]
        if point is None and first.true_positive_rate < USUALLY:
            return f"whether this identity is here cannot be told ({self._below(similarity)})"
        if point is None:
            return f"no such identity in this gallery, probably ({self._below(similarity)})"
        by_chance = round(point.false_positive_rate * images)
        more = (
            f"; among {images:,} images about {by_chance:,} of other identities would seem so, too" if by_chance else ""
        )
        return f"the first is the {self.verdict(similarity)}{more}"

    def _below(self, similarity: float) -> str:
        first = self.points[0]
        return f"{similarity:.2f}, threshold {first.threshold:.2f}: {reaching(first)}"

    def short(self) -> dict[str, Any]:
        """What an exported file tells of it: no intervals."""
        return {
            "measured_on": self.measured_on,
            "identities": self.identities,
            "pairs_same": self.pairs_same,
            "pairs_different": self.pairs_different,
            "weights_sha256": self.weights_sha256,
            "eer": {"threshold": self.eer.threshold, "rate": self.eer.rate},
            "at": [
                {name: getattr(point, name) for name in ("false_positive_rate", "threshold", "true_positive_rate")}
                for point in self.at
            ],
        }


def false_ones(point: Point) -> str:
    """How often other identities reach a threshold: `1 false in 1,000`."""
    if point.false_positive_rate <= 0:
        return "none false"
    return f"1 false in {round(1 / point.false_positive_rate):,}"


def reaching(point: Point) -> str:
    """How many pairs of one identity reach a threshold."""
    return f"{100 * point.true_positive_rate:.0f} % of the pairs of one identity reach it"


def threshold_of(
    embedding_ND: torch.Tensor, query: Sequence[Sample], gallery: Sequence[Sample], *, on: str, weights: str
) -> dict[str, Any] | None:
    """The content of threshold.json, from embeddings of unit length, the queries' first; None without pairs.

    `weights` is their digest. Distractors make no pairs, since two of them may be one person, and neither does a
    gallery's copy of a query. Where one camera took all images, two of one identity are a pair all the same.
    """
    queries = {(name_of(sample.path), *sample[1:]) for sample in query}
    kept = [place for place, sample in enumerate(query) if sample.identity != DISTRACTOR]
    kept += [
        place
        for place, sample in enumerate(gallery, start=len(query))
        if sample.identity != DISTRACTOR and (name_of(sample.path), *sample[1:]) not in queries
    ]
    samples = [*query, *gallery]
    identity_N, camera_N = (np.array([samples[place][column] for place in kept], dtype=np.int64) for column in (1, 2))
    one_camera = len({sample.camera for sample in samples}) == 1
    if one_camera:
        camera_N = np.arange(len(kept))
    found = measure_threshold(Pairs(embedding_ND[kept], identity_N, camera_N)) if kept else None
    if found is None:
        return None
    by = " (one camera took all)" if one_camera else ", by two cameras" if knows_cameras(samples) else ""
    same = f"two images of one identity{by}"
    pairs = f"{same}; images of two identities, by whatever cameras"
    return {"measured_on": on, "weights_sha256": weights, "pairs": pairs, **found}


def threshold_file(checkpoint: str | Path) -> Path:
    """Where the thresholds of a checkpoint's folder, or of its file of weights, lie."""
    place = Path(checkpoint)
    return (place if place.is_dir() else place.parent) / THRESHOLD


def write_threshold(checkpoint: str | Path, found: dict[str, Any]) -> Path:
    """Puts what `threshold_of` gave beside the weights; gives the file."""
    write_json(file := threshold_file(checkpoint), found)
    return file


def read_threshold(checkpoint: str | Path, weights: str) -> Threshold | None:
    """The thresholds beside a checkpoint's weights, whose digest is `weights`; None where there are none of these.

    Raises UserError for a damaged file.
    """
    file = threshold_file(checkpoint)
    try:
        recorded = read_json(file)
    except FileNotFoundError:
        return None
    try:
        threshold = Threshold(**recorded)
    except (ValidationError, TypeError) as error:
        raise UserError(f"{file}: damaged: not what reid_train.errors writes; remove it to go on without it") from error
    if threshold.weights_sha256 != weights:
        logger.warning("%s: measured with other weights than those beside it, and not used", file)
        return None
    return threshold
