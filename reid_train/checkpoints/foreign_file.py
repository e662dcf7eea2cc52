"""Reads anybody's file of weights without running code from it: .pth and its like, and safetensors.

read_file(Path("moco_r50.pth.tar"))  # {"epoch": 800, "state_dict": {"module.encoder_q.conv1.weight": ...}, ...}

Published checkpoints hold more than tensors: options (argparse.Namespace), NumPy's numbers, schedulers, whole modules.
What torch does not load without running code is replaced by stand-ins, which hold what the file says of it and do
nothing.
"""

import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import check_archive
from reid_train.model.weights import why_unreadable

MOST_STAND_INS = 200
"""Classes that a file may name: a whole pickled network has some dozens."""
CODE = ("__builtin__", "builtins", "importlib", "nt", "os", "posix", "runpy", "shutil", "subprocess", "sys")
"""Modules that weights have no use for: a file that names them is refused."""
UNKNOWN = re.compile(r"GLOBAL (\S+) was not an allowed global")
NO_DICT = re.compile(r"Can only SETITEMS? for dict.* but got <class '[\w.]*stand_in_(\d+)'>")
NO_LIST = re.compile(r"Can only append to lists, but got <class '[\w.]*stand_in_(\d+)'>")


SAFETENSORS = ".safetensors"
OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer, not the weights; `git lfs pull` fetches them",
    b"<": "a web page, not the weights; fetch the file itself (on the Hugging Face hub: `resolve` instead of `blob`)",
    b"\x93NUMPY": "one NumPy array without a name; save tensors by name: torch.save(state_dict, FILE)",
    b"\x89HDF\r\n": "an HDF5 file (Keras, TensorFlow); weights of PyTorch are needed",
    b"\x1f\x8b": "compressed; unpack it first: gunzip",
    b"7z\xbc\xaf\x27\x1c": "an archive; unpack it first",
    b"Rar!": "an archive; unpack it first",
    b"GGUF": "a GGUF file, whose weights are rounded; weights of PyTorch are needed",
}
"""How files begin that people take for weights: what they are, and the way out."""
OF_NUMPY = (
    "NumPy's arrays by name; make a state dict of them: python -c \"import numpy, torch; torch.save({name: "
    "torch.from_numpy(array) for name, array in numpy.load('FILE.npz').items()}, 'FILE.pth')\""
)


def other_kind(file: Path) -> str | None:
    """What a file is that holds no weights of PyTorch, and the way out; None for others."""
    try:
        with file.open("rb") as opened:
            begin = opened.read(512).removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
        if zipfile.is_zipfile(file):
            names = zipfile.ZipFile(file).namelist()
            return OF_NUMPY if names and all(name.endswith(".npy") for name in names) else None
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return None  # read_file tells of it
    return next((said for mark, said in OTHERS.items() if begin.startswith(mark)), None)


class StandIn:
    """Stands for an object whose class is not loaded."""

    state: Any = None
    """What the file says of the object: usually its attributes."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _DictStandIn(StandIn):
    """For classes that are dictionaries: torch fills only its own kinds of them."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()


class _ListStandIn(list[Any]):
    """For classes that are lists."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()


def read_file(file: Path) -> Any:
    """What a file holds. Raises UserError for one that is damaged, missing, or that would run code."""
    if not file.is_file():
        raise UserError(
            f"pretrained={file}: no such file; give imagenet, none, a checkpoint folder or a file of weights"
        )
    if kind := other_kind(file):
        raise UserError(f"pretrained={file}: {kind}")
    if file.suffix.lower() == SAFETENSORS:
        try:
            return load_file(file)
        except (OSError, SafetensorError) as error:
            raise UserError(f"pretrained={file}: no safetensors file, or damaged: {error}") from error
    try:
        check_archive(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old and odd files; the error below tells what matters
            return _load(file)
    except Exception as error:  # torch.load raises many kinds, down to UnicodeDecodeError
        reason = why_unreadable(error)
        raise UserError(f"pretrained={file}: not a file of tensors alone, or damaged: {reason}") from error


def _load(file: Path) -> Any:
    """torch.load with stand-ins for what it does not know: each attempt tells of one."""
    kinds = dict[str, type]()
    while True:
        stand_ins = [
            (type(f"stand_in_{number}", (kind,), {}), name) for number, (name, kind) in enumerate(kinds.items())
        ]
        try:
            with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type]
                return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            if not _learned(kinds, str(error)):
                raise


def _learned(kinds: dict[str, type], message: str) -> bool:
    """Adds to the stand-ins what torch's refusal asks for; False where it asks for none, or for code."""
    for pattern, kind in ((NO_DICT, _DictStandIn), (NO_LIST, _ListStandIn)):
        if (found := pattern.search(message)) and kinds[name := list(kinds)[int(found[1])]] is StandIn:
            kinds[name] = kind
            return True
    name = found[1] if (found := UNKNOWN.search(message)) else ""
    if "." not in name or name.split(".")[0] in CODE or name in kinds or len(kinds) >= MOST_STAND_INS:
        return False
    kinds[name] = StandIn
    return True
