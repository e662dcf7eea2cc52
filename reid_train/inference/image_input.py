"""What images an exported file takes: uint8, or floats that whoever runs the file normalises.

wanted = ImageInput(256, 128, "float", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
run(wanted.of(images))  # images: uint8, B x 3 x 256 x 128
"""

# B images, H height, W width

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import torch

Kind = Literal["uint8", "float"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class ImageInput(NamedTuple):
    """Images of one size, in RGB, B x 3 x H x W."""

    height: int
    width: int
    kind: Kind
    mean: tuple[float, ...]
    """Of red, green and blue, where white is 1: what is subtracted. A file of uint8 images does that itself."""
    std: tuple[float, ...]
    """What is divided by then."""

    def of(self, images: torch.Tensor) -> torch.Tensor:
        """The input for uint8 images (B x 3 x H x W)."""
        match self.kind:
            case "uint8":
                return images
            case "float":
                mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
                return (images.float() / 255 - mean) / std
            case _:
                raise ValueError(f"kind={self.kind!r} is none of {', '.join(KINDS)}")

    def described(self, name: str) -> dict[str, Any]:
        """The fields of a file's description that tell of its input, which is called `name`."""
        what = {
            "uint8": "uint8 RGB",
            "float": f"float32 RGB, normalised: (image / 255 - mean) / std, mean {_listed(self.mean)}, std "
            f"{_listed(self.std)} of red, green and blue",
        }[self.kind]
        last = "; the colours' normalisation is part of the model" if self.kind == "uint8" else ""
        return {
            "input": f"{name}: {what}, B x 3 x {self.height} x {self.width}, any B; resize pictures bilinearly with "
            f"antialiasing to that height and width{last}",
            "input_kind": self.kind,
            "image_height": self.height,
            "image_width": self.width,
            "colour_order": "RGB",
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @staticmethod
    def from_description(description: Mapping[str, Any]) -> "ImageInput":
        """What `described` tells; files that were exported before 2026-11-27 tell size alone, and take uint8.

        Raises LookupError, ValueError or TypeError for what is no such description.
        """
        kind = description.get("input_kind", "uint8")
        if kind not in KINDS:
            raise ValueError(f"input_kind {kind!r} is none of {', '.join(KINDS)}")
        height, width = (int(description[name]) for name in ("image_height", "image_width"))
        if not (0 < height <= 4096 and 0 < width <= 4096):
            raise ValueError(f"images of {height} x {width}")
        mean, std = (tuple(map(float, description.get(name, ()))) for name in ("mean", "std"))
        if kind == "float" and not (len(mean) == len(std) == 3 and all(value > 0 for value in std)):
            raise ValueError("mean and std are no three numbers")
        return ImageInput(height, width, kind, mean, std)


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
