"""Pictures -> embeddings by a trained model.

from reid_train.inference.embedder import load_model

model = load_model("results/sample/best")
embedding_ND = model.embed(["a.jpg", "b.jpg"])  # unit length: the product of two is their cosine similarity
"""

# N images, B images of a batch, H height, W width, D embedding width

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from data.pixels.decoding import decode, decoder_name, resized, upright_rgb
from data.pixels.digests import content_digests
from data.system.errors import UserError
from data.system.kept import default_cache_dir, kept_file, key_of, read_arrays, write_arrays
from data.system.threads import in_threads
from reid_train.checkpoints import checkpoint
from reid_train.inference.threshold import read_threshold
from reid_train.measure.features import as_images, in_batches
from reid_train.model.device import choose_device, precision_in_use
from reid_train.settings.config import ARCHITECTURE

Picture = str | Path | Image.Image | np.ndarray
"""An image file, a PIL image, or a uint8 RGB array (H x W x 3) of any size."""


class Embedder:
    """A trained model, ready for use. `load_model` makes one."""

    def __init__(self, folder: str | Path, device: torch.device):
        network, loaded = checkpoint.load_network(folder)
        self.config = loaded.config
        self.device = device
        self.precision = precision_in_use(loaded.config.precision, device)
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.width = network.neck.num_features
        """Numbers in an embedding, D."""
        self.digest = loaded.digest
        """The weights' SHA-256, in hex."""
        self.threshold = read_threshold(folder, loaded.digest)
        """From which similarity on it is the same; None where threshold.json does not lie beside the weights."""

    def __repr__(self) -> str:
        size = f"{self.config.image_height} x {self.config.image_width}"
        return f"<Embedder: {self.config.backbone} at {size}, {self.width} numbers an image, on {self.device}>"

    def embed(self, images: Sequence[Picture]) -> np.ndarray:
        """Embeddings of unit length (N x D, float32), in the order of the pictures; as evaluation computes them.

        Raises UserError for what is no picture (UnreadableImage for a file that cannot be decoded).
        """
        if isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
            raise UserError("embed takes a list of pictures: put the one in brackets")
        if not isinstance(images, Sequence | np.ndarray):
            raise UserError(f"embed takes a list of pictures, not {type(images).__name__}")
        if not len(images):
            return np.empty((0, self.width), dtype=np.float32)
        embedding_ND: np.ndarray = in_batches(
            images,
            lambda batch: as_images(np.stack(list(in_threads(self._pixels, batch)))),
            self.network.features,
            device=self.device,
            precision=self.precision,
            finish=lambda feature_BD: F.normalize(self.network.neck(feature_BD)).cpu(),
        ).numpy()
        return embedding_ND

    def _pixels(self, image: Picture) -> np.ndarray:
        size = self.config.image_height, self.config.image_width
        if isinstance(image, str | Path):
            return decode(image, *size)
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                raise UserError(f"an array of {image.dtype} {image.shape} is no picture: give uint8 RGB, H x W x 3")
            image = Image.fromarray(image)
        elif isinstance(image, Image.Image):
            image = image.copy()  # the caller's own is not to be turned
        else:
            raise UserError(f"{type(image).__name__} is no picture: give a path, a PIL image or a uint8 array")
        return resized(upright_rgb(image), *size)


def load_model(folder: str | Path, *, device: str = "auto") -> Embedder:
    """The model of a checkpoint folder, on "auto", "cpu", "cuda" or "mps". Raises UserError."""
    return Embedder(folder, choose_device(device))


def embed_cached(model: Embedder, paths: Sequence[str], cache_dir: Path | None = None) -> tuple[np.ndarray, int]:
    """`model.embed` of image files, and how many were computed now: earlier calls left the others in `cache_dir`.

    An embedding is kept for these weights, architecture, precision and decoder, and for the image's content, wherever
    the image lies. A damaged file (data/system/kept.py) is made again.
    """
    cache_dir = cache_dir or default_cache_dir()
    architecture = {name: getattr(model.config, name) for name in ARCHITECTURE}
    key = key_of(model.digest, architecture, str(model.precision), decoder_name())
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
