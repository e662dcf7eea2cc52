"""Checkpoints: cut, with bits flipped, with wrong keys and types, and pickles that want to run code.

All three kinds of file: our folders of safetensors, the training state, and anybody's .pth.
"""

import copy
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from reid_train.checkpoints.checkpoint import (
    STATE,
    WEIGHTS,
    build_model,
    load_network,
    restore,
    save_checkpoint,
    save_state,
)
from reid_train.checkpoints.pretrained import load_pretrained
from reid_train.model.backbones import BACKBONES
from reid_train.settings.optim import OptimSettings
from reid_train.training.optim import build_optimizer, build_schedule
from tests.narrow_resnet import NarrowResNet
from tests.reid_train.conftest import tiny_config
from tests.reliability.fuzzing import answer, fuzz

CONFIG = tiny_config()
IDENTITIES = [3, 5, 8]
REASONS = {
    "not those that were written": "changed weights",
    "not a checkpoint": "damaged",
    "do not fit": "does not fit its description",
    "not finite": "not finite",
    "unknown setting": "wrong settings",
    "which is code": "holds code",
    "not a file of tensors": "damaged",
    "no state dict": "no state dict",
    "of another architecture": "too little fits",
    "damaged training state": "damaged",
    "no training state": "no state",
    "with other settings": "another run's",
    "other training images": "other images'",
    "no such": "no such file",
    ": ": "wrong settings",
}


@pytest.fixture(scope="module", autouse=True)
def narrow():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "resnet18", (NarrowResNet, BACKBONES["resnet18"][1], 64))
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="module")
def parts(narrow):
    """What a run's state is loaded into."""
    model = build_model(CONFIG, len(IDENTITIES))
    optimizer = build_optimizer(model, OptimSettings())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    schedule = build_schedule(optimizer, pct_start=0.3, total_steps=20)
    return {"model": model, "optimizer": optimizer, "schedule": schedule}


SEEN = {"identities": IDENTITIES, "images": 7}


@pytest.fixture(scope="module")
def originals(parts, tmp_path_factory) -> dict[str, bytes]:
    """A file of each kind, as it is written."""
    folder, model = tmp_path_factory.mktemp("originals"), parts["model"]
    save_checkpoint(folder, model.state_dict(), config=CONFIG, epoch=2, metrics={"loss": 0.1}, identities=IDENTITIES)
    states = {name: part.state_dict() for name, part in parts.items()}
    save_state(folder, {"epoch": 1, "config": CONFIG.model_dump(mode="json"), "seen": SEEN, **states})
    torch.save(model.state_dict(), folder / "zip.pth")
    torch.save(model.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("checkpoint")


@st.composite
def damage(draw: st.DrawFn) -> list[tuple[str, float, int]]:
    """What is done to a file, in places between its begin, 0, and its end, 1; often near either, where headers are."""
    kinds = st.sampled_from(["flip", "flip", "flip", "cut", "put", "zero"])
    places = st.one_of(st.floats(0, 1), st.floats(0, 0.02), st.floats(0.98, 1))
    return draw(st.lists(st.tuples(kinds, places, st.integers(0, 255)), min_size=1, max_size=3))


def damaged(original: bytes, done: list[tuple[str, float, int]]) -> bytes:
    content = bytearray(original)
    for kind, share, number in done:
        place = int(share * max(len(content) - 1, 0))
        if kind == "cut":
            del content[place:]
        elif kind == "put":
            content[place:place] = bytes([number]) * (number % 9)
        elif kind == "zero":
            content[place : place + number] = bytes(len(content[place : place + number]))
        elif content:
            content[place] ^= 1 << number % 8
    return bytes(content)


def same(one, other) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.just("9" * 99)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)


@fuzz
@given(done=damage())
def test_a_damaged_checkpoint_is_refused_or_the_same(done, folder, originals, parts):
    file = folder / WEIGHTS
    file.write_bytes(damaged(originals[WEIGHTS], done))
    loaded = answer("checkpoints, damaged", lambda: load_network(folder), str(folder), REASONS)
    if loaded is not None:  # not silently another
        assert same(loaded[0].state_dict(), parts["model"].state_dict())


tensors = st.sampled_from(
    [
        torch.zeros(3, 64),
        torch.zeros(2, 64),
        torch.zeros(()),
        torch.zeros(0),
        torch.full((3, 64), torch.nan),
        torch.zeros(3, 64, dtype=torch.int64),
        torch.zeros(3, 64, dtype=torch.bfloat16),
        torch.zeros(3, 64, dtype=torch.float8_e4m3fn),
        torch.zeros(3, 64, dtype=torch.bool),
    ]
)
described = st.fixed_dictionaries(
    {},
    optional={
        "config": st.one_of(
            st.builds(
                lambda name, value: {**CONFIG.model_dump(mode="json"), name: value},
                st.sampled_from([*CONFIG.model_dump(), "x\ny"]),
                values,
            ),
            values,
        ),
        "epoch": values,
        "metrics": values,
        "identities": st.one_of(st.lists(st.integers(0, 9), min_size=3, max_size=3), st.just("millions"), values),
        "sha256": values,
    },
)


