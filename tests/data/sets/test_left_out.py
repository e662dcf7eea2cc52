"""Nothing is left out in silence: above the share that is allowed it is an error, here and for the doctor."""

import shutil
from pathlib import Path

import pytest

from data.checks.report import examine
from data.drawing.datasets import draw_dataset
from data.pixels.gallery import read_gallery
from data.sets.readers import READERS, find_dataset, read_test, read_train
from data.system.errors import UserError

FOLDERS = {"market1501": "bounding_box_train", "veri": "image_train"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(params=sorted(FOLDERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    for kind in FOLDERS:
        options = {"identities": 12, "test_identities": 12, "cameras": 2, "images_per_camera": 2, "seed": 0}
        draw_dataset(kind, folder / kind, **options)  # type: ignore[arg-type]
    for name_list in (folder / "veri").glob("name_*.txt"):
        name_list.unlink()
    return folder


@pytest.fixture
def root(kind: str, drawn: Path, tmp_path: Path) -> Path:
    """12 training and 12 test identities by 2 cameras."""
    return shutil.copytree(drawn / kind, tmp_path / "set")


def rename(folder: Path, share: float, prefix: str = "photo_") -> int:
    """Renames so much of a folder's images that no reader understands them; how many these are."""
    files = sorted(folder.iterdir())
    files = files[: round(share * len(files))]
    for file in files:
        file.rename(file.with_name(f"{prefix}{file.name}"))
    return len(files)


def test_names_with_more_and_fewer_digits_than_the_official_ones_are_understood(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "bounding_box_train"
    folder.mkdir(parents=True)
    names = ["7_c1s1_000451_03.jpg", "10012_c15s1_000451_03.jpg", "123456_c10s12_1_0.png", "-1_c15s1_000451_03.jpg"]
    for name in names:
        (folder / name).touch()
    found = [(sample.identity, sample.camera) for sample in read_train(tmp_path)]
    assert sorted(found) == [(7, 1), (10012, 15), (123456, 10)]
    assert READERS["market1501"].list_split(tmp_path / "set", "train").left_out == {}


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_names_that_say_nothing_are_an_error_for_training_and_doctor(root: Path, kind: str, share: float) -> None:
    folder = root / FOLDERS[kind]
    everything = len(list(folder.iterdir()))
    count = rename(folder, share)
    with pytest.raises(
        UserError, match=rf"{count} images left out, .*photo_.*set/manifest\.csv: .*path,identity"
    ) as caught:
        read_train(root)
    assert "\n" not in str(caught.value) and (("max_left_out" in str(caught.value)) == (share < 1))
    assert examine(root).breaks_training
    if share < 1:
        assert len(read_train(root, max_left_out=0.6)) == everything - count
        left = examine(root, max_left_out=0.6)
        assert not [finding for finding in left.findings if "left out" in finding.text and finding.severity == "error"]


def test_the_way_out_of_a_message_works(root: Path, kind: str) -> None:
    rename(root / FOLDERS[kind], 0.3)
    with pytest.raises(UserError) as caught:
        read_train(root)
    share = float(str(caught.value).split("max_left_out=")[1].split()[0])
    assert read_train(root, max_left_out=share)


def test_the_manifest_that_a_message_asks_for_is_read_where_it_says(root: Path, kind: str) -> None:
    rename(root / FOLDERS[kind], 0.3)
    with pytest.raises(UserError) as caught:
        read_train(root)
    manifest = Path(str(caught.value).split("write ")[1].split(": the line ")[0])
    images = [file.relative_to(root) for file in sorted((root / FOLDERS[kind]).iterdir())]
    rows = [f"{image},{place // 4},{place % 2},train" for place, image in enumerate(images)]
    manifest.write_text("\n".join(["path,identity,camera,split", *rows]))
    assert len(read_train(root)) == len(images) and len(read_gallery(root / FOLDERS[kind]).labels) == len(images)


@pytest.mark.parametrize("split", ["query", "gallery"])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_test_images_left_out_are_an_error_and_training_is_not_touched(root: Path, kind: str, split, share) -> None:
    rename(root / READERS[kind].folders[split], share)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="images left out"):
        read_test(root)
    assert read_train(root) and examine(root).breaks_training


def test_a_single_stray_image_is_a_warning_unless_none_may_be_left_out(root: Path, kind: str, caplog) -> None:
    file = next((root / FOLDERS[kind]).iterdir())
    shutil.copy(file, file.with_name("holiday.jpg"))
    assert read_train(root) and "1 images left out" in caplog.text
    assert not examine(root).breaks_training and examine(root, max_left_out=0).breaks_training
    with pytest.raises(UserError, match=r"holiday\.jpg"):
        read_train(root, max_left_out=0)


def test_images_in_folders_of_their_own_are_left_out_by_name(root: Path, kind: str) -> None:
    folder = root / FOLDERS[kind]
    for file in sorted(folder.iterdir())[:6]:
        (folder / "more" / "deep").mkdir(parents=True, exist_ok=True)
        file.rename(folder / "more" / "deep" / file.name)
    with pytest.raises(UserError, match="6 images left out, as they lie in folders of their own"):
        read_train(root)
    assert examine(root).breaks_training


def test_images_that_a_name_list_lacks_are_left_out_by_name(drawn: Path, tmp_path: Path) -> None:
    root = shutil.copytree(drawn / "veri", tmp_path / "set")
    names = sorted(file.name for file in (root / "image_train").iterdir())
    (root / "name_train.txt").write_text("\n".join(names[: len(names) // 2]))
    with pytest.raises(UserError, match=r"images left out, as name_train\.txt does not list them"):
        read_train(root)
    assert len(read_train(root, max_left_out=0.6)) == len(names) // 2


def test_queries_without_a_match_are_an_error_above_the_share(root: Path, kind: str) -> None:
    gallery = root / READERS[kind].folders["gallery"]  # type: ignore[attr-defined]
    identities = sorted({file.name.split("_")[0] for file in gallery.iterdir()})
    for identity in identities[:4]:
        for file in gallery.glob(f"{identity}_*"):
            file.unlink()
    with pytest.raises(UserError, match=r"queries have no match.*max_left_out=0\.\d+"):
        read_test(root)
    assert read_test(root, max_left_out=0.5) and examine(root).breaks_training
    assert not examine(root, max_left_out=0.5).breaks_training


def test_pictures_that_no_decoder_reads_are_not_passed_over(root: Path, kind: str) -> None:
    for file in sorted((root / FOLDERS[kind]).iterdir())[:6]:
        file.rename(file.with_suffix(".heic")).write_bytes(b"\0\0\0\x18ftypheic")
    assert examine(root).breaks_training
    assert len([s for s in read_train(root) if s.path.endswith(".heic")]) == 6  # refused when they are decoded


def test_what_macos_and_disks_put_beside_pictures_is_nobodys(root: Path, kind: str, tmp_path: Path) -> None:
    count = len(read_train(root))
    for folder in (root / FOLDERS[kind], root / FOLDERS[kind] / "@eaDir", root / FOLDERS[kind] / ".thumbs"):
        folder.mkdir(exist_ok=True)
        for file in sorted((root / FOLDERS[kind]).glob("[!.]*.*"))[:5]:
            (folder / f"._{file.name}").write_bytes(b"\0\5\x16\7Mac OS X")
            if folder.name != FOLDERS[kind]:
                shutil.copy(file, folder)
    shutil.copytree(root, tmp_path / "__MACOSX" / "set")
    assert find_dataset(tmp_path) == (kind, root) and len(read_train(tmp_path, max_left_out=0)) == count
    assert not examine(root).breaks_training
    (tmp_path / "own").mkdir()
    for name in ("cars.csv", "._cars.csv"):
        (tmp_path / "own" / name).write_text("path,identity,camera,split\n")
    assert find_dataset(tmp_path / "own", "manifest") == ("manifest", tmp_path / "own" / "cars.csv")


def test_a_plain_gallery_folder_is_read_without_macos_files(drawn: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(drawn / "veri" / "image_train", tmp_path / "plain")
    files = sorted(folder.iterdir())
    (folder / f"._{files[0].name}").write_bytes(b"\0\5\x16\7Mac OS X")
    shutil.copytree(folder, folder / "__MACOSX")
    assert read_gallery(folder).images == [str(file) for file in files]


def test_a_folder_that_no_reader_knows_says_how_to_write_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "mine" / "anna").mkdir(parents=True)
    (tmp_path / "mine" / "anna" / "1.jpg").touch()
    for dataset in (None, "manifest"):
        with pytest.raises(
            UserError, match=r"write .*/mine/manifest\.csv: .*path,identity,camera,split.*cars/a17\.jpg,a17"
        ):
            find_dataset(tmp_path / "mine", dataset)
