"""What keeps two commands out of one folder says a way out that the command has."""

import re

import pytest

from data.system.errors import UserError
from tuning import retrain, search
from tuning.record.lock import lock_folder


@pytest.mark.parametrize(
    ("doing", "command", "given"), [("searching", search, []), ("retraining", retrain, ["results/x"])]
)
def test_a_folder_that_cannot_be_written_or_is_taken_is_told_with_options_of_the_command(
    tmp_path, monkeypatch, doing, command, given
):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written") as unwritable:
        lock_folder(tmp_path / "file" / "study", doing)
    with lock_folder(tmp_path / "study", doing), pytest.raises(UserError, match=f"is {doing} here") as taken:
        lock_folder(tmp_path / "study", doing)
    monkeypatch.setattr("sys.argv", ["command", *given])
    options = vars(command.parse_arguments())
    for told in (unwritable, taken):
        named = re.findall(r"--([a-z-]+)", str(told.value))
        assert {name.replace("-", "_") for name in named} <= options.keys(), str(told.value)