@fuzz
@given(
    description=described, replaced=st.dictionaries(st.sampled_from(["classifier.weight", "neck.weight", "x"]), tensors)
)
def test_a_checkpoint_that_says_otherwise_is_refused_or_loaded(description, replaced, folder, originals, parts):
    told = json.loads(originals["model.json"])
    del told["sha256"]  # as one would that wants to be believed
    weights = {**parts["model"].state_dict(), **replaced}
    text = json.dumps({**told, **description}).replace('"millions"', f"[{'1, ' * 5_000_000}1]")
    (folder / WEIGHTS).write_bytes(save({n: t.clone() for n, t in weights.items()}, {"description": text}))
    answer("checkpoints, other contents", lambda: load_network(folder), str(folder), REASONS)


def header(claims: object, data: bytes = b"") -> bytes:
    text = json.dumps(claims).encode()
    return struct.pack("<Q", len(text)) + text + data


lengths = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 10**8, 2**40, 2**63, 2**64 - 1]))
headers = st.one_of(
    st.builds(
        lambda shape, start, end, kind: header(
            {"classifier.weight": {"dtype": kind, "shape": shape, "data_offsets": [start, end]}}, bytes(100)
        ),
        st.lists(lengths, max_size=4),
        lengths,
        lengths,
        st.sampled_from(["F32", "I8", "BOOL", "F99", ""]),
    ),
    st.builds(lambda length, rest: struct.pack("<Q", length) + rest, lengths, st.binary(max_size=40)),
    values.map(header),
    st.integers(1, 3000).map(lambda depth: struct.pack("<Q", 5 * depth) + b'{"a":' * depth),
    st.binary(max_size=60),
)


@fuzz
@given(content=headers)
def test_a_checkpoint_that_claims_absurd_sizes_is_refused(content, folder):
    (folder / WEIGHTS).write_bytes(content)
    assert answer("checkpoints, headers", lambda: load_network(folder), str(folder), REASONS) is None


# --- the training state ---


@fuzz
@given(done=damage())
def test_a_damaged_training_state_is_refused_or_the_same(done, folder, originals, parts):
    (folder / STATE).write_bytes(damaged(originals[STATE], done))
    before = copy.deepcopy(parts["model"].state_dict())
    epoch = answer("training states, damaged", lambda: restore(parts, CONFIG, SEEN, folder), str(folder), REASONS)
    if epoch is not None:
        assert epoch == 1 and same(parts["model"].state_dict(), before)


@fuzz
@given(
    changes=st.dictionaries(
        st.sampled_from(["epoch", "config", "seen", "model", "optimizer", "schedule"]),
        st.one_of(values, st.just("missing"), st.dictionaries(st.text(max_size=5), tensors, max_size=2), tensors),
        max_size=3,
    )
)
def test_a_training_state_of_other_contents_is_refused_or_loaded(changes, folder, originals, parts):
    state = torch.load(io.BytesIO(originals[STATE]), weights_only=True)
    kept = copy.deepcopy({name: part.state_dict() for name, part in parts.items()})
    state = {
        name: value
        for name, value in {**state, **changes}.items()
        if not (isinstance(value, str) and value == "missing")
    }
    torch.save(state, folder / STATE)
    epoch = answer(
        "training states, other contents", lambda: restore(parts, CONFIG, SEEN, folder), str(folder), REASONS
    )
    assert epoch is None or 0 <= epoch <= CONFIG.num_epochs
    for name, part in parts.items():
        part.load_state_dict(kept[name])


# --- anybody's weights ---

pwned: list[object] = []
"""What hostile pickles would put something into, had they their way."""


class Hostile:
    """Calls something when it is unpickled."""

    def __init__(self, function: object, arguments: tuple):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@st.composite
def hostile(draw: st.DrawFn) -> object:
    import builtins
    import os
    import subprocess

    call = draw(
        st.sampled_from(
            [
                (os.system, ("touch pwned",)),
                (subprocess.Popen, (["touch", "pwned"],)),
                (builtins.eval, ("__import__('tests.reliability.test_fuzz_checkpoints')",)),
                (builtins.exec, ("import os; os.system('touch pwned')",)),
                (builtins.__import__, ("antigravity",)),
                (builtins.open, ("pwned", "w")),
                (pwned.append, (1,)),
                (Path, ("pwned",)),
                (bytearray, (10**12,)),
                (torch.zeros, (10**12,)),
                (torch.hub.load, ("x/y", "z")),
                (torch.load, ("pwned",)),
                (torch.jit.load, ("pwned",)),
            ]
        )
    )
    held: object = Hostile(*call)
    for wrapping in draw(st.lists(st.sampled_from(["list", "dict", "state_dict", "key"]), max_size=3)):
        held = {
            "list": [held],
            "dict": {"conv1.weight": held},
            "state_dict": {"state_dict": held},
            "key": {"x": 1, "y": held},
        }[wrapping]
    return held


