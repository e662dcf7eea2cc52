"""Trials' states in a storage: a folder, and a file system that fsspec knows."""

import pytest

from data.system.errors import UserError
from tuning.record.storage import COMPLETE, Storage, trial_workspace


@pytest.mark.parametrize("kept", ["{shared}", "memory://nowhere"])
def test_states_are_copied_whole_or_not_at_all(kept, tmp_path):
    storage, folder = Storage(kept.format(shared=tmp_path / "shared"), "study-1"), tmp_path / "trial"
    (folder / "2-epochs").mkdir(parents=True)
    assert not storage.load("trials/7", tmp_path / "back")
    for text in ("first", "second"):
        (folder / "2-epochs" / "state.pt").write_text(text)
        storage.save(folder, "trials/7")
    assert storage.load("trials/7", tmp_path / "back")
    assert (tmp_path / "back/2-epochs/state.pt").read_text() == "second"
    # A copy that a killed process left without its last file does not count.
    torn = storage.path("trials/7/000009-cut/2-epochs")
    storage.filesystem.create_dir(torn, recursive=True)
    with storage.filesystem.open_output_stream(f"{torn}/state.pt") as file:
        file.write(b"torn")
    assert storage.load("trials/7", tmp_path / "back")
    assert (tmp_path / "back/2-epochs/state.pt").read_text() == "second"
    assert not (tmp_path / "back" / COMPLETE).exists()
    storage.keep_only("trials", {7})
    assert storage.load("trials/7", tmp_path / "back")
    storage.keep_only("trials", {6})
    assert not storage.load("trials/7", tmp_path / "back")


def test_a_trial_works_on_its_own_machine_and_keeps_what_has_changed(tmp_path):
    storage = Storage(str(tmp_path / "shared"), "study-1")
    with trial_workspace(storage, "trials/3") as (folder, keep):
        keep()
        assert storage.filesystem.get_file_info(storage.path("trials/3")).type.name == "NotFound", "nothing to keep"
        (folder / "state.pt").write_text("after 4 epochs")
        keep()
    assert not folder.exists()
    with trial_workspace(storage, "trials/3") as (folder, keep):
        assert (folder / "state.pt").read_text() == "after 4 epochs"
        copies = sorted(path.name for path in (tmp_path / "shared/study-1/trials/3").iterdir())
        keep()
        assert copies == sorted(path.name for path in (tmp_path / "shared/study-1/trials/3").iterdir()), "unchanged"


def test_without_a_storage_a_trial_works_in_its_own_folder(tmp_path):
    with trial_workspace(None, str(tmp_path / "trials/3")) as (folder, keep):
        keep()
    assert folder == tmp_path / "trials/3"


def test_a_storage_that_nothing_knows_is_one_line_without_its_secret(tmp_path):
    with pytest.raises(UserError, match=r"--storage nosuch://ann@host/x: ") as refused:
        Storage("nosuch://ann:geheim@host/x").path()
    assert "geheim" not in str(refused.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Storage(str(tmp_path / "file" / "below")).write("marker", "x")


def test_a_copy_that_did_not_arrive_is_tried_again_and_the_last_one_stays(tmp_path, monkeypatch):
    from pyarrow import fs

    storage, folder = Storage(str(tmp_path / "shared"), "study-1"), tmp_path / "trial"
    folder.mkdir()
    (folder / "state.pt").write_text("first")
    storage.save(folder, "trials/7")
    (folder / "state.pt").write_text("second")
    copy_files, lost = fs.copy_files, [True, True]
    monkeypatch.setattr("tuning.record.storage.WAITS_S", (0, 0))
    monkeypatch.setattr(fs, "copy_files", lambda *args, **named: lost.pop() if lost else copy_files(*args, **named))
    storage.save(folder, "trials/7")
    assert storage.load("trials/7", tmp_path / "back") and (tmp_path / "back/state.pt").read_text() == "second"
    lost += [True] * 3
    (folder / "state.pt").write_text("third")
    with pytest.raises(OSError, match="did not arrive whole"):
        storage.save(folder, "trials/7")
    assert storage.load("trials/7", tmp_path / "back") and (tmp_path / "back/state.pt").read_text() == "second"


@pytest.mark.parametrize("url", ["s3:", "s3:/bucket/reid", "gs:bucket", "s3://"])
def test_half_a_url_makes_no_folder_of_that_name(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"^--storage {url}: a URL is written {url[:2]}://PLACE/FOLDER; .* \./{url}$"):
        Storage(url).check()
    assert list(tmp_path.iterdir()) == []
    Storage("./s3:").check()
    assert [path.name for path in tmp_path.iterdir()] == ["s3:"]
