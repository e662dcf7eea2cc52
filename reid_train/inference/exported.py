"""An exported file as a model that embeds: one that reid_train.export wrote, or anybody's ONNX.

model = ExportedEmbedder("results/sample/best/model.onnx")
model = ExportedEmbedder("foreign.onnx", given=GivenInput(size=(256, 128), mean=MEAN, std=STD))

A file of TorchScript or of torch.export is a program: only those of people whom one trusts should be opened.
"""

import json
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import ValidationError
from torch.nn import functional as F

from data.pixels.augmentation import IMAGENET_MEAN, IMAGENET_STD
from data.system.errors import UserError, in_one_line
from data.system.kept import file_digest
from reid_train.inference.export_formats import FORMATS, Opened, check_format, onnx_session
from reid_train.inference.image_input import ImageInput
from reid_train.inference.pictures import PictureEmbedder
from reid_train.inference.threshold import Threshold

ENDINGS = {format.ending: name for name, format in FORMATS.items()}


class GivenInput(NamedTuple):
    """What a user says of the input of a file that does not say it."""

    size: tuple[int, int] | None = None
    """Height, width."""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def is_exported(file: str | Path) -> bool:
    """Whether a path is, by its ending, an exported file and no checkpoint."""
    return Path(file).suffix.lower() in ENDINGS and not Path(file).is_dir()


class ExportedEmbedder(PictureEmbedder):
    """Runs on the CPU."""

    def __init__(self, file: str | Path, *, device: str = "auto", given: GivenInput | None = None):
        """Raises UserError for a file that is damaged or says too little of its input, and for another device."""
        file = Path(file)
        if device not in ("auto", "cpu"):
            raise UserError(f"--device {device}: an exported file runs on the CPU here; leave --device out")
        if not file.is_file():
            raise UserError(f"{file}: no such file; give a checkpoint folder, or a file that reid_train.export wrote")
        opened = _open(file)
        self.wanted, self.threshold = _input(file, opened, given or GivenInput()), _threshold(file, opened)
        self.name, self.device, self._run = file.name, torch.device("cpu"), opened.run
        self.image_height, self.image_width = self.wanted.height, self.wanted.width
        self.width = self._trial(file)
        self.digest = file_digest(str(file))
        self.key = (self.digest, *self.wanted)

    @torch.no_grad()
    def of_images(self, images: torch.Tensor, *, flip_tta: bool = False) -> torch.Tensor:
        """With `flip_tta`: of the mean of both embeddings (a checkpoint's are means of features before the BNNeck)."""
        embedding_BD = F.normalize(self._run(self.wanted.of(images.contiguous())).float())
        if flip_tta:
            embedding_BD = F.normalize(embedding_BD + self.of_images(images.flip(3)))
        return embedding_BD

    def _trial(self, file: Path) -> int:
        """The embedding's width, found by two images."""
        try:
            found = self.of_images(torch.zeros(2, 3, self.image_height, self.image_width, dtype=torch.uint8))
        except Exception as error:  # runtimes raise many kinds
            raise UserError(
                f"{file}: does not take 2 images of {self.image_height} x {self.image_width} ({in_one_line(error)}); "
                "export it for batches of any size"
            ) from error
        if found.ndim != 2 or len(found) != 2:
            raise UserError(f"{file}: gives {tuple(found.shape)} for 2 images, which are no 2 embeddings")
        return found.shape[1]


def _open(file: Path) -> Opened:
    name = ENDINGS[file.suffix.lower()]
    check_format(name, writes=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of what it will do differently one day
            return FORMATS[name].read(file)
    except Exception as error:  # runtimes raise many kinds
        raise UserError(f"{file}: no file of --format {name}, or damaged ({in_one_line(error)})") from error


def _input(file: Path, opened: Opened, given: GivenInput) -> ImageInput:
    if opened.description:
        try:
            return ImageInput.from_description(json.loads(opened.description))
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(f"{file}: its description is damaged ({in_one_line(error)}); export it again") from error
    if file.suffix.lower() != ".onnx":
        raise UserError(f"{file}: holds no description, so reid_train.export has not written it; give an ONNX file")
    return _foreign_input(file, given)


def _threshold(file: Path, opened: Opened) -> Threshold | None:
    """The thresholds that the file's description holds."""
    told = json.loads(opened.description).get("threshold") if opened.description else None
    try:
        return Threshold(**told) if told else None
    except (ValidationError, TypeError) as error:
        raise UserError(f"{file}: the threshold in its description is damaged; export it again") from error


def _foreign_input(file: Path, given: GivenInput) -> ImageInput:
    """The input of a foreign ONNX file, by its graph and by what the user gives. Raises UserError for what neither
    tells."""
    image = onnx_session(file).get_inputs()[0]
    kinds = {"tensor(uint8)": "uint8", "tensor(float)": "float"}
    if image.type not in kinds or len(image.shape) != 4 or image.shape[1] not in (3, "3", None):
        shown = f"{image.type.removeprefix('tensor').strip('()')} {image.shape}"
        raise UserError(f"{file}: its input {image.name} is {shown}; uint8 or float32 images, B x 3 x H x W, are taken")
    sizes = image.shape[2:]
    size = (int(sizes[0]), int(sizes[1])) if all(isinstance(side, int) for side in sizes) else given.size
    if size is None:
        raise UserError(f"{file}: does not say the size of its images; give it: --input-size HEIGHT WIDTH")
    if given.size is not None and given.size != size:
        raise UserError(f"--input-size {given.size[0]} {given.size[1]}: {file} takes images of {size[0]} x {size[1]}")
    if image.type == "tensor(uint8)":
        return ImageInput(*size, "uint8", (), ())
    if given.mean is None or given.std is None:
        usual = [" ".join(f"{value:g}" for value in values) for values in (IMAGENET_MEAN, IMAGENET_STD)]
        raise UserError(
            f"{file}: takes floats and does not say how they are normalised; give mean and deviation of red, green and "
            f"blue, where white is 1. ImageNet's: --mean {usual[0]} --std {usual[1]}"
        )
    if not all(value > 0 for value in given.std):
        raise UserError(f"--std {' '.join(map(str, given.std))}: all three should be above 0")
    return ImageInput(*size, "float", given.mean, given.std)
