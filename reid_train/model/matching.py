"""Copies weights from elsewhere into a model: what fits by name and shape, wherever it lies in a file.

load_matching(model, torch.load("lup_moco_r50.pth"), "lup_moco_r50.pth")
# "lup_moco_r50.pth: 320 of 326 tensors matched, under state_dict.module.encoder_q; ...; unused, 55.1 % of ...: ..."
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch

from data.system.errors import UserError, printable
from reid_train.model.backbones import Backbone
from reid_train.model.network import ReIDModel
from reid_train.model.published import groups, head_names, named_tensors, places, prefixes
from reid_train.model.weights import first_not_finite

LEAST_NUMBERS, LEAST_LAYERS = 0.9, 0.9
"""Shares of the backbone's numbers, and of its layers, that a file of the same architecture fits at least. Some names
and shapes are the same in most networks: ResNet-50's file fits 97 of ResNet-18's 126 tensors, but no block of it."""

Tensors = Mapping[str, torch.Tensor]


class Found(NamedTuple):
    """A file's tensors that are taken for a backbone's."""

    place: str
    """Where they lie in the file: "state_dict.module."; empty where the file holds them alone."""
    tensors: Tensors
    """All that lie there, by the backbone's names."""
    fitting: list[str]
    """Those that fit."""


def load_matching(model: ReIDModel, held: Any, source: str, *, head: bool = True) -> str:
    """Copies what fits by name and shape into `model` (without `head` into its backbone alone); gives one line that
    says what did, what did not and what went unused.

    `held` is what a file holds: tensors in dictionaries. Raises UserError for a file without tensors, and for one whose
    backbone is of another architecture.
    """
    file, others = named_tensors(held)
    if not file:
        raise UserError(f"pretrained={source}: holds no state dict{_left_out(others) or _keys(held)}")
    own = model.backbone.network.state_dict()
    found = find_backbone(model.backbone, own, file, source)
    check_architecture(model, own, found, file, source, others)
    heads = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("backbone.")}
    taken = _find_head(heads, file, found.place) if head else {}
    if not head or (model.backbone.published_alone and not taken):
        heads = {}  # their absence is nothing to tell of
    ours = own | heads
    theirs = {**found.tensors, **{name: file[other] for name, other in taken.items()}}
    fitting = [name for name in ours if name in theirs and _same_shape(theirs[name], ours[name])]
    if broken := first_not_finite({name: theirs[name] for name in fitting}):
        raise UserError(f"pretrained={source}: {broken} holds values that are not finite: damaged, or of a failed run")
    with torch.no_grad():
        for name in fitting:
            ours[name].copy_(theirs[name].reshape(ours[name].shape))
    line = f"{source}: {len(fitting)} of {len(ours)} tensors matched"
    if found.place:
        line += f", under {found.place.rstrip('.')}"
    line += _differences(ours, theirs, fitting)
    return printable(line + _unused(file, found, [taken[name] for name in fitting if name in taken]))


