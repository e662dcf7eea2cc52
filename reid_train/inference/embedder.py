"""Pictures -> embeddings by a trained model.

from reid_train.inference.embedder import load_model

model = load_model("results/sample/best")
embedding_ND = model.embed(["a.jpg", "b.jpg"])  # unit length: the product of two is their cosine similarity
"""

# N images, B images of a batch, D embedding width

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from data.pixels.decoding import decoder_name
from data.pixels.digests import content_digests
from data.system.kept import default_cache_dir, kept_file, key_of, read_arrays, write_arrays
from reid_train.checkpoints import checkpoint
from reid_train.inference.exported import ExportedEmbedder, is_exported
from reid_train.inference.pictures import Picture, PictureEmbedder
from reid_train.inference.threshold import read_threshold
from reid_train.measure.features import in_batches, mirrored_too
from reid_train.model.device import choose_device, place, precision_in_use
from reid_train.settings.config import ARCHITECTURE

__all__ = ["Embedder", "Picture", "PictureEmbedder", "embed_cached", "load_model", "open_model"]


class Embedder(PictureEmbedder):
    """A checkpoint's model, ready for use. `load_model` makes one."""

    def __init__(self, folder: str | Path, *, device: str = "auto"):
        """On "auto", "cpu", "cuda" or "mps"."""
        self.device = choose_device(device)
        network, loaded = checkpoint.load_network(folder)
        self.config = loaded.config
        self.name = loaded.config.backbone
        self.image_height, self.image_width = loaded.config.image_height, loaded.config.image_width
        self.precision = precision_in_use(loaded.config.precision, self.device)
        self.network = place(network, self.device)
        self.width = network.neck.num_features
        self.digest = loaded.digest
        self.threshold = read_threshold(folder, loaded.digest)
        architecture = {name: getattr(self.config, name) for name in ARCHITECTURE}
        self.key = (self.digest, architecture, str(self.precision))

    def of_images(self, images: torch.Tensor, *, flip_tta: bool = False) -> torch.Tensor:
        features = self.network.features
        return in_batches(
            [images],
            lambda batches: batches[0],
            mirrored_too(features) if flip_tta else features,
            device=self.device,
            precision=self.precision,
            finish=lambda feature_BD: F.normalize(self.network.neck(feature_BD)).cpu(),
        )


def load_model(folder: str | Path, *, device: str = "auto") -> Embedder:
    """The model of a checkpoint folder, on "auto", "cpu", "cuda" or "mps". Raises UserError."""
    return Embedder(folder, device=device)


def open_model(place: str | Path, *, device: str = "auto") -> PictureEmbedder:
    """`load_model` of a checkpoint folder; of a file that reid_train.export wrote, that file, which runs on the CPU."""
    return ExportedEmbedder(place, device=device) if is_exported(place) else load_model(place, device=device)


def embed_cached(model: PictureEmbedder, paths: Sequence[str], cache_dir: Path | None = None) -> tuple[np.ndarray, int]:
    """`model.embed` of image files, and how many were computed now: earlier calls left the others in `cache_dir`.

    An embedding is kept for these weights, architecture, precision and decoder, and for the image's content, wherever
    the image lies. A damaged file (data/system/kept.py) is made again.
    """
    cache_dir = cache_dir or default_cache_dir()
    key = key_of(*model.key, decoder_name())
    file = kept_file(cache_dir / "embeddings", key, ".arrays")
    kept = read_arrays(file, key) or {"digests": np.array([]), "embeddings": np.empty((0, model.width))}
    known = dict(zip(kept["digests"].tolist(), kept["embeddings"], strict=True))
    digests = content_digests(paths, cache_dir=cache_dir)
    new = {digest: path for digest, path in zip(digests, paths, strict=True) if digest not in known}
    if new:
        known |= dict(zip(new, model.embed(list(new.values())), strict=True))
        arrays = {"digests": np.array(list(known)), "embeddings": np.stack(list(known.values()))}
        write_arrays(file, key, arrays, otherwise="the images will be embedded again")
    return np.stack([known[digest] for digest in digests]), len(new)
