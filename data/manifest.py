"""Anybody's own data: a CSV file with the columns path, identity, camera and split (train, query or gallery).

    path,identity,camera,split
    cars/a17_front.jpg,a17,gate,train

Paths are relative to the CSV's folder. Identities and cameras may be any text: where they are not all whole
numbers they are numbered in sorted order from 1. In the gallery identity 0 is a distractor and -1 is left out.
"""

import csv
import re
from pathlib import Path

from data.errors import UserError
from data.listing import GALLERY, QUERY, TRAIN, Listing, samples_of
from data.samples import Sample

COLUMNS = ("path", "identity", "camera", "split")
DEFAULT_NAME = "manifest.csv"
PUBLISHED: dict[str, tuple[int, int]] = {}
"""Nothing to compare one's own data with."""


def find_manifest(location: Path) -> Path:
    """The CSV that `location` means: itself, or manifest.csv, or the only .csv file in that folder."""
    if location.is_file():
        return location
    candidates = sorted(location.glob("*.csv"))
    named = [path for path in candidates if path.name == DEFAULT_NAME]
    if named or len(candidates) == 1:
        return (named or candidates)[0]
    raise UserError(f"{location}: expected {DEFAULT_NAME} or a single CSV file, found {len(candidates)} CSV files")


def is_here(location: Path) -> bool:
    """Whether `location` is a CSV file or a folder with a manifest.csv."""
    return (location.suffix.lower() == ".csv" and location.is_file()) or (location / DEFAULT_NAME).is_file()


def _numbers(texts: list[str]) -> dict[str, int]:
    """A number for each text: its own value where all are whole numbers, else its place in sorted order.

    0 and -1 stay what they are in either case: a distractor's and junk's identity.
    """
    distinct = sorted(set(texts))
    if all(re.fullmatch(r"-?\d+", text) for text in distinct):  # int() would also take 1_2 for 12
        return {text: int(text) for text in distinct}
    named = [text for text in distinct if text not in ("0", "-1")]
    return {"0": 0, "-1": -1, **{text: number for number, text in enumerate(named, start=1)}}


def _read_rows(manifest: Path) -> list[dict[str, str]]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
            if missing:
                raise UserError(f"{manifest}:1: column {missing[0]!r} is missing; needed are {','.join(COLUMNS)}")
            rows = []
            for row in reader:
                row["line"] = str(reader.line_num)
                rows.append(row)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(f"{manifest}: not readable as a CSV file in UTF-8 ({error})") from error
    for row in rows:
        for column in COLUMNS:
            if not (row[column] or "").strip():
                raise UserError(f"{manifest}:{row['line']}: {column} is empty")
        row["split"] = row["split"].strip()
        if row["split"] not in (TRAIN, QUERY, GALLERY):
            raise UserError(f"{manifest}:{row['line']}: split {row['split']!r} is none of train, query, gallery")
    return rows


def list_split(location: Path, split: str) -> Listing:
    """Everything in one split: "train", "query" or "gallery"."""
    manifest = find_manifest(location)
    rows = _read_rows(manifest)
    identities = _numbers([row["identity"].strip() for row in rows])
    cameras = _numbers([row["camera"].strip() for row in rows])
    listing = Listing(f"{manifest} ({split})", [], [], [])
    for row in rows:
        if row["split"] != split:
            continue
        path = manifest.parent / row["path"].strip()
        if not path.is_file():
            raise UserError(f"{manifest}:{row['line']}: no such image: {path}")
        sample = Sample(str(path.absolute()), identities[row["identity"].strip()], cameras[row["camera"].strip()])
        if sample.identity == -1:
            listing.junk.append(sample.path)
        else:
            listing.samples.append(sample)
    listing.samples.sort()
    return listing


def read_train(location: Path) -> list[Sample]:
    """The training images. Raises UserError with file and line for a bad row, and when there are none."""
    return samples_of(list_split(location, TRAIN))


def read_test(location: Path) -> tuple[list[Sample], list[Sample]]:
    """Query and gallery images. Raises UserError with file and line for a bad row, and when there are none."""
    return samples_of(list_split(location, QUERY)), samples_of(list_split(location, GALLERY))
