"""Space files and training settings made of rubbish, of nearly right values, and of right files with bytes changed."""

import string
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reid_train.settings.config import FIELD_NAMES, TrainConfig, make_config, read_config
from tests.reliability.fuzzing import answer, fuzz
from tuning.space.read import RANGE_KEYS, SECTIONS, read_space
from tuning.space.space import StudySettings

ROOT = Path(__file__).resolve().parents[2]
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
REASONS = {
    "not valid YAML": "no YAML",
    "cannot be read": "no text",
    "expected `name: value`": "no mapping",
    "unknown": "unknown name",
    "is no study setting": "unknown name",
    "a number of": "too long",
    "a value of": "too long",
    "more than": "too long",
    "set twice": "a name twice",
    "expected a name": "a name that is none",
    "nothing to search": "nothing to search",
    "first trial": "first trial",
    "waits for": "condition",
    "wait for each other": "condition",
    "depends on": "condition",
    "cannot be searched": "not searchable",
    "should be": "wrong type or value",
    "needs a number": "wrong type or value",
    "takes": "wrong type or value",
    "multiple of": "batch",
    "negatives": "batch",
    "must be": "range",
    "=": "wrong type or value",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("settings")


numbers = st.one_of(
    st.integers(-3, 5000),
    st.integers(),
    st.floats(),
    st.sampled_from([0, 1, -1, 2**31, 2**63, 10**300, 1e-300, 1e308, float("nan"), float("inf"), True, False, None]),
)
texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["auto", "soft", "none", "imagenet", "~nobody-of-that-name/x", "a\0b", "\x1b[2J", "🐎", ""]),
    st.text("0123456789:_.eE+-xob", max_size=300),
)
plain = st.one_of(numbers, texts, st.dates(), st.binary(max_size=5))
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(texts, st.integers(), st.none()), inner, max_size=4)
    ),
    max_leaves=8,
)


def mostly(usual: st.SearchStrategy, else_: st.SearchStrategy, once_in: int = 20) -> st.SearchStrategy:
    """`usual`, and once in so many times `else_`."""
    return st.integers(1, once_in).flatmap(lambda drawn: else_ if drawn == once_in else usual)


names = mostly(st.sampled_from(FIELD_NAMES), texts)


def literals(name: str) -> list:
    """The values that a setting takes by name."""
    found, left = [], [TrainConfig.model_fields[name].annotation]
    while left:
        annotation = left.pop()
        found += [value for value in get_args(annotation) if isinstance(value, (str, int))]
        left += [value for value in get_args(annotation) if not isinstance(value, (str, int))]
    return found


near = {
    name: mostly(st.sampled_from([TrainConfig().model_dump()[name], *literals(name)]), numbers, 6)
    for name in FIELD_NAMES
}
settings_like = st.lists(names, max_size=6, unique=True).flatmap(
    lambda chosen: st.fixed_dictionaries({name: mostly(near.get(name, values), values, 10) for name in chosen})
)


def sensible(low: float, factor: int, log: bool) -> dict:
    return {"low": low, "high": low * (1 + factor), "log": log}


ranges = st.one_of(
    st.fixed_dictionaries(
        {"low": st.one_of(st.floats(1e-6, 4), numbers), "high": st.one_of(st.floats(0.1, 9), numbers)},
        optional={"log": st.one_of(st.booleans(), values), "step": numbers, "when": settings_like},
    ),
    st.lists(plain, max_size=4),
    st.dictionaries(st.one_of(st.sampled_from(RANGE_KEYS), texts), values, max_size=4),
    values,
)
searched = st.lists(names, max_size=4, unique=True).flatmap(
    lambda chosen: st.fixed_dictionaries(
        {
            name: st.one_of(
                st.lists(near.get(name, plain), min_size=1, max_size=4, unique_by=repr),
                st.builds(sensible, st.sampled_from([8, 16, 0.1, 1]), st.integers(1, 4), st.booleans()),
                ranges,
                st.lists(ranges, max_size=3),
            )
            for name in chosen
        }
    )
)
studies = st.lists(mostly(st.sampled_from(tuple(StudySettings.model_fields)), texts), max_size=4, unique=True).flatmap(
    lambda chosen: st.fixed_dictionaries(
        {name: mostly(st.just(StudySettings().model_dump().get(name)), values, 3) for name in chosen}
    )
)
spaces = st.fixed_dictionaries(
    {"search": searched},
    optional={
        "fixed": mostly(settings_like, values),
        "study": mostly(studies, values),
        "first_trials": mostly(st.lists(settings_like, max_size=2), values),
        "sample_data": values,
    },
)


