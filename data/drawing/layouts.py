"""The layouts in which data sets can be drawn: where a picture lies, what it is called, and the lists beside.

LAYOUTS["veri"].name(shot, 2, 6)  # "image_train/0001_c001_00000007_0.jpg"
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from data.sets.listing import GALLERY, QUERY, TRAIN

JUNK = -1
"""Market-1501's number for bad boxes; DISTRACTOR is the one for people who belong to no query."""


class Shot(NamedTuple):
    """One picture to take."""

    split: str
    identity: int
    """1 or more, or DISTRACTOR or JUNK."""
    camera: int
    """1 or more."""
    number: int
    """1 or more, different for every picture."""


Named = Sequence[tuple[Shot, str]]
"""Every picture and its path, in the order of drawing."""


class Layout(NamedTuple):
    """Where the pictures of a data set lie."""

    subject: Literal["person", "vehicle"]
    name: Callable[[Shot, int, int], str]
    """A picture's path; the two numbers, 1 to 6 and 1 to 4, are random."""
    max_cameras: int
    """The highest camera number that a name can hold."""
    lists: Callable[[Named], Mapping[str, str]] = lambda _: {}
    """Text file -> what it says."""
    unlabelled: float = 0.0
    """Distractors, as a share of the gallery's labelled images; there are as many junk images."""


MARKET = {TRAIN: "bounding_box_train", QUERY: "query", GALLERY: "bounding_box_test"}
VERI = {TRAIN: "image_train", QUERY: "image_query", GALLERY: "image_test"}
VERI_LISTS = {TRAIN: "name_train.txt", QUERY: "name_query.txt", GALLERY: "name_test.txt"}


def _market(shot: Shot, sequence: int, box: int) -> str:
    identity = f"{shot.identity:04d}" if shot.identity >= 0 else "-1"
    return f"{MARKET[shot.split]}/{identity}_c{shot.camera}s{sequence}_{shot.number:06d}_{box:02d}.jpg"


def _veri(shot: Shot, *_: int) -> str:
    return f"{VERI[shot.split]}/{shot.identity:04d}_c{shot.camera:03d}_{shot.number:08d}_0.jpg"


def _duke(shot: Shot, *_: int) -> str:
    return f"{MARKET[shot.split]}/{shot.identity:04d}_c{shot.camera}_f{shot.number:07d}.jpg"


def _cuhk03(shot: Shot, *_: int) -> str:
    return f"{MARKET[shot.split]}/{shot.identity:04d}_c{shot.camera}_{shot.number}.png"


def _msmt17(shot: Shot, *_: int) -> str:
    side, who = ("train" if shot.split == TRAIN else "test"), f"{shot.identity:04d}"
    return f"{side}/{who}/{who}_{shot.number % 1000:03d}_{shot.camera:02d}_0303morning_{shot.number:06d}_0.jpg"


def _folders(shot: Shot, *_: int) -> str:
    return f"{shot.identity:04d}/{shot.number:06d}.jpg"


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in sorted(lines))


def _veri_lists(named: Named) -> dict[str, str]:
    names = {split: [name.partition("/")[2] for shot, name in named if shot.split == split] for split in VERI}
    return {VERI_LISTS[split]: _lines(names[split]) for split in VERI}


def _msmt17_lists(named: Named) -> dict[str, str]:
    """Every fifth training image is one of val. The lists number the identities of a side from 0."""
    first = min(shot.identity for shot, _ in named if shot.split != TRAIN)
    lists: dict[str, list[str]] = {"train": [], "val": [], "query": [], "gallery": []}
    for shot, name in named:
        which = "val" if shot.split == TRAIN and shot.number % 5 == 0 else shot.split
        identity = shot.identity - (1 if shot.split == TRAIN else first)
        lists[which].append(f"{name.partition('/')[2]} {identity}")
    return {f"list_{which}.txt": _lines(lines) for which, lines in lists.items()}


def _vehicleid_lists(named: Named) -> dict[str, str]:
    """The first test set has half of the test vehicles, the others have all."""
    lines = [(shot, f"{name.rpartition('/')[2].removesuffix('.jpg')} {shot.identity}") for shot, name in named]
    lists = {"train_list": [line for shot, line in lines if shot.split == TRAIN]}
    for test, vehicles in _tests(named, ("800", "1600", "2400")).items():
        lists[f"test_list_{test}"] = [line for shot, line in lines if shot.identity in vehicles]
    return {f"train_test_split/{which}.txt": _lines(lines) for which, lines in lists.items()}


def _veri_wild_lists(named: Named) -> dict[str, str]:
    images = [(shot, name.removeprefix("images/").removesuffix(".jpg")) for shot, name in named]
    lists = {"train_list": [image for shot, image in images if shot.split == TRAIN]}
    for test, vehicles in _tests(named, ("3000", "5000", "10000")).items():
        for split, ending in ((GALLERY, ""), (QUERY, "_query")):
            of_test = [image for shot, image in images if shot.split == split and shot.identity in vehicles]
            lists[f"test_{test}{ending}"] = of_test
    texts = {f"train_test_split/{which}.txt": _lines(lines) for which, lines in lists.items()}
    info = _lines([f"{image};{shot.camera};2018-03-10 09:15:00;model;type;white" for shot, image in images])
    return {**texts, "train_test_split/vehicle_info.txt": "id/image;Camera ID;Time;Model;Type;Color\n" + info}


def _tests(named: Named, names: Sequence[str]) -> dict[str, set[int]]:
    """Test set -> its vehicles: half of the test vehicles in the first, all in the others."""
    vehicles = sorted({shot.identity for shot, _ in named if shot.split != TRAIN})
    half = set(vehicles[: max(2, len(vehicles) // 2)])
    return {name: half if name == names[0] else set(vehicles) for name in names}


def _manifest(named: Named) -> dict[str, str]:
    rows = [f"{name},{shot.identity},{shot.camera},{shot.split}" for shot, name in named]
    return {"manifest.csv": "path,identity,camera,split\n" + _lines(rows)}


LAYOUTS = {
    "market1501": Layout("person", _market, 9, unlabelled=0.1),
    "veri": Layout("vehicle", _veri, 999, _veri_lists),
    "dukemtmc": Layout("person", _duke, 9),
    "cuhk03_np": Layout("person", _cuhk03, 9),
    "msmt17": Layout("person", _msmt17, 99, _msmt17_lists),
    "vehicleid": Layout("vehicle", lambda shot, *_: f"image/{shot.number:07d}.jpg", 999, _vehicleid_lists),
    "veri_wild": Layout(
        "vehicle", lambda shot, *_: f"images/{shot.identity:05d}/{shot.number:06d}.jpg", 999, _veri_wild_lists
    ),
    "manifest": Layout("person", lambda shot, *_: f"images/{shot.number:06d}.jpg", 999, _manifest),
    "folders": Layout("person", _folders, 999),
}
