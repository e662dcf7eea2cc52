"""Image files that want to take all memory, all time, or to run something: refused with one line that names them."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from data.pixels import decoding as module
from data.pixels.cache import open_pixels
from data.pixels.decoding import UnreadableImage, load_image, problem_with
from data.sets.samples import Sample
from data.system.errors import UserError


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, body: bytes = b"", rows: bytes = b"\0") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def saved(format: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 32, 3), dtype=np.uint8)).save(out, format, **options)
    return out.getvalue()


def tiff_of_size(width: int, height: int) -> bytes:
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, height)]
    entries += [(279, 4, 2**32 - 1)]
    fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + fields + bytes(4)


def with_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    whole = saved("JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * scans + whole[-2:]


def with_scans_in_mpo(scans: int) -> bytes:
    """The same with another picture behind it, as cameras and telephones write a preview: Pillow calls it MPO."""
    out = io.BytesIO()
    picture = Image.new("RGB", (32, 48))
    picture.save(out, "MPO", save_all=True, append_images=[picture])
    begin = out.getvalue().index(b"MPF\0") - 4
    (length,) = struct.unpack(">H", out.getvalue()[begin + 2 : begin + 4])
    segment, jpeg = out.getvalue()[begin : begin + 2 + length], with_scans(scans)
    return jpeg[:2] + segment + jpeg[2:]


def gif_frame_beyond_its_screen() -> bytes:
    whole = bytearray(saved("GIF"))
    place = whole.index(b",\0\0\0\0") + 5
    whole[place : place + 4] = struct.pack("<HH", 65535, 65535)
    return bytes(whole)


BOMBS = {
    "png header": png(2**31 - 1, 2**31 - 1),
    "png of zeros": png(40_000, 40_000, rows=bytes(5001 * 400)),
    "png text": png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000)))),
    "png profile": png(8, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(80_000_000)))),
    "gif screen": b"GIF89a" + b"\xff\xff\xff\xff" + saved("GIF")[10:],
    "gif frame": gif_frame_beyond_its_screen(),
    "tiff header": tiff_of_size(2**31, 2**31),
    "bmp header": saved("BMP")[:18] + struct.pack("<ii", 2**30, 2**30) + saved("BMP")[26:],
    "ppm header": b"P6\n1000000 1000000\n255\n",
    "jpeg scans": with_scans(5_000),
    "mpo scans": with_scans_in_mpo(5_000),
}


@pytest.mark.parametrize("kind", [kind for kind in BOMBS if kind != "png profile"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_by_name_before_it_goes_off(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "picture.jpg"
    file.write_bytes(BOMBS[kind])
    with pytest.raises(UnreadableImage) as caught:
        load_image(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_bomb_beside_a_whole_picture_does_not_go_off(tmp_path: Path) -> None:
    """A colour profile that unpacks to 80 MB: Pillow stops at its limit, and the picture needs none."""
    (tmp_path / "p.png").write_bytes(BOMBS["png profile"])
    problem = problem_with(tmp_path / "p.png")
    assert problem is None or "\n" not in problem


@pytest.mark.parametrize("scans", [1, 50])
@pytest.mark.parametrize("made", [with_scans, with_scans_in_mpo])
def test_a_progressive_jpeg_is_taken(made: Callable[[int], bytes], scans: int, tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_bytes(made(scans))
    assert load_image(tmp_path / "p.jpg").size == (32, 48)


@pytest.mark.parametrize("format", module.FORMATS)
def test_each_format_is_known_by_its_bytes_and_not_by_its_name(format: str, tmp_path: Path) -> None:
    (tmp_path / "p.xyz").write_bytes(saved(format))
    assert load_image(tmp_path / "p.xyz").size == (32, 48)


def test_text_of_a_sound_picture_is_no_bomb(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 10_000, zip=True)
    (tmp_path / "p.png").write_bytes(saved("PNG", pnginfo=info))
    assert problem_with(tmp_path / "p.png") is None


def test_no_program_is_started_for_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to Ghostscript: not here."""
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    (tmp_path / "p.jpg").write_bytes(postscript)
    monkeypatch.setattr("subprocess.Popen", None)
    monkeypatch.setattr("subprocess.check_call", None)
    assert str(problem_with(tmp_path / "p.jpg")).startswith("none of JPEG, PNG")


@pytest.mark.parametrize("kind", ["pipe", "folder", "gone", "link to itself", "huge"])
@pytest.mark.parametrize("limit_bytes", [None, 1], ids=["cached", "over the limit"])
def test_what_is_no_image_file_is_refused_and_nothing_waits_for_it(
    kind: str, limit_bytes: int | None, tmp_path: Path
) -> None:
    odd = tmp_path / "0001_c1s1_000001_00.jpg"
    match kind:
        case "pipe":
            os.mkfifo(odd)
        case "folder":
            odd.mkdir()
        case "link to itself":
            odd.symlink_to(odd.name)
        case "huge":
            with odd.open("wb") as file:
                file.truncate(2**40)  # sparse: takes no room
    assert problem_with(odd)
    with pytest.raises(UserError, match=odd.name) as caught:
        open_pixels([Sample(str(odd), 1, 1)], height=4, width=4, cache_dir=tmp_path / "cache", limit_bytes=limit_bytes)
    assert "on_bad_image=skip" in str(caught.value) and "\n" not in str(caught.value)
