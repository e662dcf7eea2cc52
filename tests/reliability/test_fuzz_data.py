"""Manifests, file names and image bytes: rubbish, nearly right ones, and right ones with bytes changed."""

import io
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data.pixels.cache import open_pixels
from data.pixels.decoding import load_image
from data.sets.readers import find_dataset, read_train
from data.sets.samples import Sample
from data.sets.splits import describe_split, split_identities
from tests.reliability.fuzzing import answer, fuzz

READING = {
    "column": "a column is missing",
    "is empty": "a cell is empty",
    "letters": "a cell too long",
    "control characters": "control characters",
    "is none of train": "split",
    "no such image": "no such image",
    "leads out": "leaves the data folder",
    "not readable": "no CSV",
    "no usable": "no usable images",
    "cannot spare": "too few identities",
    "two cameras": "a single camera",
}
IMAGES = {
    "pixels are more": "too many pixels",
    "none of JPEG": "no image",
    "truncated": "cut off",
    "DecompressionBomb": "too many pixels",
    "broken": "damaged",
    "MAX_TEXT": "too much text",
    "scans": "too many scans",
    "(": "a decoder's error",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data folder beside a private file, with an image, a folder, and links that stay and that leave."""
    root = tmp_path_factory.mktemp("fuzz") / "set"
    (root / "deep").mkdir(parents=True)
    (root.parent / "private.jpg").touch()
    for name in ("a.jpg", "b.jpg", "deep/c.jpg"):
        (root / name).touch()
    (root / "stays.jpg").symlink_to("deep/c.jpg")
    (root / "leaves.jpg").symlink_to("../private.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    return root


paths = st.one_of(
    st.sampled_from(["a.jpg", "b.jpg", "deep/c.jpg", "./a.jpg", "deep/../b.jpg", "stays.jpg"]),
    st.sampled_from(
        ["leaves.jpg", "loop.jpg", "../private.jpg", "/etc/passwd", "deep", "", ".", "a" * 5000, "a/" * 2100]
    ),
    st.text(max_size=20),
)
cells = st.one_of(
    st.integers(-2, 12).map(str), st.integers().map(str), st.text(max_size=12), st.sampled_from(["9" * 30, "-1", "٣"])
)
splits = st.sampled_from(["train", "train", "train", "query", "gallery", "test", ""])
rows = st.tuples(
    st.one_of(st.just("a.jpg"), st.just("b.jpg"), paths), st.one_of(st.integers(1, 14).map(str), cells), cells, splits
)


def as_csv(lines: list[tuple[str, ...]]) -> bytes:
    text = "\n".join(",".join(f'"{cell}"' if "," in cell else cell for cell in line) for line in lines)
    return ("path,identity,camera,split\n" + text + "\n").encode("utf-8", "surrogatepass")


healthy = [("a.jpg", str(identity), str(camera), "train") for identity in range(1, 13) for camera in (1, 2)]


@st.composite
def changed(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A file with bytes flipped, put in or taken out, or cut off."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 6))):
        if content:
            place = draw(st.integers(0, len(content) - 1))
            content[place] ^= 1 << draw(st.integers(0, 7))
    if draw(st.booleans()) and content:
        place = draw(st.integers(0, len(content) - 1))
        content[place : place + draw(st.integers(0, 6))] = draw(st.binary(max_size=8))
    return bytes(content[: draw(st.integers(0, len(content)))]) if draw(st.integers(0, 3)) == 0 else bytes(content)


manifests = st.one_of(
    st.lists(rows, max_size=8).map(as_csv),
    st.tuples(st.lists(rows, max_size=2), st.sampled_from([healthy])).map(lambda both: as_csv([*both[1], *both[0]])),
    changed([as_csv(healthy)]),
    st.binary(max_size=300),
    st.sampled_from(["utf-16", "utf-8-sig", "latin-1"]).map(lambda name: as_csv(healthy).decode().encode(name)),
)


@fuzz
@given(content=manifests)
def test_a_manifest_is_read_or_refused_by_name(content, folder):
    file = folder / "manifest.csv"
    file.write_bytes(content)
    samples = answer("manifests", lambda: read_train(folder), str(file), READING)
    if samples is not None:
        assert samples and all(Path(s.path).resolve().is_relative_to(folder) for s in samples)
        check_split(samples)


def check_split(samples: list[Sample]) -> None:
    """What was read can be split, or is refused for what it is."""
    data = answer("splits of what was read", lambda: split_identities(samples), None, READING)
    if data is not None:
        assert describe_split(data) and len(data.train) + len(data.query) + len(data.gallery) == len(samples)
        np.array([(s.identity, s.camera) for s in samples], dtype=np.int64)


digits = st.text("0123456789", max_size=22)
file_names = st.one_of(
    st.builds("{:04d}_c{}s1_{:06d}_00.jpg".format, st.integers(-1, 30), st.integers(1, 6), st.integers(0, 99)),
    st.builds("{:04d}_c{:03d}_{:08d}_0.jpg".format, st.integers(0, 30), st.integers(1, 20), st.integers(0, 99)),
    st.builds("{}_c{}s1_{}_00.jpg".format, digits, digits, digits),
    st.builds("{}_c{}_{}.jpg".format, digits, digits, digits),
    st.builds("0001_c1s1_1_1{}.jpg".format, st.text(max_size=20)),
    st.builds("0001_c001_{}.PNG".format, st.text(max_size=20)),
    st.text(max_size=40),
)
names = st.one_of(
    file_names.map(lambda name: name.encode("utf-8", "surrogatepass")), st.binary(min_size=1, max_size=40)
)
EXTRAS = ["nothing", "folder", "pipe", "link out", "link to nothing"]


@fuzz
@given(kind=st.sampled_from(["market1501", "veri"]), found=st.lists(names, max_size=40), extra=st.sampled_from(EXTRAS))
def test_file_names_are_understood_or_left_out(kind, found, extra, tmp_path_factory):
    root = tmp_path_factory.getbasetemp() / "names"
    shutil.rmtree(root, ignore_errors=True)
    place = root / {"market1501": "bounding_box_train", "veri": "image_train"}[kind]
    place.mkdir(parents=True)
    odd = place / {"market1501": "0007_c1s1_000001_00.jpg", "veri": "0007_c001_1.jpg"}[kind]
    match extra:
        case "folder":
            odd.mkdir()
        case "pipe":
            os.mkfifo(odd)
        case "link out":
            odd.symlink_to("/etc/hostname")
        case "link to nothing":
            odd.symlink_to("nothing.jpg")
    for name in found:
        try:
            (place / os.fsdecode(name)).touch()
        except (OSError, ValueError):
            continue  # no name that a file can have
    samples = answer("file names", lambda: read_train(root), str(place), READING)
    if samples is not None:
        assert all(int(Path(s.path).name.partition("_")[0]) == s.identity for s in samples)
        check_split(samples)


@fuzz
@given(
    data_dir=st.one_of(st.text(max_size=40), st.sampled_from(["~nobody/x", "a\0b", "x" * 5000, "/dev/null", "", "/"]))
)
def test_any_data_dir_is_found_or_refused_by_name(data_dir):
    answer(
        "data_dir",
        lambda: find_dataset(data_dir),
        "data_dir",
        {"no such folder": "no such folder", "no data set": "no data set"},
    )


# --- images ---


def encoded(format: str, **options: object) -> bytes:
    rng = np.random.default_rng(0)
    out = io.BytesIO()
    picture = Image.fromarray(rng.integers(0, 256, (24, 12, 3), dtype=np.uint8))
    mode = options.pop("mode", "RGB")
    picture.convert(str(mode)).save(out, format, **options)
    return out.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_size(width: int, height: int, body: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def with_size(original: bytes, place: int, code: str, width: int, height: int) -> bytes:
    return original[:place] + struct.pack(code, width, height) + original[place + struct.calcsize(code) :]


GIF, BMP = encoded("GIF"), encoded("BMP")
ORIGINALS = [
    encoded("JPEG"),
    encoded("JPEG", progressive=True),
    encoded("PNG"),
    encoded("PNG", mode="P"),
    encoded("PNG", mode="LA"),
    BMP,
    GIF,
    encoded("WEBP"),
    encoded("WEBP", lossless=True),
    encoded("TIFF"),
    encoded("TIFF", compression="tiff_lzw"),
    encoded("TIFF", compression="jpeg"),
    encoded("PPM"),
    encoded("GIF", save_all=True, append_images=[Image.new("RGB", (12, 24))] * 3),
]
sizes = st.one_of(st.integers(0, 70_000), st.sampled_from([2**31 - 1, 2**24, 16_384, 8_001]))
claims = st.one_of(
    st.builds(png_of_size, sizes, sizes),
    st.builds(lambda w, h: with_size(GIF, 6, "<HH", w & 0xFFFF, h & 0xFFFF), sizes, sizes),
    st.builds(lambda w, h: with_size(BMP, 18, "<ii", w & 0x7FFFFFFF, h & 0x7FFFFFFF), sizes, sizes),
)
OTHERS = [
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/tmp/pwned) (w) file\n",
    b"GIF89a" + b"\xff" * 30,
    b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    b"P6\n99999999999 99999999999\n255\n",
    b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 65535) + b"\1" * 400,
]


@pytest.mark.filterwarnings("ignore::Warning:PIL")
@fuzz
@given(content=st.one_of(changed(ORIGINALS), changed(ORIGINALS), claims, changed(OTHERS), st.binary(max_size=200)))
def test_image_bytes_are_decoded_or_refused_by_name(content, folder):
    file = folder / "picture.jpg"
    file.write_bytes(content)
    image = answer("image bytes", lambda: load_image(file), str(file), IMAGES)
    if image is not None:
        assert image.mode == "RGB" and image.width * image.height <= 64_000_000


@pytest.mark.filterwarnings("ignore::Warning:PIL")
@fuzz
@given(contents=st.lists(changed(ORIGINALS), min_size=1, max_size=3), limit=st.sampled_from([None, 1]))
def test_pixels_are_opened_or_refused_before_any_is_used(contents, limit, folder, tmp_path_factory):
    samples = []
    for number, content in enumerate(contents):
        (folder / f"p{number}.png").write_bytes(content)
        samples.append(Sample(str(folder / f"p{number}.png"), number, 1))
    cache = tmp_path_factory.getbasetemp() / "cache"
    pixels = answer(
        "sets of images",
        lambda: open_pixels(samples, height=4, width=4, cache_dir=cache, limit_bytes=limit, threads=1),
        str(folder),
        IMAGES,
    )
    if pixels is not None:
        assert pixels.read(range(len(samples))).shape == (len(samples), 4, 4, 3)
    shutil.rmtree(cache, ignore_errors=True)
