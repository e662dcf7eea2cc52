"""Batches of P identities x K images, as a pure function of (seed, epoch): nothing to save, nothing to restore.

epoch_batches([0, 0, 1, 1, 2, 2], batch_size=4, images_per_identity=2, seed=0, epoch=0)  # 2 batches: 2 x 2 indices
"""

import heapq
import math
from collections.abc import Sequence

import numpy as np

from data.system.errors import UserError


def steps_per_epoch(images: int, batch_size: int) -> int:
    """ceil(images / batch_size): the exact number of batches of an epoch."""
    return math.ceil(images / batch_size)


def images_per_identity_for(batch_size: int, least: int, identities: int) -> list[int]:
    """The values of K from `least` on with which so many identities fill a batch, in rising order."""
    return [k for k in range(least, batch_size + 1) if batch_size % k == 0 and 2 <= batch_size // k <= identities]


def check_batch(batch_size: int, images_per_identity: int | None, identities: int | None = None) -> None:
    """Raises UserError, naming values that fit, for a batch that P >= 2 identities x K images cannot fill.

    P is batch_size / images_per_identity. With `identities`, the training set's, P may be at most that many.
    """
    if images_per_identity is None:
        return
    k = images_per_identity
    batch = f"batch_size={batch_size} with images_per_identity={k}"
    if batch_size % k:
        nearest = max(batch_size - batch_size % k, 2 * k)
        nearest = nearest if identities is None else min(nearest, k * identities)
        raise UserError(
            f"batch_size={batch_size} is not a multiple of images_per_identity={k}; nearest: {nearest}",
            setting="batch_size",
        )
    if batch_size // k < 2:
        raise UserError(f"{batch} has no negatives; use {2 * k}", setting="batch_size")
    if identities is not None and batch_size // k > identities:
        fitting = images_per_identity_for(batch_size, k, identities)
        way_out = f"images_per_identity {' or '.join(map(str, fitting))}, or " if fitting else ""
        raise UserError(
            f"{batch} needs {batch_size // k} identities a batch, the training set has {identities}; "
            f"use {way_out}batch_size at most {k * identities}",
            setting="batch_size",
        )


def _slots_per_identity(images_I: np.ndarray, slots: int, batches: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """How many of an epoch's `slots` each identity gets; a slot is a group of K images.

    The number is in proportion to the identity's images, from 1 to `batches`. Where there are fewer slots than
    identities, randomly chosen identities get one each and the others none.
    """
    count = len(images_I)
    if slots < count:
        given_I = np.zeros(count, dtype=np.int64)
        given_I[rng.permutation(count)[:slots]] = 1
        return given_I
    given = [1] * count
    wanted = (images_I / k + rng.random(count) * 1e-3).tolist()
    # The next slot goes to the identity that is furthest below its share, unless it is in every batch already.
    shortest = [(-share, identity) for identity, share in enumerate(wanted)]
    heapq.heapify(shortest)
    for _ in range(slots - count):
        identity = shortest[0][1]
        given[identity] += 1
        if given[identity] < batches:
            heapq.heapreplace(shortest, (-wanted[identity] / given[identity], identity))
        else:
            heapq.heappop(shortest)
    return np.array(given)


def _draw(images: np.ndarray, groups: int, k: int, rng: np.random.Generator) -> list[int]:
    """`groups` x K of an identity's images. No image comes again before all others have come."""
    drawn: list[int] = []
    while len(drawn) < groups * k:
        # The last group may still lack images. Those that it has come last in this round, so that it gets none twice.
        begun = set(drawn[len(drawn) - len(drawn) % k :])
        drawn += sorted(rng.permutation(images).tolist(), key=begun.__contains__)
    return drawn[: groups * k]


def epoch_batches(
    labels: Sequence[int], *, batch_size: int, images_per_identity: int | None, seed: int, epoch: int
) -> list[list[int]]:
    """The batches of one epoch: lists of `batch_size` indices into `labels`, ceil(images / batch_size) of them.

    With `images_per_identity` K each batch has batch_size / K different identities x K images. Identities appear in
    proportion to their images, each at least once if the epoch has a place for every identity. An identity with fewer
    than K images repeats some. With None the images are shuffled, and images from the epoch's beginning fill up the
    last batch. `epoch` counts from 0. Raises UserError as `check_batch` does.
    """
    rng = np.random.default_rng([seed, epoch])
    batches = steps_per_epoch(len(labels), batch_size)
    if images_per_identity is None:
        order = rng.permutation(len(labels))
        return np.resize(order, batches * batch_size).reshape(batches, batch_size).tolist()
    check_batch(batch_size, images_per_identity, len(set(labels)))
    k = images_per_identity
    labels_N = np.asarray(labels)
    order_N = np.argsort(labels_N, kind="stable")
    members = np.split(order_N, np.flatnonzero(np.diff(labels_N[order_N])) + 1)
    slots = batches * (batch_size // k)
    given_I = _slots_per_identity(np.array([len(m) for m in members]), slots, batches, k, rng)
    result: list[list[int]] = [[] for _ in range(batches)]
    place = 0
    # An identity's groups go to neighbouring batches. It has at most as many groups as there are batches, so that no
    # batch gets it twice.
    for identity in rng.permutation(len(members)):
        images = _draw(members[identity], int(given_I[identity]), k, rng)
        for start in range(0, len(images), k):
            result[place % batches] += images[start : start + k]
            place += 1
    return [result[index] for index in rng.permutation(batches)]
