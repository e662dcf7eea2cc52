"""The pixel cache against plain Pillow, and under everything that can go wrong with files."""

import io
import logging
import multiprocessing
import os
import pickle
import stat
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import data.pixels.decoding
import data.pixels.digests
import data.pixels.pixel_file
import data.system.kept
from data.pixels.cache import Pixels, open_pixels, open_sizes
from data.pixels.decoding import decode, load_image
from data.pixels.digests import content_digests, default_cache_dir, fingerprint
from data.sets.samples import Sample
from data.system.errors import UserError

HEIGHT, WIDTH = 24, 16


def make_set(folder: Path, count: int = 6) -> list[Sample]:
    """`count` pictures of noise, each of another size, in a folder laid out like Market-1501."""
    train = folder / "bounding_box_train"
    train.mkdir(parents=True)
    rng = np.random.default_rng(0)
    samples = []
    for number in range(count):
        path = train / f"{number:04d}_c1s1_000001_00.{'png' if number % 2 else 'jpg'}"
        Image.fromarray(rng.integers(0, 256, (40 + number, 20, 3), dtype=np.uint8)).save(path)
        samples.append(Sample(str(path), number, 1))
    return samples


def plain(sample: Sample) -> np.ndarray:
    """What the cache must give, without any of it."""
    with Image.open(sample.path) as image:
        return np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))


def opened(samples: list[Sample], cache_dir: Path, **options: int) -> Pixels:
    return open_pixels(samples, height=HEIGHT, width=WIDTH, cache_dir=cache_dir, **options)


def all_of(pixels: Pixels) -> np.ndarray:
    return pixels.read(range(len(pixels)))


def pixel_file(cache_dir: Path) -> Path:
    (file,) = cache_dir.glob("*.pixels")
    return file


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    return make_set(tmp_path / "set")


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_reads_what_pillow_decodes(samples: list[Sample], cache_dir: Path) -> None:
    pixels = opened(samples, cache_dir)
    assert (len(pixels), pixels.height, pixels.width, pixels.decoded) == (6, HEIGHT, WIDTH, 6)
    assert np.array_equal(all_of(pixels), np.stack([plain(sample) for sample in samples]))


def test_reads_in_the_order_asked_for_by_index_path_or_array(samples: list[Sample], cache_dir: Path) -> None:
    pixels = opened(samples[::-1], cache_dir)
    expected = np.stack([plain(samples[::-1][index]) for index in (4, 0, 4)])
    assert np.array_equal(pixels.read([4, 0, 4]), expected)
    assert np.array_equal(pixels.read(np.array([4, 0, 4])), expected)
    assert np.array_equal(pixels.read([samples[::-1][index].path for index in (4, 0, 4)]), expected)
    assert pixels.index[samples[0].path] == 5
    assert pixels.read([]).shape == (0, HEIGHT, WIDTH, 3)
    with pytest.raises(IndexError):
        pixels.read([6])


def test_what_was_read_may_be_changed_without_changing_the_cache(samples: list[Sample], cache_dir: Path) -> None:
    pixels = opened(samples, cache_dir)
    pixels.read([0])[:] = 7
    assert np.array_equal(pixels.read([0])[0], plain(samples[0]))


