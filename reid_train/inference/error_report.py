"""Where a model errs, as errors.json holds it: rank lists, cameras, identities, confusions, thresholds, a map.

model = load_model("results/sample/best")
report = error_report(model, pixels, data.query, data.gallery, names, on=VALIDATION)
report["camera_pairs"][0]  # the worst
"""

# N images: queries, then gallery; C counted queries, D embedding width

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from data.pixels.cache import Pixels
from data.sets.listing import DISTRACTOR, TRAIN
from data.sets.readers import find_reader
from data.sets.samples import Sample
from reid_train.inference.embedder import Embedder
from reid_train.inference.embedding_map import embedding_map
from reid_train.inference.threshold import threshold_of
from reid_train.measure.features import extract_features
from reid_train.measure.mistakes import Mistakes, Side, camera_pairs, find_mistakes, ranking, sides

LISTS_A_KIND, RANKS = 6, 10
"""Rank lists of the worst, the best and other queries, and how many images each shows."""
MOST_CONFUSED = 100


class Names(NamedTuple):
    """What the data set's owner calls things."""

    folder: Path
    """What paths are told from."""
    identities: Mapping[int, str]
    cameras: Mapping[int, str]

    def path(self, sample: Sample) -> str:
        """The image's path, from the folder."""
        return os.path.relpath(sample.path, os.path.realpath(self.folder))

    def identity(self, number: int) -> str:
        """7, van_12 or distractor."""
        return "distractor" if number == DISTRACTOR else self.identities.get(number, str(number))

    def camera(self, number: int) -> str:
        """2, or gate; "" where none is known."""
        return self.cameras.get(number, str(number) if number >= 0 else "")

    def shown(self, sample: Sample) -> dict[str, str]:
        """An image as JSON holds it."""
        who, camera = self.identity(sample.identity), self.camera(sample.camera)
        return {"path": self.path(sample), "identity": who, "camera": camera}


def names_of_set(
    data_dir: str, dataset: str | None = None, name_pattern: str | None = None, *, split: str = TRAIN
) -> Names:
    """The names in a split of the data set at `data_dir`, which may be a folder or a manifest's file."""
    reader, place = find_reader(data_dir, dataset, name_pattern)
    listing = reader.list_split(place, split, outside_images=True)
    folder = Path(os.path.expanduser(data_dir))  # noqa: PTH111 - Path's raises for users that there are not
    return Names(folder if folder.is_dir() else folder.parent, listing.identity_names, listing.camera_names)


def embed_samples(model: Embedder, pixels: Pixels, samples: Sequence[Sample]) -> torch.Tensor:
    """Embeddings of unit length (N x D), on the model's device."""
    feature_ND = extract_features(model.network, pixels, samples, device=model.device, precision=model.precision)
    with torch.no_grad():
        return F.normalize(model.network.neck(feature_ND))


def error_report(
    model: Embedder,
    pixels: Pixels,
    query: Sequence[Sample],
    gallery: Sequence[Sample],
    names: Names,
    *,
    on: str,
    seed: int = 0,
) -> dict[str, Any]:
    """The content of errors.json. `seed` draws queries and the map. Raises UserError where no query has a match."""
    samples = [*query, *gallery]
    embedding_ND = embed_samples(model, pixels, samples)
    of_query, of_gallery = sides(embedding_ND, query, gallery)
    found = find_mistakes(of_query, of_gallery)
    metrics = found.metrics
    cameras = {sample.camera for sample in samples if sample.camera >= 0}
    return {
        "on": on,
        "weights_sha256": model.digest,
        "data_dir": str(names.folder),
        "queries": metrics.queries,
        "identities": len({query[place].identity for place in metrics.query_index.tolist()}),
        "cameras": len(cameras),
        "mAP": metrics.mAP,
        "rank1": float(metrics.cmc[0]),
        "lists": _lists(found, of_query, of_gallery, query, gallery, names, seed),
        "camera_pairs": [
            {**pair._asdict(), "query": names.camera(pair.query), "gallery": names.camera(pair.gallery)}
            for pair in camera_pairs(of_query, of_gallery)
        ],
        "by_identity": _by_identity(found, query, gallery, names),
        "confused": _confused(found, query, gallery, names),
        "threshold": threshold_of(embedding_ND, query, gallery, on=on, weights=model.digest),
        "map": _map(embedding_ND.cpu().numpy(), samples, names, seed),
    }