@fuzz
@given(value=hostile(), form=st.sampled_from(["zip", "old", *map(str, range(5))]))
def test_a_hostile_pickle_runs_nothing(value, form, folder, monkeypatch, parts):
    monkeypatch.chdir(folder)
    file = folder / "hostile.pth"
    if form in ("zip", "old"):
        torch.save(value, file, _use_new_zipfile_serialization=form == "zip")
    else:
        file.write_bytes(pickle.dumps(value, protocol=int(form)))
    before = copy.deepcopy(parts["model"].state_dict())
    for kind, name, load in (
        ("hostile pickles as weights", file, lambda: load_pretrained(parts["model"], str(file))),
        ("hostile pickles as state", folder / STATE, lambda: restore(parts, CONFIG, SEEN, folder)),
    ):
        if name != file:
            name.write_bytes(file.read_bytes())
        assert answer(kind, load, str(name), REASONS) is None
    assert not pwned and not (folder / "pwned").exists() and same(parts["model"].state_dict(), before)


opcodes = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"(",
                b".",
                b"0",
                b"1",
                b"2",
                b"N",
                b"]",
                b"}",
                b")",
                b"a",
                b"e",
                b"s",
                b"u",
                b"t",
                b"d",
                b"R",
                b"b",
                b"o",
                b"Q",
            ]
        ),
        st.sampled_from(
            [b"cos\nsystem\n", b"cbuiltins\neval\n", b"ccollections\nOrderedDict\n", b"X\5\0\0\0touch", b"\x93"]
        ),
        st.sampled_from(
            [
                b"ctorch._utils\n_rebuild_tensor_v2\n",
                b"ctorch\nFloatStorage\n",
                b"\x8a\xff" + b"\xff" * 9,
                b"q\0",
                b"h\0",
            ]
        ),
        st.sampled_from(
            [
                b"X\xff\xff\xff\xff",
                b"\x8b\xff\xff\xff\x7f",
                b"K\1",
                b"M\xff\xff",
                b"\x85",
                b"\x86",
                b"\x87",
                b"\x81",
                b"\x92",
            ]
        ),
        st.binary(max_size=3),
    ),
    max_size=30,
).map(b"".join)


@fuzz
@given(
    body=opcodes,
    form=st.sampled_from(["plain", "zip", "deflated"]),
    version=st.sampled_from([b"", b"\x80\2", b"\x80\4"]),
)
def test_pickles_of_any_operations_run_nothing(body, form, version, folder, parts):
    file = folder / "opcodes.pth"
    if form == "plain":
        file.write_bytes(version + body)
    else:
        how = zipfile.ZIP_DEFLATED if form == "deflated" else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, "w", how) as archive:
            archive.writestr("a/data.pkl", version + body)
            archive.writestr("a/version", "3\n")
            archive.writestr("a/data/0", bytes(100))
    answer("pickles of any operations", lambda: load_pretrained(parts["model"], str(file)), str(file), REASONS)


@fuzz
@given(done=damage(), name=st.sampled_from(["zip.pth", "old.pth"]))
def test_damaged_weights_are_refused_or_finite(done, name, folder, originals, parts):
    file = folder / name
    file.write_bytes(damaged(originals[name], done))
    kept = copy.deepcopy(parts["model"].state_dict())
    load = lambda: load_pretrained(parts["model"], str(file))  # noqa: E731
    line = answer("weights, damaged", load, str(file), REASONS)
    assert all(torch.isfinite(tensor).all() for tensor in parts["model"].state_dict().values())
    assert line is not None or same(parts["model"].state_dict(), kept)
    parts["model"].load_state_dict(kept)


odd = st.one_of(
    tensors,
    values,
    st.builds(lambda: torch.quantize_per_tensor(torch.zeros(3, 64), 0.1, 0, torch.qint8)),
    st.sampled_from(
        [
            torch.zeros(3, 64).to_sparse(),
            torch.zeros(3, 64, dtype=torch.complex64),
            torch.zeros(1).expand(3, 64),
            torch.zeros(1).expand(10**6, 10**6),
            torch.zeros(3, 64, device="meta"),
            torch.nn.Parameter(torch.zeros(3, 64)),
        ]
    ),
)
keys = st.one_of(
    st.sampled_from(["classifier.weight", "module.classifier.weight", "neck.weight", "model.module.net.x", "x\ny"]),
    st.sampled_from(["state_dict", "model", "net", "module.", ""]),
    st.integers(),
    st.none(),
    st.text(max_size=9),
)


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
@fuzz
@given(state=st.one_of(st.dictionaries(keys, st.one_of(odd, st.dictionaries(keys, odd, max_size=2)), max_size=4), odd))
def test_weights_of_other_keys_and_types_are_refused_or_matched(state, folder, parts):
    file = folder / "odd.pth"
    torch.save(state, file)
    kept = copy.deepcopy(parts["model"].state_dict())
    load = lambda: load_pretrained(parts["model"], str(file))  # noqa: E731
    line = answer("weights, other keys", load, str(file), REASONS)
    assert line is None or "\n" not in line
    assert all(torch.isfinite(tensor).all() for tensor in parts["model"].state_dict().values())
    parts["model"].load_state_dict(kept)
