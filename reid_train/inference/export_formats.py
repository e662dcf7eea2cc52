"""A checkpoint's embedding as one file that runs without this project: ONNX, TorchScript or PyTorch's own.

    description, difference = export("results/sample/best", "pt2", Path("model.pt2"))

Before the file takes its place, its embeddings are compared with PyTorch's.
"""

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from data.system.errors import UserError
from data.system.files import replacing
from data.system.packages import check_packages
from reid_train.checkpoints.checkpoint import Checkpoint, load_network
from reid_train.inference.image_input import ImageInput, Kind
from reid_train.inference.threshold import read_threshold
from reid_train.model.network import ReIDModel
from reid_train.settings.config import ARCHITECTURE

Run = Callable[[torch.Tensor], torch.Tensor]
"""Images as the file takes them (B x 3 x H x W) -> embeddings (B x D)."""
TOLERANCE = 1e-4
"""Largest Euclidean distance between an exported embedding and PyTorch's, both of unit length."""
CHECKED_BATCHES = (1, 5)
"""Images of the batches that are compared; the model is exported with another number."""
LARGEST_ONNX_BYTES = 2**31
"""A file of ONNX holds less."""
DESCRIPTION = "description"
INPUT, OUTPUT = "images", "embeddings"


class Opened(NamedTuple):
    """An exported file, ready to run on the CPU."""

    run: Run
    description: str
    """JSON; "" where the file holds none."""


class Format(NamedTuple):
    """A kind of file."""

    ending: str
    write: Callable[[nn.Module, torch.Tensor, str], bytes]
    """From module, example images and description."""
    read: Callable[[Path], Opened]


def write_onnx(module: nn.Module, example: torch.Tensor, description: str) -> bytes:
    """Needs the packages of the extra `export`. Raises UserError."""
    if sum(weight.nbytes for weight in module.state_dict().values()) >= LARGEST_ONNX_BYTES:
        raise UserError("--format onnx: the model is larger than the 2 GiB of an ONNX file; choose --format pt2")
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        verbose=False,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
    )
    assert program is not None
    model = program.model_proto
    model.metadata_props.add(key=DESCRIPTION, value=description)
    return bytes(model.SerializeToString())


def read_onnx(file: Path) -> Opened:
    """Runs in onnxruntime. The first input and the first output are taken, so that foreign files run, too."""
    session = onnx_session(file)
    image_name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    described = session.get_modelmeta().custom_metadata_map.get(DESCRIPTION, "")
    return Opened(lambda images: torch.from_numpy(session.run([output], {image_name: images.numpy()})[0]), described)


def onnx_session(file: Path) -> Any:
    """onnxruntime's session of a file, with as many threads as torch has; it prints nothing."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(_in_utf8(file), options, providers=["CPUExecutionProvider"])


def _in_utf8(file: Path) -> Path | bytes:
    """The file, or what is in it: onnxruntime takes no path that is no UTF-8."""
    try:
        str(file).encode()
    except UnicodeEncodeError:
        return file.read_bytes()
    return file


def write_torchscript(module: nn.Module, example: torch.Tensor, description: str) -> bytes:
    class Checked(torch.nn.Module):
        """Refuses images that the trace would give wrong numbers for; the other formats refuse them by themselves."""

        def __init__(self) -> None:
            super().__init__()
            # `export` compares it with PyTorch, and with other batches.
            self.traced = torch.jit.trace(module, (example,), check_trace=False)
            self.size: list[int] = list(example.shape[1:])
            self.wants_floats: bool = example.dtype == torch.float32

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            wanted = "float32" if self.wants_floats else "uint8"
            right = images.dtype == (torch.float32 if self.wants_floats else torch.uint8)
            if not right or images.dim() != 4 or images.shape[1:] != self.size:
                raise ValueError(f"images: {wanted}, B x {self.size} is needed, this is {images.dtype}, {images.shape}")
            return self.traced(images)

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Checked()), buffer, _extra_files={DESCRIPTION: description})
    return buffer.getvalue()


def read_torchscript(file: Path) -> Opened:
    extra = {DESCRIPTION: ""}
    with file.open("rb") as opened:  # torch takes no path that is no UTF-8
        run: Run = torch.jit.load(opened, map_location="cpu", _extra_files=extra)
    return Opened(run, _text(extra[DESCRIPTION]))


def write_pt2(module: nn.Module, example: torch.Tensor, description: str) -> bytes:
    buffer = io.BytesIO()
    exported = torch.export.export(module, (example,), dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}})
    torch.export.save(exported, buffer, extra_files={DESCRIPTION: description})
    return buffer.getvalue()


def read_pt2(file: Path) -> Opened:
    extra = {DESCRIPTION: ""}
    with file.open("rb") as opened:  # a path must end in .pt2
        run: Run = torch.export.load(opened, extra_files=extra).module()
    return Opened(run, _text(extra[DESCRIPTION]))


def _text(content: Any) -> str:
    """What torch gives of a file beside the model's, which is text or bytes by its version."""
    return content.decode(errors="replace") if isinstance(content, bytes) else str(content)


