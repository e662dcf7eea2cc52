"""Names and wrappings of published weights: what lies where in a file of another toolbox.

    tensors, _ = named_tensors(torch.load("moco_r50.pth.tar"))  # "state_dict.module.encoder_q.conv1.weight": ...
    places(tensors, least=100)  # ["", "state_dict.", "state_dict.module.", "state_dict.module.encoder_q.", ...]

A backbone is looked for by names and shapes in every place of a file. So a wrapping (DDP, Lightning, an attribute's
name) needs no entry here; what needs one are layers that other toolboxes call by other names:

| file of | its backbone lies in | its head |
| --- | --- | --- |
| fast-reid | model.backbone | heads.bottleneck.0 (bnneck), heads.weight, heads.pool_layer |
| torchreid | state_dict (module) | classifier |
| TransReID, SOLIDER, strong baseline | base | bottleneck, classifier |
| CLIP-ReID | image_encoder, OpenAI's names | bottleneck, classifier |
| MoCo, DINO | encoder_q and encoder_k, teacher and student | |
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

WRAPPERS = frozenset(("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"))
"""Parts of names that torch.compile, FSDP, activation checkpoints and Lightning put in, at any depth."""
PICKLED = frozenset(("_modules", "_parameters", "_buffers"))
"""Attributes in which a pickled module keeps its parts."""
HEADS = {
    "neck.": ("bottleneck.0.", "bottleneck.", "bnneck.", "heads.bottleneck.0.", "heads.bnneck.", "heads.bottleneck.1."),
    "classifier.": ("heads.", "heads.classifier."),
    "pooling.": ("heads.pool_layer.", "pool_layer.", "global_pool.", "pool.", "gem."),
}
"""What our head's layers are called elsewhere."""
BEST = frozenset(("ema", "teacher", "encoder_q", "base"))
WORST = frozenset(("student", "encoder_k", "momentum"))
"""Where a file holds two copies, its authors evaluate that of BEST and not that of WORST: timm's EMA, DINO's teacher,
MoCo's query encoder (MoCo v3: base_encoder, not momentum_encoder)."""
DEEPEST = 16
"""Parts of a name that are looked at."""


def named_tensors(held: Any) -> tuple[dict[str, torch.Tensor], list[str]]:
    """All tensors in a file's dictionaries, lists and pickled modules, by their places: "state_dict.conv1.weight".

    And the places of those that are not plain numbers (`is_plain`), which are left out.
    """
    found, others, seen = dict[str, torch.Tensor](), list[str](), set[int]()
    waiting: list[tuple[tuple[str, ...], Any]] = [((), held)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, torch.Tensor):
            if path and is_plain(value):
                found.setdefault(".".join(path), value)
            elif path:
                others.append(".".join(path))
        elif id(value) not in seen and len(path) <= DEEPEST:
            seen.add(id(value))
            waiting += reversed([(path + _parts(key), part) for key, part in _inside(value)])
    return found, others


def _inside(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, list | tuple):
        return enumerate(value)
    state = getattr(value, "state", None)  # a stand-in's
    return state.items() if isinstance(state, dict) else ()


def _parts(key: Any) -> tuple[str, ...]:
    """A key as parts of a name, without wrappers."""
    return tuple(part for part in str(key).split(".") if part not in WRAPPERS | PICKLED)


def is_plain(value: torch.Tensor) -> bool:
    """Whether it is a tensor of real numbers that are all there: none that is sparse, quantised, complex or empty.

    Numbers of 8 bits are rounded weights, which mean something with their scales alone.
    """
    return (
        type(value) in (torch.Tensor, nn.Parameter)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not (value.is_quantized or value.is_complex())
        and value.dtype.itemsize > 1
    )


def prefixes(name: str) -> Iterator[str]:
    """What the name begins with, from nothing on, each ending in a dot: "", "a.", "a.b." of "a.b.c"."""
    parts = name.split(".")[: DEEPEST + 1]
    return (".".join([*parts[:end], ""]) if end else "" for end in range(len(parts)))


def places(names: Iterable[str], least: int) -> list[str]:
    """Where in a file at least so many tensors lie together; the best of equal ones first."""
    count = Counter(prefix for name in names for prefix in prefixes(name))
    return sorted((place for place, tensors in count.items() if not place or tensors >= least), key=_rank)


def _rank(place: str) -> int:
    words = set(place.split(".")) | set(re.split(r"[._]", place))
    return bool(words & WORST) - bool(words & BEST)


def head_names(name: str) -> list[str]:
    """What a tensor of our head may be called in a file: as here, or as elsewhere."""
    return [name, *(other + name.removeprefix(own) for own in HEADS if name.startswith(own) for other in HEADS[own])]


def groups(unused: Iterable[str], used: Iterable[str]) -> dict[str, list[str]]:
    """The unused names of a file by the outermost place in which nothing is used: "layer3.6", "encoder_k", "fc"."""
    taken = {prefix for name in used for prefix in prefixes(name)}
    grouped: dict[str, list[str]] = {}
    for name in unused:
        place = next((prefix for prefix in prefixes(name) if prefix not in taken), name).rstrip(".")
        grouped.setdefault(place or name, []).append(name)
    return grouped


def of_clip(state: Mapping[str, Any]) -> dict[str, Any]:
    """An image tower of OpenAI's CLIP with its names as timm knows them: with `visual.` before them."""
    if {"class_embedding", "attnpool.positional_embedding"} & state.keys():
        return {f"visual.{name}": tensor for name, tensor in state.items()}
    return dict(state)


OF_MMCV = {
    "stages.": "layers.",
    ".attn.w_msa.": ".attn.",
    ".ffn.layers.0.0.": ".mlp.fc1.",
    ".ffn.layers.1.": ".mlp.fc2.",
    "patch_embed.projection.": "patch_embed.proj.",
    "norm3.": "norm.",
}


def of_mmcv_swin(state: Mapping[str, Any]) -> dict[str, Any]:
    """A Swin by OpenMMLab's names, which SOLIDER's files have, by its authors' names.

    OpenMMLab merges patches by nn.Unfold: there the channel comes before the place in the 2 x 2 patch.
    """
    if not any(".attn.w_msa." in name for name in state):
        return dict(state)
    renamed = {}
    for name, tensor in state.items():
        if re.fullmatch(r"stages\.\d\.downsample\.(norm\.(weight|bias)|reduction\.weight)", name):
            # (..., channel, row, column) -> (..., column, row, channel)
            tensor = tensor.unflatten(-1, (-1, 2, 2)).movedim(-3, -1).transpose(-3, -2).flatten(-3)
        for theirs, ours in OF_MMCV.items():
            if theirs.startswith(".") or name.startswith(theirs):
                name = name.replace(theirs, ours)
        renamed[name] = tensor
    return renamed
