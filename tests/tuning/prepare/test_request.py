"""A search's request: what the command line asks for, and back."""

import sys
from dataclasses import fields

import pytest

from tuning.prepare.request import SearchRequest
from tuning.search import parse_arguments

ALL = {
    "space": "my space.yaml",
    "config": "recipe.yaml",
    "search": ("margin=0.1,0.3", "learning_rate=1e-4..1e-2:log"),
    "sampler": "tpe",
    "study": ("rungs=[4,12]",),
    "no_test": True,
    "json": True,
    "images": False,
    "open": True,
    "data_dir": "data/here",
    "set": ("margin=0.3", "optimizer=sgd"),
    "time_budget": "45m",
    "epochs": 60,
    "trials": 7,
    "plan": True,
    "warm_start": ("results/a", "results/b"),
    "cpus_per_trial": 2,
    "gpus_per_trial": 0.5,
    "name": "mine",
    "results": "/tmp/results",
    "limit_bytes": 3 * 2**29,
    "address": "10.0.0.1:6379",
    "storage": "/shared",
    "publish": "wandb",
    "study_storage": "postgresql://ann@db/x",
}
"""A value of every option that a command line can name, unlike its default; --cache-dir is a path."""


NEEDS = {"config": ["search"], "json": ["plan"]}
"""Options that go with others alone; config takes the place of a space, too."""
SOME = [[], [name for name in ALL if name != "config"], *([name, *NEEDS.get(name, [])] for name in ALL)]


@pytest.mark.parametrize("names", SOME, ids=str)
def test_words_of_a_request_ask_for_the_same(names, monkeypatch, tmp_path):
    values = {name: ALL[name] for name in names} | ({"space": None} if "config" in names else {})
    request = SearchRequest(cache_dir=tmp_path, **values)
    monkeypatch.setattr(sys, "argv", ["search", *request.words()])
    assert SearchRequest.of(parse_arguments()) == request


def test_every_option_of_the_command_is_in_the_request(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["search"])
    known = {field.name for field in fields(SearchRequest)}
    assert set(vars(parse_arguments())) == known - {"command"}
    assert known - {"command", "cache_dir"} == set(ALL)
