"""A map of embeddings: points on a plane, near each other where the images are alike (t-SNE).

    place_M, at_M2 = embedding_map(embedding_ND, identity_N)

L. van der Maaten and G. Hinton, Visualizing Data using t-SNE, JMLR 2008; scikit-learn's.
"""

# N images, M images on the map, D embedding width

import numpy as np

MOST_IMAGES, FEWEST_IMAGES = 2000, 5
NEIGHBOURS = 30
"""Perplexity: about so many neighbours keep near; fewer where there are few images."""


def embedding_map(
    embedding_ND: np.ndarray, identity_N: np.ndarray, *, most: int = MOST_IMAGES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Which images are on the map, and where (M x 2). Of more than `most`, whole identities are drawn at random.

    None are on it where there are fewer than FEWEST_IMAGES, or all embeddings are one point.
    """
    place_M = _drawn(identity_N, most, seed)
    spread = float(np.ptp(embedding_ND[place_M], axis=0).max()) if len(place_M) else 0.0
    if len(place_M) < FEWEST_IMAGES or spread < 1e-6:
        return np.empty(0, dtype=np.int64), np.empty((0, 2))
    from sklearn.manifold import TSNE

    neighbours = min(NEIGHBOURS, (len(place_M) - 1) / 3)
    at_M2 = TSNE(perplexity=neighbours, init="pca", random_state=seed).fit_transform(embedding_ND[place_M])
    return place_M, np.asarray(at_M2, dtype=np.float64)


def _drawn(identity_N: np.ndarray, most: int, seed: int) -> np.ndarray:
    """The images of as many identities, drawn at random, as fit."""
    names_I, images_I = np.unique(identity_N, return_counts=True)
    order_I = np.random.default_rng(seed).permutation(len(names_I))
    drawn: list[int] = []
    room = most
    for place in order_I:
        if images_I[place] <= room:
            drawn.append(place)
            room -= images_I[place]
    place_M: np.ndarray = np.isin(identity_N, names_I[drawn]).nonzero()[0]
    return place_M