def test_second_opening_reads_no_image(samples: list[Sample], cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(samples, cache_dir)
    monkeypatch.setattr(data.pixels.pixel_file, "decode", lambda *_: pytest.fail("decoded again"))
    for module in (data.system.kept, data.pixels.digests):
        monkeypatch.setattr(module, "file_digest", lambda *_, **__: pytest.fail("read again"))
    second = opened(samples, cache_dir)
    assert second.decoded == 0
    assert np.array_equal(all_of(second), all_of(first))


def test_copy_elsewhere_in_another_order_shares_the_file(tmp_path: Path, cache_dir: Path) -> None:
    one, other = make_set(tmp_path / "one"), make_set(tmp_path / "other")[::-1]
    first, second = opened(one, cache_dir), opened(other, cache_dir)
    assert (first.decoded, second.decoded) == (6, 0)
    assert np.array_equal(all_of(second), all_of(first)[::-1])


def test_changed_image_gets_another_file(samples: list[Sample], cache_dir: Path) -> None:
    opened(samples, cache_dir)
    Image.new("RGB", (20, 40), "red").save(samples[1].path)
    pixels = opened(samples, cache_dir)
    assert pixels.decoded == 6
    assert np.array_equal(pixels.read([1])[0], np.full((HEIGHT, WIDTH, 3), (255, 0, 0)))
    assert len(list(cache_dir.glob("*.pixels"))) == 2


def test_each_size_and_decoder_has_its_own_file(
    samples: list[Sample], cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(samples, cache_dir)
    transposed = open_pixels(samples, height=WIDTH, width=HEIGHT, cache_dir=cache_dir)
    assert transposed.read([0]).shape == (1, WIDTH, HEIGHT, 3)
    monkeypatch.setattr(data.pixels.decoding, "pillow_version", "another")
    assert (transposed.decoded, opened(samples, cache_dir).decoded) == (6, 6)
    assert len(list(cache_dir.glob("*.pixels"))) == 3


def _open_in_process(samples: list[Sample], cache_dir: Path, start: Any, results: Any) -> None:
    def slowly(*arguments: Any) -> np.ndarray:
        time.sleep(0.02)
        return decode(*arguments)

    data.pixels.pixel_file.decode = slowly  # type: ignore[assignment]
    start.wait(timeout=120)
    pixels = opened(samples, cache_dir)
    read = all_of(pixels)
    results.put((pixels.decoded, read))


def test_of_processes_that_ask_at_once_one_decodes(tmp_path: Path, cache_dir: Path) -> None:
    samples = make_set(tmp_path / "set", count=20)
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_open_in_process, args=(samples, cache_dir, start, results)) for _ in range(3)]
    for process in processes:
        process.start()
    answers = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(decoded for decoded, _ in answers) == [0, 0, 20]
    expected = np.stack([plain(sample) for sample in samples])
    assert all(np.array_equal(read, expected) for _, read in answers)


def _truncate(content: bytes) -> bytes:
    return content[:-1]


def _flip(place: int) -> object:
    def flip(content: bytes) -> bytes:
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

    return flip


