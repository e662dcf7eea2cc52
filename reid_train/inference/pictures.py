"""What every model is that makes embeddings of pictures: a checkpoint's, or that of an exported file.

for embedding_BD in model.embed_batches(paths, batch_size=64): ...
"""

# N images, B images of a batch, H height, W width, D embedding width

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data.pixels.decoding import decode, resized, upright_rgb
from data.system.errors import UserError
from data.system.threads import in_threads
from reid_train.inference.threshold import Threshold
from reid_train.measure.features import BATCH, as_images

Picture = str | Path | Image.Image | np.ndarray
"""An image file, a PIL image, or a uint8 RGB array (H x W x 3) of any size."""


class PictureEmbedder(ABC):
    """A trained model, ready for use. `open_model` makes one."""

    image_height: int
    """Height that pictures are resized to, in pixels."""
    image_width: int
    width: int
    """Numbers in an embedding, D."""
    digest: str
    """The SHA-256, in hex, of a checkpoint's weights, or of an exported file."""
    key: tuple[object, ...]
    """What embeddings depend on, beside the picture and its decoder."""
    name: str
    """The backbone, or the exported file."""
    device: torch.device
    threshold: Threshold | None
    """From which similarity on it is the same; None where that was not measured."""

    def __repr__(self) -> str:
        size = f"{self.image_height} x {self.image_width}"
        return f"<{type(self).__name__}: {self.name} at {size}, {self.width} numbers an image, on {self.device}>"

    @abstractmethod
    def of_images(self, images: torch.Tensor, *, flip_tta: bool = False) -> torch.Tensor:
        """Embeddings of unit length (B x D, float32, on the CPU) of uint8 images of the model's size (B x 3 x H x W).

        With `flip_tta` each is made of the picture and its mirror image.
        """

    def embed(self, images: Sequence[Picture], *, flip_tta: bool = False) -> np.ndarray:
        """Embeddings of unit length (N x D, float32), in the order of the pictures; as evaluation computes them.

        Raises UserError for what is no picture (UnreadableImage for a file that cannot be decoded).
        """
        if isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
            raise UserError("embed takes a list of pictures: put the one in brackets")
        if not isinstance(images, Sequence | np.ndarray):
            raise UserError(f"embed takes a list of pictures, not {type(images).__name__}")
        nothing = np.empty((0, self.width), dtype=np.float32)
        return np.concatenate([nothing, *self.embed_batches(images, flip_tta=flip_tta)])

    def embed_batches(
        self, images: Sequence[Picture], *, batch_size: int = BATCH, flip_tta: bool = False
    ) -> Iterator[np.ndarray]:
        """`embed` batch by batch (B x D): pictures are decoded a little ahead of what is taken, and no more is kept."""
        decoded = in_threads(self._pixels, images)
        while batch := list(islice(decoded, batch_size)):
            yield self.of_images(as_images(np.stack(batch)), flip_tta=flip_tta).numpy()

    def _pixels(self, image: Picture) -> np.ndarray:
        size = self.image_height, self.image_width
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
