"""Tiny data sets in each published layout, and what a reader must find there: written by hand."""

from pathlib import Path

from data.sets.samples import own_camera

Found = list[tuple[str, int, int]]
"""Path from the set's folder, identity, camera."""

FILES: dict[str, dict[str, str]] = {
    "dukemtmc": dict.fromkeys(
        (
            "bounding_box_train/0005_c2_f0046985.jpg",
            "bounding_box_train/0001_c8_f0051341.jpg",
            "query/0002_c1_f0044158.jpg",
            "bounding_box_test/0002_c2_f0044159.jpg",
            "bounding_box_test/7139_c6_f0081012.jpg",
        ),
        "",
    ),
    "cuhk03_np": dict.fromkeys(
        (
            "bounding_box_train/0003_c1_1.png",
            "bounding_box_train/0003_c2_10.png",
            "query/0001_c1_2.png",
            "bounding_box_test/0001_c2_6.png",
        ),
        "",
    ),
    "msmt17": {
        "train/0000/0000_000_01_0303morning_0015_0.jpg": "",
        "train/0000/0000_001_14_0303afternoon_0015_1.jpg": "",
        "train/1040/1040_002_05_0302noon_1234_0_ex.jpg": "",
        "test/0000/0000_000_01_0303morning_0036_0.jpg": "",
        "test/0000/0000_001_02_0303morning_0040_1.jpg": "",
        "list_train.txt": "0000/0000_000_01_0303morning_0015_0.jpg 0\n1040/1040_002_05_0302noon_1234_0_ex.jpg 1040\n",
        "list_val.txt": "0000/0000_001_14_0303afternoon_0015_1.jpg 0\n",
        "list_query.txt": "0000/0000_000_01_0303morning_0036_0.jpg 0\n",
        "list_gallery.txt": "0000/0000_001_02_0303morning_0040_1.jpg 0\n",
    },
    "vehicleid": {
        **{f"image/{number:07d}.jpg": "" for number in range(1, 10)},
        "train_test_split/train_list.txt": "0000001 17\n0000002 17\n0000009 18\n",
        "train_test_split/test_list_800.txt": "0000003 5\n0000004 5\n",
        "train_test_split/test_list_1600.txt": "0000003 5\n0000004 5\n0000005 6\n0000006 6\n",
        "train_test_split/test_list_2400.txt": "0000003 5\n0000004 5\n0000005 6\n0000006 6\n0000007 7\n0000008 7\n",
    },
    "veri_wild": {
        **{f"images/{image}.jpg": "" for image in ("00001/000001", "00001/000002", "00002/000007", "00002/000008")},
        **{f"images/{image}.jpg": "" for image in ("00003/000011", "00003/000012")},
        "train_test_split/train_list.txt": "00001/000001\n00001/000002\n",
        "train_test_split/train_list_start0.txt": "00001/000001 0\n",
        "train_test_split/test_3000_id.txt": "2\n",
        "train_test_split/test_3000.txt": "00002/000007\n",
        "train_test_split/test_3000_query.txt": "00002/000008\n",
        "train_test_split/test_5000.txt": "00002/000007\n00003/000011\n",
        "train_test_split/test_5000_query.txt": "00002/000008\n00003/000012\n",
        "train_test_split/vehicle_info.txt": "id/image;Camera ID;Time;Model;Type;Color\n"
        "00001/000001;174;2018-03-11 08:52:12;a;SUV;white\n00001/000002;5;2018-03-11;a;SUV;white\n"
        "00002/000007;1;x;a;b;c\n00002/000008;2;x;a;b;c\n00003/000011;3;x;a;b;c\n00003/000012;4;x;a;b;c\n",
    },
}
FILES["msmt17_train"] = {
    name.replace("train/", "mask_train_v2/").replace("test/", "mask_test_v2/"): text
    for name, text in FILES["msmt17"].items()
}


def _vehicle(number: int, identity: int) -> tuple[str, int, int]:
    name = f"image/{number:07d}.jpg"
    return name, identity, own_camera(name)


_VEHICLES = [_vehicle(3, 5), _vehicle(4, 5), _vehicle(5, 6), _vehicle(6, 6), _vehicle(7, 7), _vehicle(8, 7)]
EXPECTED: dict[str, dict[str, Found]] = {
    "dukemtmc": {
        "train": [("bounding_box_train/0001_c8_f0051341.jpg", 1, 8), ("bounding_box_train/0005_c2_f0046985.jpg", 5, 2)],
        "query": [("query/0002_c1_f0044158.jpg", 2, 1)],
        "gallery": [
            ("bounding_box_test/0002_c2_f0044159.jpg", 2, 2),
            ("bounding_box_test/7139_c6_f0081012.jpg", 7139, 6),
        ],
    },
    "cuhk03_np": {
        "train": [("bounding_box_train/0003_c1_1.png", 3, 1), ("bounding_box_train/0003_c2_10.png", 3, 2)],
        "query": [("query/0001_c1_2.png", 1, 1)],
        "gallery": [("bounding_box_test/0001_c2_6.png", 1, 2)],
    },
    "msmt17": {
        "train": [
            ("train/0000/0000_000_01_0303morning_0015_0.jpg", 1, 1),
            ("train/0000/0000_001_14_0303afternoon_0015_1.jpg", 1, 14),
            ("train/1040/1040_002_05_0302noon_1234_0_ex.jpg", 1041, 5),
        ],
        "query": [("test/0000/0000_000_01_0303morning_0036_0.jpg", 10001, 1)],
        "gallery": [("test/0000/0000_001_02_0303morning_0040_1.jpg", 10001, 2)],
    },
    "msmt17_train": {
        "train": [
            ("mask_train_v2/0000/0000_000_01_0303morning_0015_0.jpg", 1, 1),
            ("mask_train_v2/1040/1040_002_05_0302noon_1234_0_ex.jpg", 1041, 5),
        ],
        "query": [("mask_test_v2/0000/0000_000_01_0303morning_0036_0.jpg", 10001, 1)],
        "gallery": [("mask_test_v2/0000/0000_001_02_0303morning_0040_1.jpg", 10001, 2)],
    },
    "vehicleid": {
        "train": [_vehicle(1, 17), _vehicle(2, 17), _vehicle(9, 18)],
        "query": _VEHICLES,
        "gallery": _VEHICLES,
    },
    "veri_wild": {
        "train": [("images/00001/000001.jpg", 1, 174), ("images/00001/000002.jpg", 1, 5)],
        "query": [("images/00002/000008.jpg", 2, 2), ("images/00003/000012.jpg", 3, 4)],
        "gallery": [("images/00002/000007.jpg", 2, 1), ("images/00003/000011.jpg", 3, 3)],
    },
}


def lay_out(kind: str, root: Path) -> Path:
    """Writes the set's files, of which the images are empty, into `root`."""
    for name, text in FILES[kind].items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