def as_yaml(value: object) -> bytes:
    return yaml.dump(value, allow_unicode=True, Dumper=yaml.SafeDumper).encode("utf-8", "replace")


@st.composite
def changed(draw: st.DrawFn, original: bytes) -> bytes:
    """A file with bytes changed, put in, taken out, or cut off; or with a piece of it repeated."""
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        length = draw(st.integers(0, 8))
        piece = draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from(
                    [b"&a ", b"*a", b"<<: ", b"!!int ", b"!!python/name:os.system ", b"[", b"{", b": ", b"\n"]
                ),
                st.sampled_from([b"9" * 400, b".inf", b".nan", b"-", b"0", b"1e999", b"null", b"true", b"\xff", b"\0"]),
                st.just(bytes(content[place : place + 40])),
            )
        )
        content[place : place + length] = piece
        if draw(st.integers(0, 19)) == 0:
            del content[place:]
    return bytes(content)


rubbish = st.one_of(
    st.binary(max_size=200),
    st.text(string.printable, max_size=200).map(str.encode),
    st.sampled_from(["[", "{a: ", "- ", "&a [*a]", "? ", "!!set {", "'", "|\n "]).flatmap(
        lambda piece: st.integers(1, 2000).map(lambda count: (piece * count).encode())
    ),
    values.map(as_yaml),
)
space_files = st.one_of(
    spaces.map(as_yaml), spaces.map(as_yaml), rubbish, *(changed(file.read_bytes()) for file in SPACES)
)


@fuzz
@given(content=space_files)
def test_a_space_file_is_read_or_refused_by_name(content, folder):
    file = folder / "space.yaml"
    file.write_bytes(content)
    space = answer("space files", lambda: read_space(file), str(file), REASONS)
    if space is not None:  # what was read can be worked with
        assert space.identity() and space.base_config() and space.parameters
        for parameter in space.parameters:
            assert parameter.key and parameter.extremes()


@fuzz
@given(settings=settings_like)
def test_settings_make_a_configuration_or_are_refused_by_name(settings):
    config = answer("TrainConfig", lambda: make_config(settings, "some.yaml"), "some.yaml", REASONS)
    if config is not None:
        assert make_config(config.model_dump(mode="json"), "again") == config


@fuzz
@given(content=st.one_of(settings_like.map(as_yaml), rubbish, changed(as_yaml(TrainConfig().model_dump()))))
def test_a_settings_file_is_read_or_refused_by_name(content, folder):
    file = folder / "settings.yaml"
    file.write_bytes(content)
    answer("settings files", lambda: read_config(str(file)), str(file), REASONS)


@fuzz
@given(texts=st.lists(mostly(st.builds("{}={}".format, names, st.one_of(texts, numbers)), texts), max_size=3))
def test_assignments_are_read_or_refused_by_name(texts, folder):
    file = folder / "plain.yaml"
    file.write_text("margin: 0.3\n")
    answer("--set", lambda: read_config(str(file), texts), None, {"expected name=value": "no assignment", **REASONS})


def test_sections_are_those_that_are_fuzzed():
    assert set(SECTIONS) == {"search", "fixed", "study", "first_trials", "sample_data"}
