"""Who works in a folder: one process, which leaves no empty folder behind and tells others a way out that there is."""

import os
import re
import subprocess

import pytest

from data.system.errors import UserError
from tuning import retrain, search
from tuning.record.lock import lock_folder, process_in


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


def test_one_works_and_the_other_is_told_who(tmp_path):
    folder = tmp_path / "study"
    assert process_in(folder) is None
    with lock_folder(folder):
        assert process_in(folder) == str(os.getpid())
        with pytest.raises(UserError, match=rf"process {os.getpid()} is searching here; wait for it, or choose"):
            lock_folder(folder)
        (folder / "study.db").touch()
    assert process_in(folder) is None and not (folder / "search.pid").exists()
    lock_folder(folder).release()


def test_a_folder_that_stayed_empty_is_gone_with_those_that_were_made_for_it(tmp_path):
    with lock_folder(tmp_path / "results" / "study"):
        pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with lock_folder(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").is_dir(), "it was there before"


def test_a_folder_with_results_stays(tmp_path):
    with lock_folder(tmp_path / "study") as _:
        (tmp_path / "study" / "study.db").touch()
    assert (tmp_path / "study" / "study.db").is_file()


def test_the_id_of_a_process_that_was_killed_is_not_taken_for_a_living_ones(tmp_path):
    (tmp_path / "search.pid").write_text("4711\n")
    (tmp_path / "search.lock").touch()
    assert process_in(tmp_path) is None


def test_in_a_folder_that_may_only_be_read_the_note_of_a_living_process_tells(tmp_path, monkeypatch):
    (tmp_path / "search.lock").touch()
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    (tmp_path / "search.pid").write_text(f"{os.getpid()}\n")
    assert process_in(tmp_path) == str(os.getpid())
    with subprocess.Popen(["true"]) as ended:
        pass
    (tmp_path / "search.pid").write_text(f"{ended.pid}\n")
    assert process_in(tmp_path) is None
    (tmp_path / "search.pid").unlink()
    assert process_in(tmp_path) is None