FORMATS = {
    "onnx": Format(".onnx", write_onnx, read_onnx),
    "torchscript": Format(".pt", write_torchscript, read_torchscript),
    "pt2": Format(".pt2", write_pt2, read_pt2),
}


def describe(loaded: Checkpoint, width: int, wanted: ImageInput) -> dict[str, Any]:
    """What goes into the file, what comes out of it, and where it is from."""
    return {
        **wanted.described(INPUT),
        "output": f"{OUTPUT}: float32, B x {width}, of unit length: the product of two is their cosine similarity",
        "embedding_width": width,
        "settings": {name: getattr(loaded.config, name) for name in ARCHITECTURE},
        "weights_sha256": loaded.digest,
    }


def export(checkpoint: str | Path, format: str, file: Path, kind: Kind = "uint8") -> tuple[dict[str, Any], float]:
    """Writes `file` in one of FORMATS, once its embeddings are PyTorch's; gives its description, and by how much
    they differ. Raises UserError."""
    network, loaded = load_network(checkpoint)
    wanted = input_of(network, loaded, kind)
    description = describe(loaded, network.neck.num_features, wanted)
    threshold = read_threshold(checkpoint, loaded.digest)
    description |= {"threshold": threshold.short()} if threshold else {}
    size = (wanted.height, wanted.width)
    with warnings.catch_warnings(), torch.no_grad(), replacing(file) as temporary:
        warnings.simplefilter("ignore")  # exporters warn about what they will do differently one day
        module, reference = unit_embedding(network, kind), unit_embedding(network, "uint8")
        content = FORMATS[format].write(module, wanted.of(check_images(2, *size)), json.dumps(description))
        temporary.write_bytes(content)
        run = FORMATS[format].read(temporary).run
        differences = [
            torch.linalg.vector_norm(run(wanted.of(images)) - reference(images), dim=1).max().item()
            for images in (check_images(count, *size) for count in CHECKED_BATCHES)
        ]
        if not max(differences) <= TOLERANCE:
            raise UserError(
                f"{file}: not written: its embeddings differ from PyTorch's by {max(differences):.2g}, more than "
                f"{TOLERANCE:g}; choose another --format"
            )
    return description, max(differences)


def input_of(network: ReIDModel, loaded: Checkpoint, kind: Kind) -> ImageInput:
    """The images that a checkpoint's network takes."""
    mean, std = (tuple(map(float, values)) for values in (network.backbone.mean, network.backbone.std))
    return ImageInput(loaded.config.image_height, loaded.config.image_width, kind, mean, std)


def unit_embedding(network: ReIDModel, kind: Kind) -> nn.Module:
    """Images as ImageInput of this kind gives them (B x 3 x H x W) -> embeddings of unit length (B x D)."""

    class UnitEmbedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            network.classifier = nn.Identity()  # type: ignore[assignment]  # only training needs it

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pooled_BC = network.pooled(images) if kind == "uint8" else network.pooling(network.backbone(images))
            return F.normalize(network.neck(network.routed(pooled_BC)[0]))

    return UnitEmbedding().eval()


def check_images(count: int, height: int, width: int) -> torch.Tensor:
    """Pictures of coloured clouds, always the same ones: to a network, pictures of noise would all look alike."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(count))
    return (255 * F.interpolate(coarse, (height, width), mode="bilinear")).to(torch.uint8)


def check_format(format: str, *, writes: bool = True) -> None:
    """Raises UserError where what writes, or only reads, the format is not installed."""
    if format == "onnx":
        packages = ["onnxruntime", "onnx", "onnxscript"] if writes else ["onnxruntime"]
        check_packages("--format onnx", packages, "export", ", or choose --format pt2" if writes else "")
