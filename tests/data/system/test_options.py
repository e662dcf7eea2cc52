"""Options that several commands share."""

import argparse
from pathlib import Path

import pytest

from data.system.errors import UserError
from data.system.options import CommandParser, add_cache_options, check_out


def parse(*arguments: str) -> argparse.Namespace:
    parser = CommandParser()
    add_cache_options(parser)
    return parser.parse_args(arguments)


def test_without_them_the_cache_follows_its_own_defaults():
    assert (parse().cache_dir, parse().limit_bytes) == (None, None)


def test_a_folder_and_a_size_in_gib():
    options = parse("--cache-dir", "some/where", "--cache-limit", "0.5")
    assert (options.cache_dir, options.limit_bytes) == (Path("some/where"), 2**29)


@pytest.mark.parametrize("size", ["much", "-1", "nan", "inf"])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(UserError, match=f"^--cache-limit: {size} is not a number of GiB"):
        parse("--cache-limit", size)


@pytest.fixture
def parser() -> CommandParser:
    made = CommandParser(prog="python -m one")
    made.add_argument("--config", required=True)
    made.add_argument("--top", type=int)
    made.add_argument("--names", nargs="*")
    return made


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["--confg", "a"], "--confg: no such option; did you mean --config?"),
        (["--config", "a", "--tpo=3"], "--tpo: no such option; did you mean --top?"),
        (["--config", "a", "--xyz"], "--xyz: no such option; python -m one --help lists the options"),
        (["--config", "a", "b"], "unrecognized arguments: b; python -m one --help lists the options"),
        (["--top", "3"], "the following arguments are required: --config; python -m one --help lists the options"),
        (["--config", "a", "--top", "x"], "--top: invalid int value: 'x'; python -m one --help lists the options"),
    ],
)
def test_a_mistake_in_the_options_is_one_line_that_names_the_way_out(parser, typed, told):
    with pytest.raises(UserError) as error:
        parser.parse_args(typed)
    assert str(error.value) == told


def test_what_argparse_takes_is_taken(parser):
    assert parser.parse_args(["--conf", "a", "--top=3", "--names", "b", "c"]).names == ["b", "c"]  # shortened, too
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("a.txt", "the name must end in .png"),
        ("folder.png", "is a folder"),
        ("file/b.png", "file is no folder"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path: Path, file: str, told: str):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=told):
        check_out(tmp_path / file, ".png")
    assert check_out(tmp_path / "new" / "c.PNG", ".png") == tmp_path / "new" / "c.PNG"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    assert parse("--cache-dir", str(tmp_path / "new")).cache_dir == tmp_path / "new"
    with pytest.raises(UserError, match=r"^--cache-dir: .*file is no folder"):
        parse("--cache-dir", str(tmp_path / "file"))


@pytest.mark.parametrize("words", [["--config="], ["--config", ""], ["--config=a", "--names", "b", ""]])
def test_an_empty_value_is_refused(parser, words):
    """As a path it would mean the folder of the command."""
    with pytest.raises(UserError, match=r"^(--config|--names|an argument): its value is empty; give one, or leave it"):
        parser.parse_args(words)


@pytest.mark.parametrize("value", ["-5m", "-0.5", "-.5", "-1", "-inf", "-1e3x"])
def test_a_value_below_0_reaches_the_rule_that_it_breaks(parser, value):
    assert parser.parse_args(["--config", value]).config == value
    assert parser.parse_args(["--names", "a", "--config", value, "--top", "-3"]).top == -3


def test_any_other_value_that_begins_with_a_dash_is_told_how_to_write_it(parser):
    with pytest.raises(UserError, match=r"^--config: expected one argument; write .* as --option=-value; "):
        parser.parse_args(["--config", "-folder"])
    assert parser.parse_args(["--config=-folder"]).config == "-folder"
