"""The generated data sets: official layouts, reproducible bytes, identities that can be told apart."""

import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.drawing.datasets import draw_dataset
from data.synthetic import main
from data.system.errors import UserError
from tests.data.helps import help_of

FOLDERS = {
    "market1501": ("bounding_box_train", "query", "bounding_box_test"),
    "veri": ("image_train", "image_query", "image_test"),
}
NAMES = {
    "market1501": re.compile(r"(\d{4}|-1)_c(\d)s[1-6]_\d{6}_\d{2}\.jpg"),
    "veri": re.compile(r"(\d{4})_c(\d{3})_\d{8}_\d\.jpg"),
}
SMALL = {"identities": 4, "test_identities": 3, "cameras": 3, "images_per_camera": 2, "seed": 3}


@pytest.fixture(scope="module", params=["market1501", "veri"])
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A small data set of each layout: its name and folder."""
    out = tmp_path_factory.mktemp("synthetic") / request.param
    draw_dataset(request.param, out, **SMALL)
    return request.param, out


def read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def seen(layout: str, folder: Path) -> dict[int, list[int]]:
    """Identity -> the camera of each of its pictures in a folder, by the official name."""
    cameras = defaultdict(list)
    for path in folder.iterdir():
        match = NAMES[layout].fullmatch(path.name)
        assert match, path.name
        cameras[int(match[1])].append(int(match[2]))
    return dict(cameras)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(drawn: tuple[str, Path], tmp_path: Path) -> None:
    layout, out = drawn
    draw_dataset(layout, tmp_path / "again", **SMALL)
    draw_dataset(layout, tmp_path / "other", **{**SMALL, "seed": 4})
    assert read(tmp_path / "again") == read(out)
    assert not set(read(tmp_path / "other").values()) & set(read(out).values())


def test_names_and_identities_follow_the_official_layout(drawn: tuple[str, Path]) -> None:
    layout, out = drawn
    train, query, gallery = (seen(layout, out / folder) for folder in FOLDERS[layout])
    assert len(train) == SMALL["identities"]
    assert len(query) == SMALL["test_identities"]
    assert not set(train) & (set(query) | set(gallery))
    unlabelled = {0, -1} if layout == "market1501" else set()
    assert set(gallery) - set(query) == unlabelled
    assert min(train) > 0 and min(query) > 0


def test_every_identity_is_seen_by_two_cameras_and_every_query_has_a_match(drawn: tuple[str, Path]) -> None:
    layout, out = drawn
    train, query, gallery = (seen(layout, out / folder) for folder in FOLDERS[layout])
    assert all(len(set(cameras)) >= 2 for cameras in train.values())
    for identity, cameras in query.items():
        assert len(cameras) == len(set(cameras)), "one query per identity and camera"
        assert all(set(gallery[identity]) - {camera} for camera in cameras)


def test_query_pictures_are_not_repeated_in_the_gallery(drawn: tuple[str, Path]) -> None:
    layout, out = drawn
    _, query, gallery = (read(out / folder) for folder in FOLDERS[layout])
    assert not set(query) & set(gallery)
    assert not set(query.values()) & set(gallery.values())


def test_one_image_per_camera_still_gives_each_query_a_match(tmp_path: Path) -> None:
    draw_dataset("veri", tmp_path / "veri", identities=2, test_identities=2, cameras=2, images_per_camera=1, seed=0)
    query, gallery = (seen("veri", tmp_path / "veri" / folder) for folder in FOLDERS["veri"][1:])
    assert all(set(gallery[identity]) == {1, 2} for identity in query)


def test_images_have_the_expected_size(drawn: tuple[str, Path]) -> None:
    layout, out = drawn
    for path in out.rglob("*.jpg"):
        with Image.open(path) as picture:
            width, height = picture.convert("RGB").size
        if layout == "market1501":
            assert (width, height) == (64, 128)
        else:
            assert width == 128 and 96 <= height <= 128


def test_lists_name_exactly_the_files_in_their_folders(drawn: tuple[str, Path]) -> None:
    layout, out = drawn
    lists = {"market1501": (), "veri": ("name_train.txt", "name_query.txt", "name_test.txt")}[layout]
    assert sorted(lists) == sorted(path.name for path in out.glob("*.txt"))
    for file, folder in zip(lists, FOLDERS[layout], strict=False):
        assert (out / file).read_text().splitlines() == sorted(path.name for path in (out / folder).iterdir())


def test_a_folder_that_is_not_empty_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep")
    with pytest.raises(UserError, match=rf"{re.escape(str(mine))}.*not an empty folder.*another folder"):
        draw_dataset("veri", mine, **SMALL)
    assert read(tmp_path) == {"mine/notes.txt": b"keep"}


def test_a_failure_on_the_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = Path.write_bytes, []

    def full_disk(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) > 3:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(UserError, match="No space left on device"):
        draw_dataset("veri", tmp_path / "veri", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    draw_dataset("market1501", tmp_path, **SMALL)
    assert {path.name for path in tmp_path.iterdir()} == set(FOLDERS["market1501"])


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--identities", "1", "identities=1"),
        ("--identities", "-5", "identities=-5"),
        ("--identities", "9999", "9999"),
        ("--test-identities", "0", "test_identities=0"),
        ("--cameras", "0", "cameras=0 must be 1 to 9"),
        ("--cameras", "10", "cameras=10 must be 1 to 9"),
        ("--images-per-camera", "0", "images_per_camera=0"),
        ("--images-per-camera", "99999", "must be at most"),
        ("--seed", "-1", "seed=-1"),
    ],
)
def test_bad_numbers_give_one_line_and_exit_code_2(
    option: str, value: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--layout", "market1501", "--out", str(tmp_path / "out"), option, value]
    monkeypatch.setattr(sys, "argv", ["synthetic", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    message = capsys.readouterr().err
    assert stop.value.code == 2
    assert message.startswith("error: ") and message.count("\n") == 1 and says in message
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_drew_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "market"
    arguments = f"--layout market1501 --out {out} --identities 4 --cameras 2 --images-per-camera 2".split()
    monkeypatch.setattr(sys, "argv", ["synthetic", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    images = len(list(out.rglob("*.jpg")))
    assert re.fullmatch(
        rf"drew {images} images of 4 training and 2 test identities into {re.escape(str(out))} in [\d.]+ s\n",
        capsys.readouterr().out,
    )


def test_help_loads_nothing_heavy() -> None:
    told, modules = help_of("data.synthetic")
    assert "--images-per-camera" in told
    assert not {"numpy", "PIL", "torch", "ray", "pandas"} & modules


@pytest.mark.parametrize("layout", ["market1501", "veri"])
def test_pictures_of_one_identity_are_more_alike_than_those_of_two(
    layout: str, tmp_path: Path, colours: Callable[[Path], np.ndarray]
) -> None:
    draw_dataset(layout, tmp_path / "set", identities=12, cameras=2, images_per_camera=3, seed=0)
    pictures = []
    for path in sorted((tmp_path / "set" / FOLDERS[layout][0]).iterdir()):
        match = NAMES[layout].fullmatch(path.name)
        assert match
        pictures.append((match[1], match[2], colours(path)))
    distances: dict[bool, list[float]] = {True: [], False: []}
    for i, (identity, camera, histogram) in enumerate(pictures):
        for other_identity, other_camera, other_histogram in pictures[:i]:
            if camera == other_camera:
                distances[identity == other_identity].append(float(np.abs(histogram - other_histogram).sum()))
    assert np.mean(distances[True]) < 0.9 * np.mean(distances[False])


@pytest.fixture
def colours() -> Callable[[Path], np.ndarray]:
    """The histogram of a picture's middle, in four levels of each colour channel; sums to 1."""

    def histogram(path: Path) -> np.ndarray:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB")) // 64
        height, width, _ = pixels.shape
        middle = pixels[height // 5 : -height // 5, width // 4 : -width // 4].reshape(-1, 3)
        return np.bincount(middle @ np.array([16, 4, 1]), minlength=64) / len(middle)

    return histogram
