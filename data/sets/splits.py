"""Holds out training identities for validation, and images of the other identities for the classifier.

data = hold_out_images(split_identities(read_train("data/VeRi"), fraction=0.2, seed=0))
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from data.sets.samples import Sample, name_of
from data.system.errors import UserError

MINIMUM_VALIDATION_IDENTITIES = 8


class TrainingData(NamedTuple):
    """The images that a training run may see. Nothing here leads to the test images."""

    train: list[Sample]
    """Images to learn from."""
    query: list[Sample]
    """Validation queries, of identities that are not in `train`; may be empty (no validation)."""
    gallery: list[Sample]
    """Validation gallery, of the same identities as `query`."""
    holdout: Sequence[Sample] = ()
    """Images of training identities kept out of `train`, for the classifier's validation loss and accuracy."""


def _order(seed: int, *what: object) -> bytes:
    """A sort key that is random in `seed` and the same on every machine and Python version."""
    return hashlib.sha256(":".join(map(str, (seed, *what))).encode()).digest()


def _by_identity(samples: list[Sample]) -> dict[int, list[Sample]]:
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in sorted(samples):
        groups[sample.identity].append(sample)
    return groups


def split_query_gallery(samples: list[Sample], seed: int) -> tuple[list[Sample], list[Sample]]:
    """Divides one identity's images into queries and gallery: at most one query for each camera, and at most a third of
    the images, but at least one image.

    Every query keeps a match: an image of another camera in the gallery. So an identity that a single camera saw gives
    gallery images alone.
    """
    gallery = sorted(
        samples, key=lambda sample: _order(seed, "query", sample.identity, sample.camera, name_of(sample.path))
    )
    left = Counter(sample.camera for sample in gallery)
    most = min(max(1, len(samples) // 3), len(left))
    query: dict[int, int] = {}  # camera -> place in `gallery`
    for place, candidate in enumerate(gallery):
        if len(query) >= most:
            break
        if candidate.camera in query:
            continue
        left[candidate.camera] -= 1
        if not left[candidate.camera]:
            del left[candidate.camera]
        # With two cameras left every query has another one's image; with one, those of that camera would have none.
        if len(left) > 1 or (len(left) == 1 and not left.keys() & {candidate.camera, *query}):
            query[candidate.camera] = place
        else:
            left[candidate.camera] += 1
    chosen = set(query.values())
    rest = [sample for place, sample in enumerate(gallery) if place not in chosen]
    return sorted(gallery[place] for place in chosen), sorted(rest)


def split_identities(samples: list[Sample], *, fraction: float = 0.2, seed: int = 0) -> TrainingData:
    """Holds out `fraction` (0 to 1) of the identities, at least 8, for validation.

    The same samples, fraction and seed give the same split on every machine, wherever the images lie.
    Raises UserError when fewer than 2 identities would be left to train on or no query would have a match.
    """
    groups = _by_identity(samples)
    held_out = max(round(len(groups) * fraction), MINIMUM_VALIDATION_IDENTITIES)
    if len(groups) - held_out < 2:
        raise UserError(
            f"{len(groups)} training identities cannot spare {held_out} for validation; "
            f"at least {MINIMUM_VALIDATION_IDENTITIES + 2} identities are needed, and a fraction (now {fraction:g}) "
            "that leaves 2 of them to train on"
        )
    # Identities seen by two cameras are held out first, since only they can have a query with a match. Where they are
    # scarce, half of them stay to train on.
    shuffled = sorted(groups, key=lambda identity: _order(seed, "identity", identity))
    usable = [identity for identity in shuffled if len({sample.camera for sample in groups[identity]}) > 1]
    if not usable:
        raise UserError(
            "no training identity is seen by two cameras (without cameras: in two images), so no validation "
            "query could have a match"
        )
    seen_twice = set(usable)
    rest = [identity for identity in shuffled if identity not in seen_twice]
    spared = max(len(usable) // 2, len(usable) - held_out)
    validation = set((usable[: len(usable) - spared] + rest + usable[len(usable) - spared :])[:held_out])
    query: list[Sample] = []
    gallery: list[Sample] = []
    for identity in sorted(validation):
        of_query, of_gallery = split_query_gallery(groups[identity], seed)
        query += of_query
        gallery += of_gallery
    return TrainingData([s for s in sorted(samples) if s.identity not in validation], query, gallery)


def describe_split(data: TrainingData) -> str:
    """What is held out, as a text of numbers and a digest: equal texts mean that the same images are held out.

    Folders do not count, so that a copy of the data set has the same text.
    """
    held_out = (data.query, data.gallery, data.holdout)
    sides = [sorted((name_of(sample.path), sample.identity, sample.camera) for sample in side) for side in held_out]
    digest = hashlib.sha256(repr(sides).encode()).hexdigest()[:12]
    identities = len({sample.identity for sample in data.gallery})
    return f"{identities} identities, {len(data.query)} queries, {len(data.holdout)} images held out ({digest})"


def hold_out_images(
    data: TrainingData, *, images_per_identity: int = 1, minimum: int = 4, seed: int = 0
) -> TrainingData:
    """Moves `images_per_identity` images of every training identity with at least `minimum` images to `holdout`.

    An identity keeps an image of every camera that saw it, where it has enough images.
    """
    holdout: list[Sample] = []
    for identity, samples in _by_identity(data.train).items():
        if len(samples) >= max(minimum, images_per_identity + 1):
            of_camera = Counter(sample.camera for sample in samples)
            shuffled = sorted(samples, key=lambda s: _order(seed, "holdout", identity, name_of(s.path)))
            holdout += sorted(shuffled, key=lambda s: of_camera[s.camera] == 1)[:images_per_identity]
    kept = set(holdout)
    return data._replace(train=[sample for sample in data.train if sample not in kept], holdout=holdout)
