"""Anybody's own data: a folder for each identity, CSV files of others, no cameras, no split."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.checks.report import examine
from data.pixels.cache import open_pixels
from data.pixels.collection import read_collection
from data.pixels.decoding import load_image
from data.pixels.digests import content_digests
from data.pixels.gallery import read_gallery
from data.sets.folders import FOLDERS
from data.sets.listing import queries_without_match
from data.sets.manifest import MANIFEST
from data.sets.readers import describe_dataset, find_dataset, find_reader, read_test, read_test_sets, read_train
from data.sets.samples import Sample, own_camera
from data.sets.splits import split_identities
from data.system.errors import UserError
from reid_train.settings.config import make_config


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write_csv(root: Path, text: str) -> Path:
    """The CSV, and an empty file for each word in it that ends in .jpg."""
    touch(
        root,
        *(word.replace("\\", "/") for word in text.replace(";", ",").replace("\n", ",").split(",") if ".jpg" in word),
    )
    (root / "manifest.csv").write_text(text)
    return root


def described(samples: list[Sample]) -> list[tuple[str, int, int]]:
    return [("/".join(Path(s.path).parts[-2:]), s.identity, s.camera) for s in samples]


# --- folders ---


def test_train_and_test_folders_without_cameras(tmp_path: Path) -> None:
    root = touch(
        tmp_path, "train/tom/1.jpg", "train/tom/2.jpg", "test/kitty/7.jpg", "test/kitty/8.jpg", "test/tom/9.jpg"
    )
    assert find_dataset(root) == ("folders", root)
    assert described(read_train(root)) == [
        ("tom/1.jpg", 2, own_camera("train/tom/1.jpg")),
        ("tom/2.jpg", 2, own_camera("train/tom/2.jpg")),
    ]
    query, gallery = read_test(root, max_left_out=1)
    assert query == gallery and [(s.identity, Path(s.path).name) for s in gallery] == [
        (1, "7.jpg"),
        (1, "8.jpg"),
        (2, "9.jpg"),
    ]
    assert FOLDERS.list_split(root, "query").identity_names == {1: "kitty", 2: "tom"}


@pytest.mark.parametrize("whole", [True, False], ids=["train_all", "train and val"])
def test_the_folders_of_layumis_baseline(whole: bool, tmp_path: Path) -> None:
    names = ["0002/0002_c1s1_1_01.jpg", "0002/0002_c2s1_1_02.jpg", "0007/0007_c3s1_1_01.jpg"]
    touch(tmp_path, *(f"{'train_all' if whole else 'train'}/{name}" for name in names[1:]))
    touch(tmp_path, f"{'train_all' if whole else 'val'}/{names[0]}", *(f"train/{name}" for name in names[2:]))
    touch(tmp_path, "query/0001/0001_c1s1_3_00.jpg", "gallery/0001/0001_c6s1_3_00.jpg")
    touch(tmp_path, "gallery/-1/-1_c1s1_9_00.jpg", "gallery/0000/0000_c4s1_9_00.jpg")
    assert sorted((s.identity, s.camera) for s in read_train(tmp_path)) == [(2, 1), (2, 2), (7, 3)]
    query, gallery = read_test(tmp_path)
    assert [(s.identity, s.camera) for s in query] == [(1, 1)]
    assert [(s.identity, s.camera) for s in gallery] == [(0, 4), (1, 6)]
    assert len(FOLDERS.list_split(tmp_path, "gallery").junk) == 1


def test_one_name_without_a_camera_means_that_none_is_known(tmp_path: Path) -> None:
    touch(tmp_path, "train/1/1_c1_1.jpg", "train/1/2_c2_1.jpg", "train/2/x.jpg")
    assert all(sample.camera < 0 for sample in read_train(tmp_path))


def test_what_lies_beside_and_below_an_identitys_folder_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "train/tom/1.jpg", "train/tom/deep/2.jpg", "train/3.jpg")
    with pytest.raises(UserError, match=r"as they lie in no identity's folder, e\.g\. 3\.jpg"):
        read_train(tmp_path)
    assert len(read_train(tmp_path, max_left_out=0.7)) == 1


def test_missing_test_folders_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/tom/1.jpg")
    with pytest.raises(UserError, match="no folder query or test"):
        read_test(tmp_path)


def test_an_image_that_leads_out_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "set/train/tom/1.jpg", "private.jpg")
    (tmp_path / "set/train/tom/2.jpg").symlink_to(tmp_path / "private.jpg")
    with pytest.raises(UserError, match="leads out of the data folder"):
        read_train(tmp_path / "set")
    assert len(read_train(tmp_path / "set", outside_images=True)) == 2


@pytest.mark.parametrize("names", [["a/1.jpg"], ["a/1.jpg", "b/2.jpg", "c.jpg"], ["deep/a/1.jpg"]])
def test_some_folder_of_pictures_is_no_data_set(names: list[str], tmp_path: Path) -> None:
    touch(tmp_path / "set", *names)
    with pytest.raises(UserError, match="holds no data set"):
        find_dataset(tmp_path / "set")


def cats(root: Path, count: int = 20) -> Path:
    """`count` cats of 3 images each, and one of a single image."""
    names = [f"cat{cat:02d}/{number}.jpg" for cat in range(count) for number in range(3)]
    return touch(root, *names, "stray/1.jpg", "unknown/1.jpg", "unknown/2.jpg")


# --- no split ---


def test_without_a_split_a_fifth_of_the_identities_is_held_out_for_the_test(tmp_path: Path) -> None:
    root = cats(tmp_path / "cats")
    train, (query, gallery) = read_train(root), read_test(root)
    trained, tested = {s.identity for s in train}, {s.identity for s in gallery}
    assert not trained & tested and len(tested) == 4 and len(trained) == 17
    assert query == gallery and len(gallery) == 12 and not queries_without_match(query, gallery)
    assert len(FOLDERS.list_split(root, "train").junk) == 2
    remark = "no split is given: 4 of 21 identities are held out for the test, drawn with seed 0"
    assert remark in describe_dataset(root) and remark in read_test_sets(root)[0].protocol


def test_the_same_identities_are_held_out_wherever_the_images_lie_and_in_a_manifest(tmp_path: Path) -> None:
    root = cats(tmp_path / "one" / "cats")
    other = cats(tmp_path / "two")
    rows = "".join(f"{cat.name}/{image.name},{cat.name}\n" for cat in other.iterdir() for image in cat.iterdir())
    (other / "manifest.csv").write_text("path,identity\n" + rows)
    assert find_dataset(other)[0] == "manifest"
    held_out = [described(read_test(place)[0]) for place in (root, other)]
    assert held_out[0] == held_out[1]


def test_every_image_of_a_set_without_a_split_is_searched_and_embedded(tmp_path: Path) -> None:
    root = cats(tmp_path / "cats")
    gallery, everything = read_gallery(root), read_collection(root)
    assert len(gallery.images) == len(everything.paths) == 61
    label = gallery.label(root / "stray/1.jpg")
    assert label and (label.described, label.camera_shown) == ("identity stray", "")


def test_splits_hold_out_identities_of_two_images_and_keep_a_match_for_each_query(tmp_path: Path) -> None:
    data = split_identities(read_train(cats(tmp_path / "cats")), seed=3)
    assert len({s.identity for s in data.gallery}) == 8 and not queries_without_match(data.query, data.gallery)
    assert not {s.path for s in data.query} & {s.path for s in data.gallery}


# --- others' CSV files ---


def test_a_manifest_without_camera_and_split_in_excels_words(tmp_path: Path) -> None:
    rows = "".join(f"{cat}\\{n}.jpg;{cat}\n" for cat in "abcdef" for n in range(2))
    root = write_csv(tmp_path, "sep=;\nPath;Identity\n" + rows)
    train, (query, gallery) = read_train(root), read_test(root)
    assert len(train) == 10 and query == gallery and len(gallery) == 2
    assert {s.camera for s in train} == {own_camera(f"{Path(s.path).parent.name}/{Path(s.path).name}") for s in train}


def test_omls_csv(tmp_path: Path) -> None:
    text = (
        "label,split,is_query,is_gallery,path,sequence,category\n"
        "0,train,,,a/1.jpg,4,cat\n"
        "0,train,False,False,a/2.jpg,5,cat\n"
        "1,validation,True,True,b/1.jpg,7,cat\n"
        "1,validation,1.0,0.0,b/2.jpg,8,cat\n"
        "2,validation,False,True,c/1.jpg,,dog\n"
    )
    write_csv(tmp_path, text)
    query, gallery = MANIFEST.read_test(tmp_path)
    assert described(MANIFEST.read_train(tmp_path)) == [("a/1.jpg", 0, 4), ("a/2.jpg", 0, 5)]
    assert described(query) == [("b/1.jpg", 1, 7), ("b/2.jpg", 1, 8)]
    assert [sample.sequence for sample in query] == [3, 4] and gallery[1].sequence == 0
    assert described(gallery) == [("b/1.jpg", 1, 7), ("c/1.jpg", 2, own_camera("c/1.jpg"))]


def test_wildlifes_csv_leaves_unknown_out(tmp_path: Path) -> None:
    rows = "".join(f"{10 * cat + n},cat{cat},{cat}/{n}.jpg,2020-01-0{n + 1}\n" for cat in range(5) for n in range(2))
    write_csv(tmp_path, f"image_id,identity,path,date\n{rows}99,unknown,u/1.jpg,\n")
    listing = MANIFEST.list_split(tmp_path, "train")
    assert len(listing.samples) == 8 and [Path(path).name for path in listing.junk] == ["1.jpg"]
    assert -1 not in listing.identity_names


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("path,identity,is_query", "a.jpg,1,maybe", "is_query 'maybe' is neither true nor false"),
        ("path,identity,split,is_query,is_gallery", "a.jpg,1,val,0,0", "neither is_query nor is_gallery is true"),
        ("path,label,Identity,identity", "a.jpg,1,1,1", "column 'identity' is there 2 times"),
        ("path,split", "a.jpg,train", "column 'identity' is missing; needed are path,identity"),
    ],
)
def test_what_flags_and_columns_may_not_say(header: str, row: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        MANIFEST.read_train(write_csv(tmp_path, f"{header}\n{row}\n"))


# --- boxes ---


def quarters(root: Path) -> Image.Image:
    """A picture whose four quarters are red, green, blue and white, as a.png."""
    picture = Image.new("RGB", (20, 10))
    colours = ("red", "lime", "blue", "white")
    for colour, corner in zip(colours, ((0, 0), (10, 0), (0, 5), (10, 5)), strict=True):
        picture.paste(colour, (*corner, corner[0] + 10, corner[1] + 5))
    picture.save(root / "a.png")
    return picture


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("x_1,x_2,y_1,y_2", ("0,10,0,5", "10.0,20.0,0,5", "0,10,5,10", ",,,")),
        ("bbox", ('"[0, 0, 10, 5]"', '"[10.2, 0, 9.8, 5]"', '"(0, 5, 10, 50)"', "")),
    ],
)
def test_boxes_are_cut_out_when_a_picture_is_decoded(header: str, rows: tuple[str, ...], tmp_path: Path) -> None:
    whole = np.asarray(quarters(tmp_path))
    lines = "".join(f"a.png,{number},train,{row}\n" for number, row in enumerate(rows, start=1))
    (tmp_path / "manifest.csv").write_text(f"path,identity,split,{header}\n{lines}")
    samples = sorted(read_train(tmp_path), key=lambda sample: sample.identity)
    assert len({sample.camera for sample in samples}) == len({sample.path for sample in samples}) == 4
    expected = [whole[:5, :10], whole[:5, 10:], whole[5:, :10], whole]
    for sample, part in zip(samples, expected, strict=True):
        assert np.array_equal(np.asarray(load_image(sample.path)), part)
    pixels = open_pixels(samples, height=2, width=2, cache_dir=tmp_path / "cache")
    assert np.array_equal(pixels.read([samples[1].path])[0], np.full((2, 2, 3), (0, 255, 0)))
    assert len(set(content_digests([sample.path for sample in samples], cache_dir=tmp_path / "cache"))) == 4


@pytest.mark.parametrize(
    ("box", "words"),
    [("1,2,3", "a box is x_1, x_2, y_1, y_2 or a bbox"), ("1,2,x,4", "a box is"), ("5,5,0,4", "the box has no pixels")],
)
def test_what_is_no_box_is_told_with_its_line(box: str, words: str, tmp_path: Path) -> None:
    quarters(tmp_path)
    (tmp_path / "manifest.csv").write_text(f'path,identity,split,bbox\na.png,1,train,"[{box}]"\n')
    with pytest.raises(UserError, match=rf"manifest\.csv:2: {words}"):
        read_train(tmp_path)


def test_a_box_beside_the_picture_is_an_image_that_cannot_be_decoded(tmp_path: Path) -> None:
    quarters(tmp_path)
    with pytest.raises(UserError, match=r"the box 30,0,5,5 shows nothing of 20 x 10"):
        load_image(f"{tmp_path}/a.png#xywh=30,0,5,5")


# --- a pattern of names ---

PATTERN = r"(?P<camera>gate|yard)-(?P<identity>[a-z]+[0-9]+)"


def vans(root: Path) -> Path:
    """11 vans by 2 cameras, 2 images each."""
    names = [f"{camera}-van{n} ({shot}).jpg" for n in range(11) for camera in ("gate", "yard") for shot in (1, 2)]
    return touch(root, *names)


def test_a_flat_folder_is_read_by_a_pattern_of_names(tmp_path: Path) -> None:
    train = read_train(vans(tmp_path), name_pattern=PATTERN)
    (test,) = read_test_sets(tmp_path, name_pattern=PATTERN)
    assert len(train) == 36 and len(test.query) == 8 and test.query == test.gallery
    by_hand = {f"gate-van{n} ({shot}).jpg" for n in range(11) for shot in (1, 2)}
    assert all((s.camera == 1) == (Path(s.path).name in by_hand) for s in (*train, *test.gallery))
    listing = find_reader(tmp_path, None, PATTERN)[0].list_split(tmp_path, "train")
    assert all(listing.identity_names[s.identity] == Path(s.path).name.split()[0].split("-")[1] for s in train)
    assert listing.camera_names == {1: "gate", 2: "yard"}
    assert len(read_gallery(tmp_path, name_pattern=PATTERN).images) == 44


def test_names_that_the_pattern_does_not_match_are_left_out_and_told(tmp_path: Path) -> None:
    touch(vans(tmp_path), "holiday.jpg", "holiday2.jpg")
    with pytest.raises(
        UserError, match=r"2 images left out, as the name does not tell identity and camera, e\.g\. hol"
    ):
        read_train(tmp_path, name_pattern=PATTERN)


def test_a_pattern_without_a_camera_knows_none(tmp_path: Path) -> None:
    train = read_train(vans(tmp_path), name_pattern=r"\w+-(?P<identity>\w+)")
    assert len({s.camera for s in train}) == len(train) and max(s.camera for s in train) < 0


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(?P<identity>", "is no regular expression"),
        (r"(\d+)_c(\d+)", "must have the group identity"),
        (r"(?P<identity>\d+)_(?P<split>\w+)", "must have the group identity, may have camera and no other"),
    ],
)
def test_what_is_no_pattern_is_told_by_reader_and_setting(tmp_path: Path, pattern: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_train(tmp_path, name_pattern=pattern)
    with pytest.raises(UserError, match=words):
        make_config({"name_pattern": pattern}, "test")


def test_a_pattern_and_a_kind_exclude_one_another(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name_pattern and dataset=veri exclude one another"):
        read_train(tmp_path, "veri", name_pattern=PATTERN)


# --- the doctor ---


def test_the_doctor_says_no_cameras_and_warns_of_near_duplicates(tmp_path: Path) -> None:
    colours = defaultdict(int)
    for path in sorted(cats(tmp_path / "cats").rglob("*.jpg")):
        colours["n"] += 1
        Image.effect_noise((8, 8), 90 + colours["n"]).convert("RGB").save(path)
    report = examine(tmp_path / "cats", images_per_identity=1)
    assert [split.cameras for split in report.splits] == [0, 0, 0]
    told = {finding.severity: finding.text for finding in report.findings if "stray" not in str(finding.files)}
    assert told["warning"].startswith("no cameras: ") and "near-duplicates" in told["warning"]
    assert told["note"].startswith("no split is given: 4 of 21 identities")
    (single,) = (finding for finding in report.findings if "with a single image" in finding.text)
    assert [Path(path).parent.name for path in single.files] == ["stray"]
