"""Manifests as spreadsheets and other systems write them, and texts that look like numbers."""

import unicodedata
from pathlib import Path

import pytest

from data.sets.manifest import MANIFEST
from data.system.errors import UserError

PLAIN = "path,identity,camera,split\ndeep/a.jpg,7,1,train\ndeep/b.jpg,8,2,train\n"


def read(root: Path, content: str | bytes) -> list[tuple[str, int, int]]:
    """Path, identity and camera of the training images of a manifest with this content, and two images beside it."""
    (root / "deep").mkdir(parents=True, exist_ok=True)
    for name in ("a.jpg", "b.jpg", "ä.jpg"):
        (root / "deep" / name).touch()
    (root / "manifest.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    samples = MANIFEST.read_train(root)
    return [(Path(sample.path).name, sample.identity, sample.camera) for sample in samples]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("path,identity,camera,split", "Path, IDENTITY ,Camera,Split"),
        PLAIN.replace("train", "Train"),
        PLAIN.replace("/", "\\"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        "sep=,\r\n" + PLAIN,
        PLAIN + ",,,\n,,,\n",
        "\n" + PLAIN,
        PLAIN.replace(",", ";").replace("\n", ";\r\n"),
        PLAIN.replace(",", "\t").encode("utf-16"),
        PLAIN.encode("utf-8-sig"),
    ],
)
def test_a_manifest_from_windows_or_excel_says_the_same(tmp_path: Path, content: str | bytes) -> None:
    assert read(tmp_path, content) == [("a.jpg", 7, 1), ("b.jpg", 8, 2)]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_found_as_macos_writes_them_and_as_others_do(tmp_path: Path, forms: tuple[str, str]) -> None:
    of_file, of_row = (unicodedata.normalize(form, "été.jpg") for form in forms)
    (tmp_path / of_file).touch()
    assert (of_file, 9, 1) in read(tmp_path, PLAIN + f"{of_row},9,1,train\n")


def test_another_encoding_is_named_with_its_line_and_the_command_that_helps(tmp_path: Path) -> None:
    content = (PLAIN + "deep/ä.jpg,9,1,train\n").encode("cp1252")
    with pytest.raises(UserError, match=r"manifest\.csv:4: .*UTF-8.*iconv -f CP1252 -t UTF-8"):
        read(tmp_path, content)
    (tmp_path / "manifest.csv").unlink()
    assert len(read(tmp_path, content.decode("cp1252"))) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("file,id,cam,set\n", "column 'path' is missing; .* the header is file,id,cam,set"),
        ("path,identity,camera,split,Path\n", "column 'path' is there 2 times"),
        ("path,identity,camera,split\ndeep/a,b.jpg,7,1,train\n", r"manifest\.csv:2: 5 cells; .*quotation marks"),
        ("path,identity,camera,split\ndeep/a.jpg,7,1,Tests\n", r"manifest\.csv:2: split 'Tests' is none of"),
        ("path,identity,camera,split\n..\\..\\a.jpg,7,1,train\n", r"manifest\.csv:2: .*leads out of the data folder"),
        ("", "column 'path' is missing, the file is empty"),
    ],
)
def test_what_cannot_be_understood_is_one_line_with_the_cause(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        read(tmp_path / "set", content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "texts", [("007", "7"), ("7", "07", "007"), ("1", "01"), ("0", "00"), ("-1", "-01", "5"), ("0", "-0"), ("7", "7.0")]
)
@pytest.mark.parametrize("column", ["identity", "camera"])
def test_different_texts_are_different_whatever_numbers_they_are(tmp_path: Path, texts, column: str) -> None:
    rows = [
        f"{number}.jpg,{text},5,gallery" if column == "identity" else f"{number}.jpg,5,{text},gallery"
        for number, text in enumerate(texts)
    ]
    for number in range(len(texts)):
        (tmp_path / f"{number}.jpg").touch()
    read(tmp_path, PLAIN + "\n".join(rows) + "\n")
    listing = MANIFEST.list_split(tmp_path, "gallery")
    place = 1 if column == "identity" else 2
    assert len({sample[place] for sample in listing.samples}) == len(texts) - len(listing.junk)
    assert len(listing.junk) == (1 if column == "identity" and "-1" in texts else 0)


def test_zeros_before_numbers_that_stay_apart_do_not_matter(tmp_path: Path) -> None:
    content = PLAIN.replace(",7,", ",0007,").replace(",8,", ",0012,")
    assert read(tmp_path, content) == [("a.jpg", 7, 1), ("b.jpg", 12, 2)]
    assert MANIFEST.list_split(tmp_path, "train").identity_names[7] == "0007"
