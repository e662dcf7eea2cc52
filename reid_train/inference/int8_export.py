"""A checkpoint -> an ONNX file of 8-bit integers, with a report of what that costs and gives.

description, lines = export_int8("results/sample/best", Path("model-int8.onnx"), kind="uint8", way="auto", ...)
"""

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from data.pixels.collection import read_collection
from data.sets.listing import TRAIN
from data.sets.splits import TrainingData
from data.system.errors import UserError
from data.system.files import replacing
from reid_train.checkpoints.checkpoint import Checkpoint, load_checkpoint
from reid_train.inference.export_formats import DESCRIPTION, export
from reid_train.inference.exported import ExportedEmbedder
from reid_train.inference.image_input import Kind
from reid_train.inference.int8_report import calibration_batches, compare
from reid_train.inference.quantise import WAYS, choose_way, quantise
from reid_train.training.images import read_training

MOST_CALIBRATION_IMAGES = 200
AUTO = "auto"


class Pictures(NamedTuple):
    """What 8-bit numbers are fitted to and judged by."""

    calibration: list[str]
    """Paths of the images that scale activations."""
    of: str
    """Which those are."""
    data: TrainingData | None
    """The checkpoint's training images with their validation split; None where they are not there."""
    missing: str
    """Why they are not there."""


def export_int8(
    checkpoint: str | Path,
    out: Path,
    *,
    kind: Kind,
    way: str,
    calibrate: str | None = None,
    data_dir: str | None = None,
    most_loss: float = 0.01,
    cache_dir: Path | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Writes `out`; gives its description and lines that tell of size, difference, mAP and time. Raises UserError."""
    loaded = load_checkpoint(checkpoint)
    pictures = find_pictures(loaded, calibrate, data_dir, cache_dir)
    with tempfile.TemporaryDirectory(prefix="reid-int8-") as folder, replacing(out) as temporary:
        exact, small = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        description, _ = export(checkpoint, "onnx", exact, kind)
        before = ExportedEmbedder(exact)
        chosen = choose_way(exact) if way == AUTO else next(name for name in WAYS if name == way)
        quantise(exact, small, chosen, calibration_batches(before, pictures.calibration))
        _describe(small, description)
        after = ExportedEmbedder(small)
        report = compare(before, after, (exact, small), pictures.calibration, pictures.data, loaded.identities)
        scaled = f", scaled by {len(pictures.calibration)} images: {pictures.of}" if chosen == "static" else ""
        description |= {"int8": {"way": chosen, **report.as_record()}}
        _describe(small, description)
        temporary.write_bytes(small.read_bytes())
    lines = [f"int8   {chosen}{scaled}", *report.lines(most_loss)]
    if pictures.data is None:
        lines.append(f"mAP    not measured: {pictures.missing}; --data-dir DIR says where the training images lie")
    return description, lines


def find_pictures(loaded: Checkpoint, calibrate: str | None, data_dir: str | None, cache_dir: Path | None) -> Pictures:
    """Images to calibrate with, at equal distances among those of `calibrate` or of the checkpoint's training. Raises
    UserError where there are none."""
    config = loaded.config if data_dir is None else loaded.config.changed(data_dir=data_dir)
    data, missing = None, ""
    try:
        data = read_training(config, cache_dir)[1]
    except UserError as error:
        missing = str(error).splitlines()[0]
    if calibrate is not None:
        found = read_collection(calibrate, splits=(TRAIN,), cache_dir=cache_dir)
        if found.shows_test_images:
            raise UserError(f"--calibrate {calibrate}: holds test images, which nothing may be fitted to; give others")
        paths, of = found.paths, calibrate
    elif data is not None:
        paths, of = [sample.path for sample in data.train], "training images"
    else:
        raise UserError(
            f"--int8 needs pictures, and the checkpoint's training images are not there ({missing}); give them by "
            "--data-dir DIR, or some pictures like those to come, not the test images: --calibrate DIR"
        )
    return Pictures(paths[:: -(-len(paths) // MOST_CALIBRATION_IMAGES)], of, data, missing)


def _describe(file: Path, description: dict[str, Any]) -> None:
    """Puts the description into an ONNX file."""
    import onnx

    model = onnx.load(file)
    kept = [prop for prop in model.metadata_props if prop.key != DESCRIPTION]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=DESCRIPTION, value=json.dumps(description))
    onnx.save(model, file)