def find_backbone(backbone: Backbone, own: Tensors, file: Tensors, source: str) -> Found:
    """The place in the file from which most of the backbone's numbers fit. Raises UserError where none is readable."""
    best, most = Found("", file, []), -1
    refusal: UserError | None = None
    for place in places(file, len(own) // 2):
        there = {name.removeprefix(place): tensor for name, tensor in file.items() if name.startswith(place)}
        try:
            tensors = backbone.fitted(there, source)
        except UserError as error:  # not everything in a file is of this backbone
            refusal = refusal or error
            continue
        fitting = [name for name in own if name in tensors and _same_shape(tensors[name], own[name])]
        numbers = sum(own[name].numel() for name in fitting)
        if numbers > most:
            best, most = Found(place, tensors, fitting), numbers
    if most < 0 and refusal is not None:
        raise refusal
    return best


def check_architecture(
    model: ReIDModel, own: Tensors, found: Found, file: Tensors, source: str, others: list[str]
) -> None:
    """Raises UserError where too little of the backbone fits, by numbers or by layers, and where the file's network has
    more or fewer layers in a row: ResNet-101's fits all of ResNet-50. `others` are tensors that were left out."""
    layers: dict[str, list[str]] = {}
    for name in own:
        if not name.endswith("num_batches_tracked"):  # older files have none
            layers.setdefault(name.rpartition(".")[0], []).append(name)
    fitting = set(found.fitting)
    whole = [layer for layer, names in layers.items() if fitting.issuperset(names)]
    share = sum(own[name].numel() for name in found.fitting) / sum(tensor.numel() for tensor in own.values())
    if share >= LEAST_NUMBERS and len(whole) >= LEAST_LAYERS * len(layers):
        theirs = _rows(found.tensors)
        for row, numbers in _rows(own).items():
            if row in theirs and len(theirs[row]) != len(numbers):
                raise UserError(
                    f"pretrained={source}: of another architecture: {printable(found.place + row)} has "
                    f"{len(theirs[row])} layers there, {len(numbers)} here; give weights of this backbone, or set "
                    "backbone to theirs"
                )
        return
    count = len(found.fitting)
    every = len(own) if model.backbone.published_alone else len(model.state_dict())
    shares = f", {_percent(share)} of the backbone's numbers and {len(whole)} of its {len(layers)} layers"
    raise UserError(
        f"pretrained={source}: of another architecture: {count or 'none'} of the model's {every} tensors "
        f"{'are' if count != 1 else 'is'} among its {len(file)} by name and shape{shares if count else ''}"
        f"{_left_out(others)}; its names: {_few([name[:60] for name in file])}; give weights of this backbone, or set "
        "backbone to theirs"
    )


def _rows(names: Iterable[str]) -> dict[str, set[str]]:
    """The numbers of layers that stand in a row, by the row's name: {"layer3": {"0", "1", "2", "3", "4", "5"}, ...}."""
    rows: dict[str, set[str]] = {}
    for name in names:
        for place in prefixes(name):
            row, _, last = place.rstrip(".").rpartition(".")
            if row and last.isdigit():
                rows.setdefault(row, set()).add(last)
    return rows


def _find_head(heads: Tensors, file: Tensors, place: str) -> dict[str, str]:
    """Our head's tensors and what the file calls them: beside the backbone, or in a place around it."""
    around = [*prefixes(place)][::-1]
    found = {}
    for name, ours in heads.items():
        there = [at + other for at in around for other in head_names(name) if at + other in file]
        if there:
            found[name] = next((other for other in there if _same_shape(file[other], ours)), there[0])
    return found


def _same_shape(theirs: torch.Tensor, ours: torch.Tensor) -> bool:
    """And both or neither of them whole numbers. GeM's exponent is a number in some toolboxes and a list of one in
    others."""
    if theirs.is_floating_point() != ours.is_floating_point():
        return False
    return theirs.shape == ours.shape or (theirs.numel() == ours.numel() == 1 and max(theirs.ndim, ours.ndim) == 1)


def _differences(ours: Tensors, theirs: Tensors, fitting: list[str]) -> str:
    """Which of our tensors are there in another shape, and which are not."""
    misshapen = [name for name in ours if name in theirs and name not in fitting]
    missing = [name for name in ours if name not in theirs]
    told = ""
    if misshapen:
        shapes = f"{tuple(theirs[misshapen[0]].shape)} there, {tuple(ours[misshapen[0]].shape)} here"
        told += f"; another shape: {_few(misshapen)} ({shapes})"
    return told + (f"; not in it: {_few(missing)}" if missing else "")


def _unused(file: Tensors, found: Found, heads: list[str]) -> str:
    """What of the file went unused, the largest first, with its share of the file's numbers."""
    used = {*heads, *(found.place + name for name in found.fitting)}
    every = {found.place + name: tensor.numel() for name, tensor in found.tensors.items()}
    every |= {name: tensor.numel() for name, tensor in file.items() if not name.startswith(found.place)}
    unused = {name: size for name, size in every.items() if name not in used and size}
    if not unused:
        return ""
    grouped = groups(unused, used)
    largest = sorted(grouped, key=lambda group: -sum(unused[name] for name in grouped[group]))
    share = _percent(sum(unused.values()) / sum(every.values()))
    return f"; unused, {share} of its numbers: {_few([group[:80] for group in largest])}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _few(names: list[str]) -> str:
    return ", ".join(map(printable, names[:3])) + (" ..." if len(names) > 3 else "")


def _left_out(others: list[str]) -> str:
    """How many tensors hold no plain numbers."""
    if not others:
        return ""
    kinds = "of 8 bits, quantised, sparse, complex or without content"
    return f"; {len(others)} tensors are {kinds}, and cannot be taken: {_few(others)}; give weights in floats"


def _keys(held: Any) -> str:
    """What a file without tensors holds."""
    if not isinstance(held, Mapping) or not held:
        return f": it holds nothing but {type(held).__name__}"
    return f"; its keys: {_few([str(key)[:60] for key in held])}"
