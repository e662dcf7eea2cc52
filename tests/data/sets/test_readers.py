"""The readers against the official protocols, on folders of empty files: reading looks at names alone."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import pytest

from data.sets.layouts import FolderReader
from data.sets.listing import GALLERY, QUERY, TRAIN
from data.sets.manifest import MANIFEST, find_manifest
from data.sets.market1501 import MARKET1501
from data.sets.readers import READERS, DatasetName, find_dataset, read_test, read_train
from data.sets.samples import Sample
from data.sets.veri import VERI
from data.system.errors import UserError
from tests.data.sets.on_disk import lay_out

MARKET_TRAIN = ["0002_c1s1_000451_03.jpg", "0002_c2s3_000801_01.jpg", "1499_c6s4_002202_01.jpg"]
MARKET_QUERY = ["0001_c1s1_001051_00.jpg"]
MARKET_GALLERY = ["-1_c3s1_000401_03.jpg", "0000_c4s2_000151_01.jpg", "0001_c5s1_001051_02.jpg"]
VERI_TRAIN = ["0001_c001_00016450_0.jpg", "0776_c020_00084235_1.jpg"]
VERI_QUERY = ["0002_c002_00030600_0.jpg"]
VERI_GALLERY = ["0002_c003_00030605_0.jpg", "0005_c011_00084250_0.jpg"]


def touch(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def make_market(root: Path) -> Path:
    for split, names in ((TRAIN, MARKET_TRAIN), (QUERY, MARKET_QUERY), (GALLERY, MARKET_GALLERY)):
        touch(root / MARKET1501.folders[split], names)
    return root


def make_veri(root: Path) -> Path:
    for split, names in ((TRAIN, VERI_TRAIN), (QUERY, VERI_QUERY), (GALLERY, VERI_GALLERY)):
        touch(root / VERI.folders[split], names)
    return root


def make_folders(root: Path) -> Path:
    touch(root / "train" / "tom", ["1.jpg", "2.jpg"])
    touch(root / "test" / "kitty", ["7.jpg", "8.jpg"])
    return root


def make_manifest(root: Path, rows: str, name: str = "manifest.csv", encoding: str = "utf-8") -> Path:
    """A CSV with these rows, and an empty file for every path in it that does not begin with 'gone'."""
    root.mkdir(parents=True, exist_ok=True)
    text = "path,identity,camera,split\n" + rows
    (root / name).write_text(text, encoding=encoding)
    for row in rows.splitlines():
        path = row.split(",")[0].strip()
        if path and not path.startswith("gone"):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
    return root


def described(samples: list[Sample]) -> list[tuple[str, int, int]]:
    return [(Path(sample.path).name, sample.identity, sample.camera) for sample in samples]


# --- Market-1501 and VeRi-776 ---


def test_market_training_images(tmp_path: Path) -> None:
    expected = [(MARKET_TRAIN[0], 2, 1), (MARKET_TRAIN[1], 2, 2), (MARKET_TRAIN[2], 1499, 6)]
    assert described(MARKET1501.read_train(make_market(tmp_path))) == expected


def test_market_gallery_keeps_distractors_and_drops_junk(tmp_path: Path) -> None:
    query, gallery = MARKET1501.read_test(make_market(tmp_path))
    assert described(query) == [(MARKET_QUERY[0], 1, 1)]
    assert described(gallery) == [(MARKET_GALLERY[1], 0, 4), (MARKET_GALLERY[2], 1, 5)]
    junk = MARKET1501.list_split(tmp_path, GALLERY).junk
    assert [Path(path).name for path in junk] == [MARKET_GALLERY[0]]


def test_veri_images(tmp_path: Path) -> None:
    make_veri(tmp_path)
    query, gallery = VERI.read_test(tmp_path)
    assert described(VERI.read_train(tmp_path)) == [(VERI_TRAIN[0], 1, 1), (VERI_TRAIN[1], 776, 20)]
    assert described(query) == [(VERI_QUERY[0], 2, 2)]
    assert described(gallery) == [(VERI_GALLERY[0], 2, 3), (VERI_GALLERY[1], 5, 11)]


def test_veri_name_list_says_which_images_count(tmp_path: Path) -> None:
    make_veri(tmp_path)
    (tmp_path / "name_train.txt").write_text(f"{VERI_TRAIN[1]}\r\n\r\n{VERI_TRAIN[1]}\r\n")
    assert described(VERI.read_train(tmp_path)) == [(VERI_TRAIN[1], 776, 20)]
    assert len(VERI.read_test(tmp_path)[1]) == 2


def test_veri_name_list_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    make_veri(tmp_path)
    (tmp_path / "name_train.txt").write_text(VERI_TRAIN[0], encoding="utf-8-sig")
    assert described(VERI.read_train(tmp_path)) == [(VERI_TRAIN[0], 1, 1)]


def test_veri_name_list_with_missing_images_is_an_error_that_names_one(tmp_path: Path) -> None:
    make_veri(tmp_path)
    (tmp_path / "name_query.txt").write_text("0009_c001_00000001_0.jpg\n0008_c001_00000001_0.jpg\n")
    with pytest.raises(UserError, match=r"2 listed images .* 0008_c001_00000001_0\.jpg"):
        VERI.read_test(tmp_path)


@pytest.mark.parametrize(("reader", "make"), [(MARKET1501, make_market), (VERI, make_veri)])
def test_samples_are_sorted_absolute_and_exist(
    reader: FolderReader, make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    samples = reader.read_train(Path("set"))
    assert samples == sorted(samples)
    assert all(Path(sample.path).is_absolute() and Path(sample.path).is_file() for sample in samples)


@pytest.mark.parametrize("reader", [MARKET1501, VERI])
def test_name_and_not_the_folder_is_matched(reader: FolderReader, tmp_path: Path) -> None:
    # A folder whose own name looks like an image's must not lend its identity.
    root = tmp_path / "0009_c9s9_000009_09" / "0008_c008_"
    (make_market if reader is MARKET1501 else make_veri)(root)
    assert {sample.identity for sample in reader.read_train(root)} <= {1, 2, 776, 1499}


@pytest.mark.parametrize("name", ["a.jpg", "0002_c1.jpg", "2_c1_000451_03.jpg", "x0002_c1s1_000451_03.jpg", "-1_x.jpg"])
def test_names_that_do_not_match_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    make_market(tmp_path)
    touch(tmp_path / "bounding_box_train", [name])
    assert len(MARKET1501.read_train(tmp_path)) == len(MARKET_TRAIN)
    assert name in caplog.text and "1 images left out" in caplog.text
    (unmatched,) = MARKET1501.list_split(tmp_path, TRAIN).left_out.values()
    assert [Path(path).name for path in unmatched] == [name]


def test_files_that_are_no_images_are_passed_over_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_market(tmp_path)
    touch(tmp_path / "bounding_box_train", ["Thumbs.db", ".DS_Store", "0002_c1s1_000451_03.txt"])
    assert len(MARKET1501.read_train(tmp_path)) == len(MARKET_TRAIN)
    assert caplog.text == ""


def test_every_usual_image_ending_counts(tmp_path: Path) -> None:
    names = [f"0002_c1s1_{n:06d}_03.{e}" for n, e in enumerate(["jpg", "JPG", "jpeg", "png", "PNG", "bmp", "webp"])]
    touch(tmp_path / "bounding_box_train", names)
    assert len(MARKET1501.read_train(tmp_path)) == len(names)


@pytest.mark.parametrize(("reader", "make"), [(MARKET1501, make_market), (VERI, make_veri)])
@pytest.mark.parametrize("split", [TRAIN, QUERY, GALLERY])
@pytest.mark.parametrize("missing", ["folder", "images", "matching names"])
def test_split_without_images_is_an_error_that_names_the_folder(
    reader: FolderReader, make: Callable[[Path], Path], split: str, missing: str, tmp_path: Path
) -> None:
    folder = make(tmp_path) / reader.folders[split]
    shutil.rmtree(folder)
    if missing != "folder":
        touch(folder, ["holiday.jpg"] if missing == "matching names" else [])
    with pytest.raises(UserError) as caught:
        (reader.read_train if split == TRAIN else reader.read_test)(tmp_path)
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message
    assert ("holiday.jpg" in message) == (missing == "matching names")


@pytest.mark.parametrize(("reader", "make"), [(MARKET1501, make_market), (VERI, make_veri)])
def test_training_images_are_read_without_the_test_folders(
    reader: FolderReader, make: Callable[[Path], Path], tmp_path: Path
) -> None:
    make(tmp_path)
    for split in (QUERY, GALLERY):
        shutil.rmtree(tmp_path / reader.folders[split])
    assert reader.read_train(tmp_path)


# --- manifest ---


def test_manifest_of_whole_numbers_keeps_them(tmp_path: Path) -> None:
    rows = "a/1.jpg,17,3,train\nb.jpg,17,4,query\nc.jpg,0,5,gallery\nd.jpg,-1,5,gallery\ne.jpg,18,5,gallery\n"
    make_manifest(tmp_path, rows)
    query, gallery = MANIFEST.read_test(tmp_path)
    assert described(MANIFEST.read_train(tmp_path)) == [("1.jpg", 17, 3)]
    assert described(query) == [("b.jpg", 17, 4)]
    assert described(gallery) == [("c.jpg", 0, 5), ("e.jpg", 18, 5)]
    junk = MANIFEST.list_split(tmp_path, GALLERY).junk
    assert [Path(path).name for path in junk] == ["d.jpg"]


def test_manifest_of_text_numbers_it_in_sorted_order_over_all_splits(tmp_path: Path) -> None:
    make_manifest(tmp_path, "1.jpg,zoe,gate,train\n2.jpg,anna,yard,query\n3.jpg,anna,gate,gallery\n")
    query, gallery = MANIFEST.read_test(tmp_path)
    assert described(MANIFEST.read_train(tmp_path)) == [("1.jpg", 2, 1)]
    assert described(query) == [("2.jpg", 1, 2)]
    assert described(gallery) == [("3.jpg", 1, 1)]


@pytest.mark.parametrize(("one", "other"), [("1_2", "12"), ("1_000", "1000"), ("x1", "x01")])
def test_manifest_keeps_different_texts_apart(tmp_path: Path, one: str, other: str) -> None:
    make_manifest(tmp_path, f"1.jpg,{one},1,train\n2.jpg,{other},1,train\n")
    assert len({sample.identity for sample in MANIFEST.read_train(tmp_path)}) == 2


def test_manifest_paths_are_relative_to_it_or_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near = tmp_path / "set" / "deep" / "near.jpg"
    make_manifest(tmp_path / "set", f"deep/near.jpg,1,1,train\n{near.with_name('far.jpg')},2,1,train\n")
    monkeypatch.chdir(tmp_path)
    paths = [Path(sample.path) for sample in MANIFEST.read_train(Path("set"))]
    assert paths == [near.with_name("far.jpg"), near]


# --- what leads out of the data folder ---


def outside(root: Path) -> Path:
    """An image beside the data folder, of which it is none."""
    touch(root.parent, ["0009_c001_private.jpg"])
    return root.parent / "0009_c001_private.jpg"


@pytest.mark.parametrize("way", ["..", "absolute", "link", "linked folder", "..in the middle"])
def test_manifest_that_leaves_its_folder_is_refused_unless_that_is_allowed(tmp_path: Path, way: str) -> None:
    root = make_manifest(tmp_path / "set", "a.jpg,1,1,train\n")
    private = outside(root)
    (root / "link.jpg").symlink_to(private)
    (root / "folder").symlink_to(tmp_path)
    path = {
        "..": f"../{private.name}",
        "absolute": str(private),
        "link": "link.jpg",
        "linked folder": f"folder/{private.name}",
        "..in the middle": f"./../set/../{private.name}",
    }[way]
    (root / "manifest.csv").write_text(f"path,identity,camera,split\na.jpg,1,1,train\n{path},2,1,train\n")
    with pytest.raises(UserError, match=r"manifest\.csv:3: .*leads out of the data folder, .*outside_images=true"):
        read_train(root)
    assert len(read_train(root, outside_images=True)) == 2
    with pytest.raises(UserError, match="no usable images"):
        read_test(root, outside_images=True)  # nothing of the training rows is told there


def test_links_and_dots_that_stay_in_the_folder_are_taken(tmp_path: Path) -> None:
    root = make_manifest(tmp_path / "set", "deep/a.jpg,1,1,train\n")
    (root / "link.jpg").symlink_to("deep/a.jpg")
    rows = "deep/../deep/a.jpg,1,1,train\nlink.jpg,1,2,train\n"
    (root / "manifest.csv").write_text(f"path,identity,camera,split\n{rows}")
    assert len(MANIFEST.read_train(root)) == 2


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("named", [False, True], ids=["itself", "parent"])
def test_a_data_folder_that_is_a_link_is_taken(tmp_path: Path, kind: str, named: bool) -> None:
    MAKERS[kind](tmp_path / "disk" / "set")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "set").symlink_to(tmp_path / "disk" / "set")
    where = tmp_path / "data" / ("" if named else "set")
    assert read_train(where, kind) and all(read_test(where, kind))


def test_official_layout_may_link_its_folders_but_no_file_leads_out(tmp_path: Path) -> None:
    root = make_veri(tmp_path / "set")
    folder = root / VERI.folders[TRAIN]
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    (folder / "0003_c001_within.jpg").symlink_to(tmp_path / "elsewhere" / VERI_TRAIN[0])
    (folder / "0004_c001_set.jpg").symlink_to(root / VERI.folders[QUERY] / VERI_QUERY[0])
    assert len(read_train(root)) == 4
    (folder / "0009_c001_link.jpg").symlink_to(outside(root))
    with pytest.raises(UserError, match=r"elsewhere/0009_c001_link\.jpg: leads out .*outside_images=true"):
        read_train(root)
    assert len(read_train(root, outside_images=True)) == 5 and all(read_test(root))


@pytest.mark.parametrize("name", ["0001_c001_\n1.jpg", "0001_c001_\x1b[31m.jpg", os.fsdecode(b"0001_c001_\xff.jpg")])
def test_names_that_no_terminal_shows_are_left_out(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    root = make_veri(tmp_path)
    (root / VERI.folders[TRAIN] / name).touch()
    assert len(read_train(root)) == 2
    assert "1 images left out" in caplog.text and name not in caplog.text
    caplog.text.encode()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a\x00.jpg,1,1,train", "path 'a\\\\x00.jpg' holds control characters"),
        ("a.jpg,1\x1b[2J,1,train", "identity .* holds control characters"),
        ("a.jpg," + "7" * 5000 + ",1,train", "identity has 5,000 letters"),
        ("x" * 1_000_000 + ",1,1,train", r"field larger than field limit .*quotation mark"),
        ("n" * 300 + ".jpg,1,1,train", "no such image"),
    ],
    ids=["zero", "escape", "long", "longer", "no such name"],
)
def test_absurd_cells_are_one_line_with_file_and_line(tmp_path: Path, row: str, words: str) -> None:
    root = make_manifest(tmp_path, "a.jpg,1,1,train\n")
    (root / "manifest.csv").write_text(f"path,identity,camera,split\na.jpg,1,1,train\n{row}\n")
    with pytest.raises(UserError, match=rf"manifest\.csv:3: .*{words}") as caught:
        MANIFEST.read_train(root)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def test_numbers_that_no_tensor_holds_are_names(tmp_path: Path) -> None:
    make_manifest(tmp_path, "1.jpg,99999999999999999999,1,train\n2.jpg,5,1,train\n")
    assert described(MANIFEST.read_train(tmp_path)) == [("1.jpg", 2, 1), ("2.jpg", 1, 1)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_manifest_forgives_spaces_blank_lines_other_columns_and_a_mark(tmp_path: Path, encoding: str) -> None:
    touch(tmp_path, ["a.jpg", "ä.jpg"])
    text = "path, identity,camera,note,split\r\na.jpg, 7 ,2,x, train\r\n\r\nä.jpg,8,2,,train\r\n"
    (tmp_path / "manifest.csv").write_bytes(text.encode(encoding))
    assert described(MANIFEST.read_train(tmp_path)) == [("a.jpg", 7, 2), ("ä.jpg", 8, 2)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a.jpg,1,1,train\ngone.jpg,1,1,train\n", ["manifest.csv:3", "gone.jpg"]),
        ("a.jpg,1,1,tests\n", ["manifest.csv:2", "'tests'", "train, query, gallery"]),
        ("a.jpg,1,1,train\na.jpg,1,1,query\n./a.jpg,1,1,train\n", ["manifest.csv:4", "train in line 2 already"]),
        ("a.jpg,,1,train\n", ["manifest.csv:2", "identity is empty"]),
        ("a.jpg,1,1, \n", ["manifest.csv:2", "split is empty"]),
        ("a.jpg,1,1,train\n\na.jpg,1\n", ["manifest.csv:4", "split is empty"]),
        ("", ["manifest.csv", "no usable images"]),
        ("a.jpg,1,1,query\n", ["manifest.csv", "train", "no usable images"]),
    ],
)
def test_manifest_error_names_file_and_line(tmp_path: Path, rows: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        MANIFEST.read_train(make_manifest(tmp_path, rows))
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_manifest_without_a_column_or_in_another_encoding_is_a_user_error(tmp_path: Path) -> None:
    file = tmp_path / "manifest.csv"
    file.write_text("path,camera,split\na.jpg,1,train\n")
    with pytest.raises(UserError, match="'identity' is missing"):
        MANIFEST.read_train(tmp_path)
    file.write_bytes("path,identity,camera,split\nä.jpg,1,1,train\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        MANIFEST.read_train(tmp_path)


def test_find_manifest_takes_the_file_its_usual_name_or_the_only_csv(tmp_path: Path) -> None:
    root = make_manifest(tmp_path / "set", "a.jpg,1,1,train\n", name="cars.csv")
    assert find_manifest(root) == root / "cars.csv"
    assert find_manifest(root / "cars.csv") == root / "cars.csv"
    (root / "more.csv").touch()
    with pytest.raises(UserError, match="found 2 CSV files"):
        find_manifest(root)
    (root / "manifest.csv").touch()
    assert find_manifest(root) == root / "manifest.csv"


# --- which data set a path means ---

MAKERS: dict[str, Callable[[Path], Path]] = {
    "market1501": make_market,
    "veri": make_veri,
    **{kind: partial(lay_out, kind) for kind in ("dukemtmc", "cuhk03_np", "msmt17", "msmt17_train")},
    **{kind: partial(lay_out, kind) for kind in ("vehicleid", "veri_wild")},
    "manifest": lambda root: make_manifest(root, "a.jpg,1,1,train\nb.jpg,1,1,query\nc.jpg,1,2,gallery\n"),
    "folders": make_folders,
}


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("named", [False, True], ids=["detected", "named"])
@pytest.mark.parametrize("parent", [False, True], ids=["itself", "parent"])
def test_set_is_found_by_its_folder_or_its_parent(tmp_path: Path, kind: str, named: bool, parent: bool) -> None:
    root = MAKERS[kind](tmp_path / "some name")
    touch(tmp_path / "other things", ["holiday.jpg"])
    where = tmp_path if parent else root
    named = named or READERS[kind].only_named
    assert find_dataset(where, kind if named else None) == (kind, root)
    assert read_train(str(where), kind if named else None)
    assert all(read_test(where, kind if named else None))


def test_csv_file_is_a_data_set(tmp_path: Path) -> None:
    file = make_manifest(tmp_path, "a.jpg,1,1,train\n", name="cars.csv") / "cars.csv"
    assert find_dataset(file) == ("manifest", file)


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    make_veri(tmp_path / "set")
    assert find_dataset("~/set") == ("veri", tmp_path / "set")


def test_several_sets_under_a_parent_are_an_error_that_lists_them_unless_one_is_named(tmp_path: Path) -> None:
    make_market(tmp_path / "people")
    make_veri(tmp_path / "cars")
    with pytest.raises(UserError, match=r"cars \(veri\), people \(market1501\)"):
        find_dataset(tmp_path)
    assert find_dataset(tmp_path, "veri") == ("veri", tmp_path / "cars")
    make_veri(tmp_path / "trucks")
    with pytest.raises(UserError, match=r"cars \(veri\), trucks \(veri\)"):
        find_dataset(tmp_path, "veri")


def test_two_layouts_in_one_folder_are_an_error_unless_one_is_named(tmp_path: Path) -> None:
    make_market(make_veri(tmp_path))
    assert find_dataset(tmp_path, "veri") == ("veri", tmp_path)
    with pytest.raises(UserError, match="several data sets"):
        find_dataset(tmp_path)


@pytest.mark.parametrize("dataset", [None, *MAKERS])
def test_missing_and_empty_folders_are_one_line_that_names_them(tmp_path: Path, dataset: str | None) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(UserError) as caught:
            find_dataset(folder, dataset)
        assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_folder_of_something_else_says_what_was_looked_for(tmp_path: Path) -> None:
    touch(tmp_path, ["holiday.jpg"])
    signs = ", ".join(reader.sign for reader in READERS.values() if not reader.only_named)
    assert "image_train/ (veri)" in signs
    with pytest.raises(UserError, match=re.escape(f"looked for {signs}")):
        find_dataset(tmp_path)


def test_unknown_kind_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"'cuhk' is none of {', '.join(READERS)}"):
        find_dataset(tmp_path, "cuhk")


def test_reading_training_images_never_lists_the_test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_market(tmp_path)
    listed: list[str] = []
    scandir, listdir = os.scandir, os.listdir
    monkeypatch.setattr("os.scandir", lambda path: listed.append(Path(path).name) or scandir(path))
    monkeypatch.setattr("os.listdir", lambda path: listed.append(Path(path).name) or listdir(path))
    read_train(tmp_path)
    assert "bounding_box_train" in listed and not {"query", "bounding_box_test"} & set(listed)


def test_the_setting_takes_exactly_the_readers_there_are() -> None:
    assert get_args(DatasetName) == tuple(READERS) == tuple(MAKERS)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_set_without_its_test_folders_tells_which_are_missing(tmp_path: Path, kind: str) -> None:
    root = MAKERS[kind](tmp_path)
    folders = READERS[kind].folders_in(root)
    assert all(folder.is_dir() for folder in folders)
    assert len(folders) == {"folders": 1, "market1501": 3, "veri": 3, "dukemtmc": 3, "cuhk03_np": 3}.get(kind, 0)


def test_kinds_with_the_same_folders_are_told_apart_by_their_files_names(tmp_path: Path, monkeypatch) -> None:
    yard = replace(MARKET1501, name="yard", pattern=re.compile(r"(?P<identity>\d{4})_c(?P<camera>\d)_t\d+"))
    monkeypatch.setitem(READERS, "yard", yard)
    market = make_market(tmp_path / "market")
    folder = tmp_path / "other" / "bounding_box_train"
    folder.mkdir(parents=True)
    (folder / "0002_c1_t0044158.jpg").touch()
    (tmp_path / "empty" / "bounding_box_train").mkdir(parents=True)
    found = [find_dataset(place)[0] for place in (market, folder.parent, tmp_path / "empty")]
    assert found == ["market1501", "yard", "market1501"]
