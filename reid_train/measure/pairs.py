"""Pairs of images, counted by similarity: of one identity, and of two.

    pairs = Pairs(embedding_ND, identity_N, camera_N)
    pairs.same_E, pairs.different_E  # so many pairs in each bin

Two images of one identity by one camera are no pair, as the evaluation leaves them out; two identities make pairs
whatever the cameras. No similarity is kept: the memory grows with the images, not with their pairs.
"""

# N images, D embedding width, I identities, E bins, T thresholds, R rows: images of one identity

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

BINS_A_UNIT = 2**15
"""Bins in a similarity of 1: each is 0.00003 wide."""
BINS = 2 * BINS_A_UNIT + 1
"""From -1 to 1; the last one is for 1 itself."""
MOST_IDENTITIES, MOST_IMAGES = 500, 20_000
"""Of more, so many identities are drawn: 20,000 images are 200 million pairs."""
BLOCK_PAIRS = 2**22
"""Pairs that are looked at together: 16 MiB of similarities."""


class _Block(NamedTuple):
    """Some images of one identity beside all images of this identity and of those that come after it."""

    identity: int
    bin_RN: torch.Tensor
    same_RN: torch.Tensor
    """Whether the two are a pair of one identity; only for the columns of this identity, which come first."""


class Pairs:
    """The pairs among some images. `seed` draws identities where there are more than are looked at."""

    def __init__(self, embedding_ND: torch.Tensor, identity_N: np.ndarray, camera_N: np.ndarray, *, seed: int = 0):
        """Embeddings are of unit length; on any device."""
        kept_N = np.isin(identity_N, _drawn(identity_N, seed)).nonzero()[0]
        order_N = kept_N[np.argsort(identity_N[kept_N], kind="stable")]
        self._embedding_ND = embedding_ND[torch.from_numpy(order_N).to(embedding_ND.device)].float()
        self._camera_N = torch.from_numpy(camera_N[order_N].copy()).to(embedding_ND.device)
        names_I, who_N = np.unique(identity_N[order_N], return_inverse=True)
        self._who_N = torch.from_numpy(who_N).to(embedding_ND.device)
        self.images, self.identities = len(order_N), len(names_I)
        self._bounds = np.searchsorted(who_N, np.arange(self.identities + 1)).tolist()

    @cached_property
    def _counts_2E(self) -> np.ndarray:
        same_E, different_E = (torch.zeros(BINS, dtype=torch.int64) for _ in range(2))
        for block in self._blocks():
            own = block.same_RN.shape[1]
            same_E += torch.bincount(block.bin_RN[:, :own][block.same_RN], minlength=BINS).cpu()
            different_E += torch.bincount(block.bin_RN[:, own:].reshape(-1), minlength=BINS).cpu()
        return torch.stack([same_E, different_E]).numpy()

    @property
    def same_E(self) -> np.ndarray:
        """Pairs of one identity in each bin; bin k begins at the similarity `similarity_of(k)`."""
        counts_E: np.ndarray = self._counts_2E[0]
        return counts_E

    @property
    def different_E(self) -> np.ndarray:
        """Pairs of two identities in each bin."""
        counts_E: np.ndarray = self._counts_2E[1]
        return counts_E

    def by_identity(self, bins_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs at or above each bin: of each identity (I x T), and of each two identities (I x I x T, where the first
        comes before the second). The bins ascend."""
        thresholds, count = len(bins_T), self.identities
        first_T = torch.from_numpy(bins_T).to(self._who_N.device)
        same_IT = torch.zeros(count, thresholds + 1, dtype=torch.int32)
        different_IIT = torch.zeros(count, count, thresholds + 1, dtype=torch.int32)
        for block in self._blocks():
            own = block.same_RN.shape[1]
            reached_RN = torch.bucketize(block.bin_RN, first_T, right=True)  # so many of the thresholds
            same_IT[block.identity] += torch.bincount(
                reached_RN[:, :own][block.same_RN], minlength=thresholds + 1
            ).int().cpu()  # fmt: skip
            others_N = self._who_N[self._bounds[block.identity + 1] :]
            key_RN = reached_RN[:, own:] + others_N * (thresholds + 1)
            counts = torch.bincount(key_RN.reshape(-1), minlength=count * (thresholds + 1))
            different_IIT[block.identity] += counts.view(count, thresholds + 1).int().cpu()
        return _at_least(same_IT), _at_least(different_IIT)

    def _blocks(self) -> Iterator[_Block]:
        rows = max(1, BLOCK_PAIRS // max(self.images, 1))
        for identity, (start, stop) in enumerate(zip(self._bounds, self._bounds[1:], strict=False)):
            for first in range(start, stop, rows):
                place_R = torch.arange(first, min(first + rows, stop), device=self._who_N.device)
                similarity_RN = self._embedding_ND[place_R] @ self._embedding_ND[start:].T
                bin_RN = ((similarity_RN + 1) * BINS_A_UNIT).long().clamp_(0, BINS - 1)
                own_N = torch.arange(start, stop, device=self._who_N.device)
                later_RN = own_N > place_R[:, None]
                other_camera_RN = self._camera_N[start:stop] != self._camera_N[place_R, None]
                yield _Block(identity, bin_RN, later_RN & other_camera_RN)


def similarity_of(bins: np.ndarray | int) -> np.ndarray:
    """Where a bin begins; bin BINS begins above all similarities."""
    return np.asarray(bins) / BINS_A_UNIT - 1


def _at_least(counts: torch.Tensor) -> np.ndarray:
    """From pairs that reach exactly so many thresholds (last dimension) to pairs that reach each one."""
    reached: np.ndarray = counts.flip(-1).cumsum(-1, dtype=torch.int32).flip(-1)[..., 1:].numpy()
    return reached


def _drawn(identity_N: np.ndarray, seed: int) -> np.ndarray:
    """The identities that are looked at: all, or as many, drawn at random, as the limits allow."""
    names_I, images_I = np.unique(identity_N, return_counts=True)
    if len(names_I) <= MOST_IDENTITIES and len(identity_N) <= MOST_IMAGES:
        return names_I
    order_I = np.random.default_rng(seed).permutation(len(names_I))[:MOST_IDENTITIES]
    fits_I = images_I[order_I].cumsum() <= MOST_IMAGES
    fits_I[:2] = True  # two make a pair, however many images they have
    drawn: np.ndarray = names_I[order_I[fits_I]]
    return drawn
