"""Options that several commands share."""

import argparse
from pathlib import Path

import pytest

from data.system.options import add_cache_options


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_cache_options(parser)
    return parser.parse_args(arguments)


def test_without_them_the_cache_follows_its_own_defaults():
    assert (parse().cache_dir, parse().limit_bytes) == (None, None)


def test_a_folder_and_a_size_in_gib():
    options = parse("--cache-dir", "some/where", "--cache-limit", "0.5")
    assert (options.cache_dir, options.limit_bytes) == (Path("some/where"), 2**29)


@pytest.mark.parametrize("size", ["much", "-1", "nan", "inf"])
def test_a_size_that_is_none_is_refused(size, capsys):
    with pytest.raises(SystemExit) as refused:
        parse("--cache-limit", size)
    assert refused.value.code == 2
    assert f"{size} is not a number of GiB" in capsys.readouterr().err