@pytest.mark.parametrize(
    "damage",
    [_truncate, _flip(0), _flip(10), _flip(30), _flip(4000), _flip(5000), lambda _: b"", lambda c: c + b"\0"],
    ids=["cut", "magic", "checksum", "header", "padding", "pixel", "empty", "longer"],
)
def test_damaged_file_is_made_again(
    samples: list[Sample], cache_dir: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    opened(samples, cache_dir)
    file = pixel_file(cache_dir)
    whole = file.read_bytes()
    time.sleep(0.02)  # a file system's clock may tick every 10 ms
    file.write_bytes(damage(whole))  # type: ignore[operator]
    pixels = opened(samples, cache_dir)
    assert pixels.decoded == 6
    assert file.read_bytes() == whole
    assert "damaged" in caplog.text
    assert np.array_equal(all_of(pixels), np.stack([plain(sample) for sample in samples]))
    assert opened(samples, cache_dir).decoded == 0


def test_a_whole_file_of_other_images_under_this_name_is_made_again(
    samples: list[Sample], tmp_path: Path, cache_dir: Path
) -> None:
    opened(samples, cache_dir)
    opened(samples[::2] * 2, tmp_path / "other")
    pixel_file(tmp_path / "other").replace(pixel_file(cache_dir))
    assert opened(samples, cache_dir).decoded == 6


def test_whole_file_that_was_only_touched_is_kept(samples: list[Sample], cache_dir: Path) -> None:
    opened(samples, cache_dir)
    os.utime(pixel_file(cache_dir), (1, 1))
    assert opened(samples, cache_dir).decoded == 0


def test_leftovers_of_a_killed_process_do_no_harm(samples: list[Sample], cache_dir: Path) -> None:
    opened(samples, cache_dir)
    file = pixel_file(cache_dir)
    file.rename(unfinished := file.with_name(f".{file.name}.k1ll3d.tmp"))
    for memo in (cache_dir / "digests").iterdir():
        memo.write_text('{"torn": [')
    assert opened(samples, cache_dir).decoded == 6
    assert not unfinished.exists()


def test_over_the_limit_each_read_decodes_the_same_pixels(
    samples: list[Sample], cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needed = 4096 + 6 * HEIGHT * WIDTH * 3
    pixels = opened(samples, cache_dir, limit_bytes=needed - 1)
    assert pixels.decoded == 0
    assert np.array_equal(all_of(pixels), np.stack([plain(sample) for sample in samples]))
    assert pixels.decoded == 6
    assert pickle.loads(pickle.dumps(pixels)).read([samples[2].path]).shape == (1, HEIGHT, WIDTH, 3)
    assert len(caplog.records) == 1
    assert "limit" in caplog.text
    assert not list(cache_dir.glob("*.pixels"))
    assert opened(samples, cache_dir, limit_bytes=needed).decoded == 6


def test_full_disk_falls_back_to_decoding(
    samples: list[Sample], cache_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = data.pixels.pixel_file.shutil.disk_usage(samples[0].path)._replace(free=10_000)
    monkeypatch.setattr(data.pixels.pixel_file.shutil, "disk_usage", lambda _: usage)
    pixels = opened(samples, cache_dir)
    assert np.array_equal(all_of(pixels), np.stack([plain(sample) for sample in samples]))
    assert "limit" in caplog.text
    assert not list(cache_dir.glob("*.pixels"))


def test_cache_folder_that_cannot_be_made_falls_back_to_decoding(
    samples: list[Sample], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    pixels = opened(samples, tmp_path / "file" / "cache")
    assert np.array_equal(all_of(pixels), np.stack([plain(sample) for sample in samples]))
    assert "--cache-dir" in caplog.text and "--cache-limit" in caplog.text


def test_pixel_file_deleted_after_opening_falls_back_to_decoding(
    samples: list[Sample], cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pickled = pickle.dumps(opened(samples, cache_dir))
    pixel_file(cache_dir).unlink()
    pixels = pickle.loads(pickled)
    assert np.array_equal(all_of(pixels), np.stack([plain(sample) for sample in samples]))
    assert pixels.decoded == 6
    assert len(caplog.records) == 1


def _cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@cache
def _black(side: int) -> bytes:
    """A whole PNG of side x side black pixels."""
    Image.new("1", (side, side)).save(out := io.BytesIO(), "PNG", compress_level=1)
    return out.getvalue()


def _bomb(path: Path) -> None:
    path.write_bytes(_black(20_000))


def _larger_than_any_crop(path: Path) -> None:
    path.write_bytes(_black(9_000))  # Pillow would take it


@pytest.mark.parametrize("limit_bytes", [None, 1], ids=["cached", "over the limit"])
@pytest.mark.parametrize(
    "ruin",
    [
        _cut_in_half,
        _bomb,
        _larger_than_any_crop,
        lambda path: path.write_text("hello"),
        lambda path: path.write_bytes(b""),
    ],
    ids=["half", "bomb", "large", "text", "empty"],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_broken_image_is_one_clear_line(
    samples: list[Sample], cache_dir: Path, ruin: object, limit_bytes: int | None
) -> None:
    for index in (2, 3):
        ruin(Path(samples[index].path))  # type: ignore[operator]
    with pytest.raises(UserError) as caught:
        all_of(open_pixels(samples, height=8, width=8, cache_dir=cache_dir, limit_bytes=limit_bytes))
    message = str(caught.value)
    assert samples[2].path in message
    assert "\n" not in message
    if limit_bytes is None:
        assert "2 of 6" in message
        assert f"python -m data.doctor {Path(samples[0].path).parent.parent}" in message
    assert [path for path in cache_dir.glob("*") if path.suffix in (".pixels", ".tmp", ".checked")] == []


def test_missing_image_is_a_user_error(samples: list[Sample], cache_dir: Path) -> None:
    Path(samples[3].path).unlink()
    with pytest.raises(UserError, match="0003_c1s1"):
        opened(samples, cache_dir)


def test_pickles_without_the_pixels(samples: list[Sample], cache_dir: Path) -> None:
    pixels = open_pixels(samples, height=200, width=200, cache_dir=cache_dir)
    expected = all_of(pixels)
    pickled = pickle.dumps(pixels)
    again = pickle.loads(pickled)
    assert len(pickled) < 5_000
    assert (len(again), again.height, again.width, again.decoded) == (6, 200, 200, 0)
    assert np.array_equal(again.read([sample.path for sample in samples]), expected)
    assert again.decoded == 0


def test_no_images_are_no_file(cache_dir: Path) -> None:
    pixels = opened([], cache_dir)
    assert len(pixels) == 0
    assert pixels.read([]).shape == (0, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, cache_dir: Path, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((30, 20), 200 << 8, dtype=np.uint16))
    else:
        image = Image.new("L", (20, 30), 255 if mode == "1" else 200).convert(mode)
    path = tmp_path / f"picture.{'tif' if mode == 'CMYK' else 'png'}"
    image.save(path)
    read = opened([Sample(str(path), 1, 1)], cache_dir).read([0])
    assert np.abs(read.astype(int) - (255 if mode == "1" else 200)).max() <= 2


def test_photo_lying_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    left_white = np.zeros((30, 60, 3), dtype=np.uint8)
    left_white[:, :30] = 255
    Image.fromarray(left_white).save(path, exif=exif)
    image = np.asarray(load_image(path))
    assert image.shape == (60, 30, 3)
    assert image[:20].min() > 200 and image[40:].max() < 50  # left went up


def test_fingerprint_is_that_of_any_copy(tmp_path: Path, cache_dir: Path) -> None:
    one, other = make_set(tmp_path / "one"), make_set(tmp_path / "other")
    assert fingerprint(one, cache_dir=cache_dir) == fingerprint(other[::-1], cache_dir=cache_dir)
    assert len(fingerprint(one, cache_dir=cache_dir)) == 64


@pytest.mark.parametrize("field", ["path", "identity", "camera", "content", "one image less"])
def test_fingerprint_changes_with_everything_it_covers(samples: list[Sample], cache_dir: Path, field: str) -> None:
    before = fingerprint(samples, cache_dir=cache_dir)
    path = Path(samples[1].path)
    if field == "path":
        samples[1] = samples[1]._replace(path=str(path.rename(path.with_name("0009_c1s1_000001_00.png"))))
    elif field == "content":
        path.write_bytes(path.read_bytes() + b"\0")
    elif field == "one image less":
        samples.pop()
    else:
        assert field in ("identity", "camera")
        samples[1] = samples[1]._replace(**{field: 99})  # type: ignore[arg-type]
    assert fingerprint(samples, cache_dir=cache_dir) != before


def test_digests_read_only_what_changed(
    samples: list[Sample], cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [sample.path for sample in samples]
    before = content_digests(paths, cache_dir=cache_dir)
    read: list[str] = []
    real = data.pixels.digests.file_digest

    def noted(path: str) -> str:
        read.append(path)
        return real(path)

    monkeypatch.setattr(data.pixels.digests, "file_digest", noted)
    assert content_digests(paths, cache_dir=cache_dir) == before
    assert read == []
    Path(paths[2]).write_bytes(b"other")
    after = content_digests(paths, cache_dir=cache_dir)
    assert read == [paths[2]]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, True, False, True, True, True]


def test_cache_lies_where_the_environment_says_and_obeys_the_umask(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    before = os.umask(0o027)
    try:
        open_pixels(samples, height=8, width=8)
    finally:
        os.umask(before)
    assert default_cache_dir() == tmp_path / "xdg" / "reid-tuning" / "pixels"
    made = [default_cache_dir(), *default_cache_dir().rglob("*")]
    for path in made:
        expected = 0o750 if path.is_dir() else 0o640
        assert stat.S_IMODE(path.stat().st_mode) & ~0o100 == expected & ~0o100, path
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == Path.home() / ".cache" / "reid-tuning" / "pixels"


def test_says_what_it_does(samples: list[Sample], cache_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        opened(samples, cache_dir)
    assert f"decoding 6 images once, to {HEIGHT} x {WIDTH} pixels" in caplog.text


def test_images_opened_at_several_sizes_are_read_at_each_and_at_no_other(samples, cache_dir):
    pixels = open_sizes(samples, [(8, 8), (12, 6)], cache_dir=cache_dir)
    assert (pixels.height, pixels.width) == (8, 8) and pixels.at(8, 8) is pixels
    other = pickle.loads(pickle.dumps(pixels)).at(12, 6)
    assert np.array_equal(
        other.read([0, 1]), open_pixels(samples, height=12, width=6, cache_dir=cache_dir).read([0, 1])
    )
    with pytest.raises(ValueError, match="opened at 8 x 8, not at 6 x 12"):
        pixels.at(6, 12)
