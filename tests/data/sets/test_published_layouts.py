"""Each published layout against listings written by hand; each is told from all the others; test sets and draws."""

import os
from collections import Counter
from pathlib import Path

import pytest

from data.checks.findings import unlike_published
from data.drawing.datasets import draw_dataset
from data.drawing.layouts import LAYOUTS
from data.sets.layouts import Reader
from data.sets.listing import Listing
from data.sets.protocol import TestSet
from data.sets.readers import READERS, find_dataset, read_test, read_test_sets, read_train
from data.sets.samples import Sample
from data.system.errors import UserError
from tests.data.sets.on_disk import EXPECTED, FILES, Found, lay_out


def described(root: Path, samples: list[Sample]) -> Found:
    return [(os.path.relpath(s.path, root.resolve()), s.identity, s.camera) for s in samples]


@pytest.mark.parametrize("kind", FILES)
def test_a_layout_is_read_as_the_listing_by_hand_says(kind: str, tmp_path: Path) -> None:
    root = lay_out(kind, tmp_path / "set")
    query, gallery = read_test(root, kind)
    found = {"train": read_train(root, kind), "query": query, "gallery": gallery}
    assert {split: described(root, samples) for split, samples in found.items()} == EXPECTED[kind]


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_every_drawn_layout_is_told_from_all_others_and_can_be_read(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "drawn"
    draw_dataset(kind, root, identities=11, test_identities=3, cameras=2, images_per_camera=2, seed=0)
    assert find_dataset(root) == (kind, root) and find_dataset(tmp_path) == (kind, root)
    train, (query, gallery) = read_train(root), read_test(root)
    identities = {sample.identity for sample in train}
    assert not identities & {sample.identity for sample in (*query, *gallery) if sample.identity}
    assert len(identities) == 11


@pytest.mark.parametrize("kind", [name for name, reader in READERS.items() if name in FILES and not reader.only_named])
def test_a_layout_written_by_hand_is_told_from_all_others(kind: str, tmp_path: Path) -> None:
    assert find_dataset(lay_out(kind, tmp_path / "set"))[0] == kind
    matching = [name for name, reader in READERS.items() if reader.is_here(tmp_path / "set") and not reader.weak]
    same_folders = {"dukemtmc": ["market1501", "dukemtmc", "cuhk03_np"], "msmt17": ["msmt17", "msmt17_train"]}
    same_folders["cuhk03_np"] = same_folders["dukemtmc"]
    assert matching == same_folders.get(kind, [kind])


def test_test_identities_of_msmt17_are_called_as_in_its_lists(tmp_path: Path) -> None:
    root = lay_out("msmt17", tmp_path)
    assert READERS["msmt17"].list_split(root, "query").identity_names == {10001: "0"}
    assert READERS["msmt17"].list_split(root, "train").identity_names == {1: "0", 1041: "1040"}


@pytest.mark.parametrize(("kind", "list_val"), [("msmt17", True), ("msmt17_train", False)])
def test_the_protocol_says_which_of_msmt17s_training_sets_is_used(kind: str, list_val: bool, tmp_path: Path) -> None:
    (test,) = read_test_sets(lay_out(kind, tmp_path), kind)
    assert ("list_train and list_val" in test.protocol) == list_val
    assert ("list_train alone" in test.protocol) != list_val


@pytest.mark.parametrize(
    ("kind", "names"), [("vehicleid", {"800": 2, "1600": 4, "2400": 6}), ("veri_wild", {"3000": 2, "5000": 4})]
)
def test_every_test_set_that_is_there_is_one(kind: str, names: dict[str, int], tmp_path: Path) -> None:
    tests = read_test_sets(lay_out(kind, tmp_path))
    assert {test.name: len(test.images) for test in tests} == names


@pytest.mark.parametrize(
    ("kind", "file", "text", "words"),
    [
        ("msmt17", "list_val.txt", "0000_1.jpg 0", "list_val.txt: the line '0000_1.jpg 0' is not of the form '0000/"),
        ("msmt17", "list_val.txt", "0000/0000_9_01_x_1.jpg 0", "1 listed images are not there"),
        ("vehicleid", "train_test_split/train_list.txt", "0000001", "is not of the form '0001234 5678'"),
        ("veri_wild", "train_test_split/train_list.txt", "truck", "is not of the form '00001/000001'"),
        ("veri_wild", "train_test_split/vehicle_info.txt", "id;", "as no list tells the camera"),
    ],
)
def test_a_broken_list_is_one_line_that_names_it(kind: str, file: str, text: str, words: str, tmp_path: Path) -> None:
    (lay_out(kind, tmp_path) / file).write_text(text)
    with pytest.raises(UserError) as caught:
        read_train(tmp_path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_list_that_names_an_image_outside_is_refused(tmp_path: Path) -> None:
    root = lay_out("veri_wild", tmp_path / "set")
    (tmp_path / "private.jpg").touch()
    (root / "images/00001/000001.jpg").unlink()
    (root / "images/00001/000001.jpg").symlink_to(tmp_path / "private.jpg")
    with pytest.raises(UserError, match="leads out of the data folder"):
        read_train(root)
    assert len(read_train(root, outside_images=True)) == 2


def test_a_missing_vehicle_info_is_told(tmp_path: Path) -> None:
    (lay_out("veri_wild", tmp_path) / "train_test_split/vehicle_info.txt").unlink()
    with pytest.raises(UserError, match=r"vehicle_info\.txt: no such file, and it tells the cameras"):
        read_train(tmp_path)


# --- draws ---


def pooled_test() -> TestSet:
    """3 vehicles of 4, 3 and 1 images."""
    samples = [
        Sample(f"/{v}_{n}.jpg", v, -1 - 10 * v - n) for v, count in ((1, 4), (2, 3), (3, 1)) for n in range(count)
    ]
    return TestSet(samples, samples, draws=10)


def test_each_draw_has_one_image_of_each_identity_as_gallery_and_the_others_as_queries() -> None:
    test = pooled_test()
    rounds = test.rounds()
    assert len(rounds) == 10 and len({tuple(gallery) for _, gallery in rounds}) > 5
    for query, gallery in rounds:
        assert Counter(sample.identity for sample in gallery) == {1: 1, 2: 1, 3: 1}
        assert sorted(query + gallery) == sorted(test.gallery)
    assert test.rounds() == rounds
    moved = [sample._replace(path=f"/elsewhere{sample.path}") for sample in test.gallery]
    again = TestSet(moved, moved, draws=10).rounds()
    assert [[s[1:] for s in gallery] for _, gallery in again] == [[s[1:] for s in gallery] for _, gallery in rounds]


def test_the_protocol_says_draws_and_that_no_cameras_are_known() -> None:
    test = pooled_test()
    assert "mean of 10 draws" in test.protocol
    both = TestSet(test.query, test.gallery).protocol
    assert both == "test images are query and gallery at once; no cameras: a query's own picture alone is left out"


# --- published counts ---


def lists(counts: dict[str, tuple[int, int]]) -> dict[str, Listing]:
    return {
        split: Listing("", [Sample(f"{split}{n}", n % identities, 1) for n in range(images)], {}, [])
        for split, (images, identities) in counts.items()
    }


@pytest.mark.parametrize("title", ["DukeMTMC-reID", "Occluded-Duke"])
def test_the_doctor_names_the_published_set_that_is_nearest(title: str, tmp_path: Path) -> None:
    duke: Reader = READERS["dukemtmc"]
    counts = dict(duke.published[title])
    (found,) = unlike_published(duke, tmp_path, lists(counts))
    assert found.text == f"this is {title} as published"
    counts["train"] = (counts["train"][0] - 1, 702)
    (found,) = unlike_published(duke, tmp_path, lists(counts))
    assert f"this is not the published {title}; images of identities: train" in found.text


def test_counts_of_test_sets_are_compared_each(tmp_path: Path) -> None:
    reader = READERS["veri_wild"]
    root = lay_out("veri_wild", tmp_path)
    splits = {split: reader.list_split(root, split) for split in ("train", "query", "gallery")}
    (found,) = unlike_published(reader, root, splits)
    assert "3000 2 of 1 (published 41,861 of 3,000), 5000 4 of 2 (published 69,389 of 5,000)" in found.text
