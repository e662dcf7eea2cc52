"""on_bad_image: what is left out, what is refused, and what is remembered."""

import logging
from pathlib import Path

import pytest
from PIL import Image

import data.pixels.bad_images
from data.checks.report import examine
from data.pixels.bad_images import bad_images, describe_left_out, usable_test_sets, usable_train
from data.pixels.cache import open_pixels
from data.pixels.digests import fingerprint
from data.pixels.memos import remembered
from data.sets.readers import read_train
from data.system.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Market-1501's layout; one image of each folder is no picture."""
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for identity in range(1, 13):
            for camera in (1, 2):
                file = tmp_path / "set" / folder / f"{identity:04d}_c{camera}s1_000001_00.png"
                Image.new("RGB", (8, 16), (identity * 9, camera * 40, 0)).save(file)
        file.write_bytes(file.read_bytes()[:45])
    return tmp_path / "set"


def test_skip_leaves_out_and_names_what_cannot_be_decoded(root: Path, tmp_path: Path) -> None:
    samples, left_out = usable_train(root, on_bad_image="skip", cache_dir=tmp_path / "cache")
    assert (len(samples), [Path(path).name for path in left_out]) == (23, ["0012_c2s1_000001_00.png"])
    assert open_pixels(samples, height=4, width=4, cache_dir=tmp_path / "cache").read([22]).shape == (1, 4, 4, 3)
    (test,), left_out = usable_test_sets(root, on_bad_image="skip", cache_dir=tmp_path / "cache")
    assert (len(test.query), len(test.gallery), len(left_out)) == (23, 23, 2)
    told = describe_left_out(left_out, "test")
    assert told == "2 test images left out, as they cannot be decoded: " + ", ".join(["0012_c2s1_000001_00.png"] * 2)


@pytest.mark.parametrize("limit_bytes", [None, 1], ids=["cached", "over the limit"])
def test_stop_refuses_before_a_pixel_is_used_and_tells_the_ways_out(
    root: Path, tmp_path: Path, limit_bytes: int | None
) -> None:
    samples, left_out = usable_train(root)
    assert (len(samples), left_out) == (24, [])
    with pytest.raises(UserError, match=r"0012_c2s1_000001_00\.png: .*data\.doctor .*set; .*on_bad_image=skip"):
        open_pixels(samples, height=4, width=4, cache_dir=tmp_path / "cache", limit_bytes=limit_bytes)


def test_whole_images_are_decoded_once_and_a_mended_one_comes_back(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    original = data.pixels.bad_images.problem_with
    monkeypatch.setattr(data.pixels.bad_images, "problem_with", lambda path: tried.append(path) or original(path))
    paths = [sample.path for sample in read_train(root)]
    first = bad_images(paths, cache_dir=tmp_path / "cache")
    assert list(first) == [paths[-1]] and sorted(tried) == sorted(paths)
    tried.clear()
    assert bad_images(paths, cache_dir=tmp_path / "cache") == first and tried == [paths[-1]]
    Image.new("RGB", (8, 16)).save(paths[-1])
    assert bad_images(paths, cache_dir=tmp_path / "cache") == {}
    tried.clear()
    assert bad_images(paths, cache_dir=tmp_path / "cache") == {} and tried == []
    Path(paths[3]).write_text("broken again")
    assert list(bad_images(paths, cache_dir=tmp_path / "cache")) == [paths[3]]


def test_nothing_left_is_an_error(root: Path, tmp_path: Path) -> None:
    for file in (root / "query").iterdir():
        file.write_text("no picture")
    with pytest.raises(UserError, match=r"none of the 24 query images can be decoded, the first is .*/0001_c1s1"):
        usable_test_sets(root, on_bad_image="skip", cache_dir=tmp_path / "cache")


def test_the_fingerprint_is_that_of_the_images_that_are_left(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    left = usable_train(root, on_bad_image="skip", cache_dir=cache)[0]
    before = fingerprint(left, cache_dir=cache)
    Path(left[0].path).write_text("broken later")
    assert fingerprint(usable_train(root, on_bad_image="skip", cache_dir=cache)[0], cache_dir=cache) != before


def test_the_doctor_reports_on_what_would_be_left(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    stopped, skipped = examine(root), examine(root, on_bad_image="skip")
    assert stopped.breaks_training and not skipped.breaks_training
    assert [split.images for split in stopped.splits] == [24, 24, 24]
    assert [split.images for split in skipped.splits] == [23, 23, 23]
    texts = [finding.text for finding in skipped.findings if "unreadable" in finding.text]
    assert len(texts) == 3 and all("1 image unreadable, left out" in text for text in texts)
    assert "unless on_bad_image=skip leaves them out" in stopped.findings[0].text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_doctor_refuses_images_outside_unless_told(root: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 16)).save(tmp_path / "private.png")
    (root / "bounding_box_train" / "0001_c3s1_000001_00.png").symlink_to(tmp_path / "private.png")
    (finding,) = [finding for finding in examine(root).findings if "leads out" in finding.text]
    assert finding.severity == "error" and "outside_images=true" in finding.text
    assert not [finding for finding in examine(root, outside_images=True).findings if "leads out" in finding.text]


def test_what_was_read_before_ctrl_c_is_not_read_again(tmp_path: Path) -> None:
    paths = [str(tmp_path / str(number % 3) / f"{number}.jpg") for number in range(40)]
    for path in paths:
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).touch()
    asked, most = list[str](), 30

    def digest(path: str) -> str:
        if len(asked) == most:
            raise KeyboardInterrupt
        asked.append(path)
        return path

    with pytest.raises(KeyboardInterrupt):
        remembered(digest, paths, tmp_path / "memos", threads=1)
    first, asked, most = asked, [], len(paths)
    assert remembered(digest, paths, tmp_path / "memos", threads=1) == dict(zip(paths, paths, strict=True))
    assert len(first) == 30 and sorted(first + asked) == sorted(paths)