def _lists(
    found: Mistakes,
    of_query: Side,
    of_gallery: Side,
    query: Sequence[Sample],
    gallery: Sequence[Sample],
    names: Names,
    seed: int,
) -> list[dict[str, Any]]:
    """Rank lists: of the worst queries the worst first, of the best the best first, of some of the others at random."""
    precision_C = found.metrics.average_precision.numpy()
    lists = []
    for kind, places in choose_queries(precision_C, seed).items():
        for place in places:
            number = int(found.metrics.query_index[place])
            order_G, similarity_G = ranking(of_query, of_gallery, number)
            ranked = [(gallery[image], value) for image, value in zip(order_G[:RANKS], similarity_G, strict=False)]
            lists.append(
                {
                    "kind": kind,
                    "query": names.shown(query[number]),
                    "ap": float(precision_C[place]),
                    "ranked": [
                        {
                            **names.shown(sample),
                            "similarity": round(float(value), 4),
                            "right": sample.identity == query[number].identity,
                        }
                        for sample, value in ranked
                    ],
                }
            )
    return lists


def choose_queries(precision_C: np.ndarray, seed: int) -> dict[str, list[int]]:
    """The places of the worst queries, of some at random and of the best; none is there twice."""
    order_C = np.argsort(precision_C, kind="stable")
    each = min(LISTS_A_KIND, -(-len(order_C) // 3))
    worst, others = order_C[:each], order_C[each:]
    best = others[::-1][:each]
    between = others[: len(others) - len(best)]
    drawn = np.random.default_rng(seed).permutation(between)[:each]
    return {"worst": worst.tolist(), "random": drawn.tolist(), "best": best.tolist()}


def _by_identity(
    found: Mistakes, query: Sequence[Sample], gallery: Sequence[Sample], names: Names
) -> list[dict[str, Any]]:
    images = Counter(sample.identity for sample in {*query, *gallery})
    precisions = defaultdict[int, list[float]](list)
    for identity, precision in zip(
        found.metrics.identity.tolist(), found.metrics.average_precision.tolist(), strict=True
    ):
        precisions[identity].append(precision)
    rows = [
        {
            "identity": names.identity(identity),
            "queries": len(of_identity),
            "images": images[identity],
            "mAP": float(np.mean(of_identity)),
        }
        for identity, of_identity in precisions.items()
    ]
    return sorted(rows, key=lambda row: (row["mAP"], row["identity"]))


def _confused(
    found: Mistakes, query: Sequence[Sample], gallery: Sequence[Sample], names: Names
) -> list[dict[str, Any]]:
    """Identities whose queries have an image of another one at rank 1, the most queries first."""
    of_identity = Counter(found.metrics.identity.tolist())
    pairs = defaultdict[tuple[int, int], list[tuple[int, int]]](list)
    for number, image in found.wrong_at_1.items():
        pairs[query[number].identity, gallery[image].identity].append((number, image))
    ordered = sorted(pairs.items(), key=lambda item: (-len(item[1]), -len(item[1]) / of_identity[item[0][0]], item[0]))
    return [
        {
            "identity": names.identity(identity),
            "with": names.identity(other),
            "queries": len(wrong),
            "of": of_identity[identity],
            "example": [names.path(query[wrong[0][0]]), names.path(gallery[wrong[0][1]])],
        }
        for (identity, other), wrong in ordered[:MOST_CONFUSED]
    ]


def _map(embedding_ND: np.ndarray, samples: Sequence[Sample], names: Names, seed: int) -> list[dict[str, Any]]:
    """Distractors are not on it: they are nobody. An image that is query and gallery is there once."""
    first: dict[Sample, int] = {}
    for place, sample in enumerate(samples):
        first.setdefault(sample, place)
    known = [place for sample, place in first.items() if sample.identity != DISTRACTOR]
    identity_N = np.array([samples[place].identity for place in known], dtype=np.int64)
    place_M, at_M2 = embedding_map(embedding_ND[known], identity_N, seed=seed)
    return [
        {**names.shown(samples[known[place]]), "x": round(x, 3), "y": round(y, 3)}
        for place, (x, y) in zip(place_M.tolist(), at_M2.tolist(), strict=True)
    ]
