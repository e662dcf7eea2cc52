"""Kept files: what was made comes back, damage is seen, nobody makes it twice, and a full disk ends nothing."""

import os
import pwd
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.system import kept
from data.system.kept import Arrays, default_cache_dir, kept_arrays, kept_file, key_of, read_arrays, write_arrays

ARRAYS: Arrays = {
    "features": np.arange(12, dtype=np.float32).reshape(2, 3, 2),
    "names": np.array(["a", "bcd"]),
    "none": np.empty((0, 4), dtype=np.int64),
    "one": np.array(7, dtype=np.uint8),
    "columns": np.arange(6).reshape(2, 3).T,  # not contiguous
}


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name]) for name in one
    )


def make() -> Arrays:
    return ARRAYS


def never() -> Arrays:
    pytest.fail("made again")


def test_what_was_made_is_read_the_next_time(tmp_path: Path) -> None:
    file = kept_file(tmp_path / "new", "k" * 64, ".features")
    assert file == tmp_path / "new" / ("k" * 32 + ".features")
    assert read_arrays(file, "key") is None
    assert kept_arrays(file, "key", make, otherwise="") is not None
    again = kept_arrays(file, "key", never, otherwise="")
    assert same(again, ARRAYS)
    again["features"][0] = 5  # one's own


def test_a_file_of_another_key_is_not_taken(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", "key", ARRAYS, otherwise="")
    assert read_arrays(tmp_path / "a", "other") is None


def test_the_same_arrays_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_arrays(tmp_path / name, "key", ARRAYS, otherwise="")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_damaged_file_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "a"
    write_arrays(file, "key", ARRAYS, otherwise="")
    whole = file.read_bytes()
    flipped = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (0, 9, 40, 4000, 4096, len(whole) - 1)]
    cut = [whole[:length] for length in (0, 5, 100, 4096, 4100, len(whole) - 1)]
    for damaged in [*flipped, *cut, whole + b"\0"]:
        caplog.clear()
        file.write_bytes(damaged)
        assert read_arrays(file, "key") is None
        assert same(kept_arrays(file, "key", make, otherwise=""), ARRAYS)
        assert "a is damaged; it is made again" in caplog.text and file.read_bytes() == whole


def test_of_two_that_ask_at_once_one_makes_it(tmp_path: Path) -> None:
    made, results = [], []

    def slowly() -> Arrays:
        made.append(threading.get_ident())
        asked.wait(timeout=60)
        return ARRAYS

    def ask() -> None:
        results.append(kept_arrays(tmp_path / "a", "key", slowly, otherwise=""))

    asked = threading.Event()
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    asked.set()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and all(same(result, ARRAYS) for result in results)


def test_what_cannot_be_written_is_made_once_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    made = []
    file = tmp_path / "file" / "a"
    assert kept_arrays(file, "key", lambda: made.append(1) or ARRAYS, otherwise="each run makes it") is ARRAYS  # type: ignore[func-returns-value]
    write_arrays(file, "key", ARRAYS, otherwise="each run makes it")
    assert len(made) == 1
    assert [f"{file}: cannot be written, each run makes it: " in record.getMessage() for record in caplog.records] == [
        True,
        True,
    ]


def test_a_full_disk_leaves_what_was_made_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    made = []
    result = kept_arrays(tmp_path / "a", "key", lambda: made.append(1) or dict(ARRAYS), otherwise="each run makes it")  # type: ignore[func-returns-value]
    assert same(result, ARRAYS) and len(made) == 1
    assert "No space left" in caplog.text and [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_key_is_of_everything_it_is_made_of() -> None:
    keys = {key_of(), key_of(1), key_of("1"), key_of(1, 2), key_of([1, 2]), key_of({"a": 1}, None)}
    assert len(keys) == 6 and all(len(key) == 64 for key in keys)


def test_an_error_in_making_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    def fails() -> Arrays:
        raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        kept_arrays(tmp_path / "a", "key", fails, otherwise="")
    assert kept.read_page(tmp_path / "a") is None


def test_a_user_whom_the_system_does_not_know_has_a_cache_in_the_temporary_folder(monkeypatch: Any) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert default_cache_dir() == Path(tempfile.gettempdir()) / f"reid-tuning-{os.getuid()}" / "pixels"
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_cache_dir() == Path("/home/ann/.cache/reid-tuning/pixels")
