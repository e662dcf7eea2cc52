"""Embeddings of many images as a file, .npz or .parquet, written batch by batch: memory does not grow with the images.

written = write_embeddings(model, read_collection("data/VeRi"), Path("emb.npz"))

| what | .npz | .parquet |
| --- | --- | --- |
| `paths` | text | column `path` |
| `embeddings` | N x D float32, of unit length | column `embedding`, lists of D float32 |
| `identity`, `camera`, `split` | text, "" where not known | text, null where not known |
| `about` | JSON | the schema's metadata `reid` |
"""

# N images, B images of a batch, D embedding width

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy
from pyarrow import parquet

from data.pixels.collection import Collection
from data.pixels.decoding import UnreadableImage
from data.pixels.digests import SKIP
from data.pixels.gallery import Label
from data.system.errors import UserError
from data.system.files import replacing
from reid_train.inference.pictures import PictureEmbedder

Told = Callable[[int], None]
"""Is told how many images have just been embedded."""


def write_embeddings(
    model: PictureEmbedder,
    images: Collection,
    out: Path,
    *,
    batch_size: int,
    flip_tta: bool = False,
    told: Told = lambda images: None,
) -> dict[str, Any]:
    """Writes `out`, whole or not at all, and gives what the file says about itself. Raises UserError."""
    about = {
        "model": model.digest,
        "made_by": model.name,
        "images": len(images.paths),
        "embedding_width": model.width,
        "image_height": model.image_height,
        "image_width": model.image_width,
        "flip_tta": flip_tta,
    }

    def batches() -> Iterator[np.ndarray]:
        for embedding_BD in model.embed_batches(images.paths, batch_size=batch_size, flip_tta=flip_tta):
            if not np.isfinite(embedding_BD).all():
                raise UserError(f"embeddings are not finite: the weights of {model.name} have diverged")
            yield embedding_BD
            told(len(embedding_BD))

    try:
        with replacing(out) as temporary:
            WRITERS[out.suffix.lower()](temporary, batches(), images, about)
    except UnreadableImage as error:
        raise UserError(f"{error}; {SKIP}") from error
    return about


def write_npz(file: Path, batches: Iterator[np.ndarray], images: Collection, about: dict[str, Any]) -> None:
    """The embeddings go into the archive as they come; np.load reads it as any other."""
    shape = (about["images"], about["embedding_width"])
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("embeddings.npy", "w", force_zip64=True) as member:
            header = {"descr": npy.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(member, header)
            for embedding_BD in batches:
                member.write(np.ascontiguousarray(embedding_BD).data)
        texts: dict[str, Any] = {"paths": images.names, "about": json.dumps(about), "model": about["model"]}
        texts |= {
            name: ["" if label is None else read(label) for label in images.labels] for name, read in KNOWN.items()
        }
        for name, text in texts.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, np.array(text, dtype=np.str_), allow_pickle=False)


def write_parquet(file: Path, batches: Iterator[np.ndarray], images: Collection, about: dict[str, Any]) -> None:
    """A row group for each batch."""
    columns = [("path", pa.string()), *((name, pa.string()) for name in KNOWN)]
    vector = pa.list_(pa.float32(), about["embedding_width"])
    schema = pa.schema([*columns, ("embedding", vector)], metadata={"reid": json.dumps(about)})
    done = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for embedding_BD in batches:
            rows = slice(done, done := done + len(embedding_BD))
            known = [
                [None if label is None else read(label) for label in images.labels[rows]] for read in KNOWN.values()
            ]
            flat = pa.array(embedding_BD.reshape(-1), pa.float32())
            embeddings = pa.FixedSizeListArray.from_arrays(flat, about["embedding_width"])
            texts = [pa.array(column, pa.string()) for column in (images.names[rows], *known)]
            writer.write_table(pa.Table.from_arrays([*texts, embeddings], schema=schema))


KNOWN: dict[str, Callable[[Label], str]] = {
    "identity": lambda label: label.identity_name or str(label.identity),
    "camera": lambda label: label.camera_shown,
    "split": lambda label: label.split,
}
"""What is written of an image that a data set knows, as that calls it."""
WRITERS = {".npz": write_npz, ".parquet": write_parquet}
