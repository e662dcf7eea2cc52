"""Anybody's own data: a CSV file with the columns path, identity, camera and split (train, query or gallery).

    path,identity,camera,split
    cars/a17_front.jpg,a17,gate,train

Paths are relative to the CSV's folder, and stay in it unless images outside are allowed. Identities and cameras may
be any text: where they are not all whole numbers they are numbered in sorted order from 1. In the gallery identity 0
is a distractor and -1 is left out.
"""

import csv
import os
import re
from collections.abc import Mapping
from pathlib import Path

from data.sets.listing import GALLERY, QUERY, TRAIN, Listing, refuse_outside, samples_of
from data.sets.samples import Sample
from data.system.errors import UNPRINTABLE, UserError, printable

COLUMNS = ("path", "identity", "camera", "split")
DEFAULT_NAME = "manifest.csv"
MAXIMUM_FILE_BYTES = 2**28
"""Of the CSV file; a million images need a quarter of it."""
MAXIMUM_LETTERS = 4096
"""Of a column; systems take no longer paths."""
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
    # int() would also take 1_2 for 12, and more digits than a tensor's numbers have.
    if all(re.fullmatch(r"-?[0-9]{1,18}", text) for text in distinct):
        return {text: int(text) for text in distinct}
    named = [text for text in distinct if text not in ("0", "-1")]
    return {"0": 0, "-1": -1, **{text: number for number, text in enumerate(named, start=1)}}


def _read_rows(manifest: Path) -> list[dict[str, str]]:
    rows, reader = [], None
    try:
        if manifest.stat().st_size > MAXIMUM_FILE_BYTES:
            raise UserError(f"{manifest}: more than {MAXIMUM_FILE_BYTES:,} bytes are no list of images")
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
            if missing:
                raise UserError(f"{manifest}:1: column {missing[0]!r} is missing; needed are {','.join(COLUMNS)}")
            for row in reader:
                _check_row(row, f"{manifest}:{reader.line_num}")
                rows.append({column: row[column].strip() for column in COLUMNS} | {"line": str(reader.line_num)})
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        line = f":{reader.line_num + 1}" if reader is not None and isinstance(error, csv.Error) else ""
        reason = f"{error}; is a quotation mark missing?" if line else getattr(error, "strerror", None) or error
        raise UserError(f"{manifest}{line}: not readable as a CSV file in UTF-8 ({reason})") from error
    return rows


def _check_row(row: Mapping[str, str | None], where: str) -> None:
    """Raises UserError, which begins with `where`, for a row that says nothing usable."""
    for column in COLUMNS:
        text = (row[column] or "").strip()
        if not text:
            raise UserError(f"{where}: {column} is empty")
        if len(text) > MAXIMUM_LETTERS:
            raise UserError(f"{where}: {column} has {len(text):,} letters, more than {MAXIMUM_LETTERS:,}")
        if UNPRINTABLE.search(text):
            raise UserError(f"{where}: {column} '{printable(text[:80])}' holds control characters")
    if (split := str(row["split"]).strip()) not in (TRAIN, QUERY, GALLERY):
        raise UserError(f"{where}: split {split[:80]!r} is none of train, query, gallery")


def list_split(location: Path, split: str, *, outside_images: bool = False) -> Listing:
    """Everything in one split: "train", "query" or "gallery".

    Raises UserError for an image that lies, links followed, outside of the CSV's folder, without `outside_images`.
    """
    manifest = find_manifest(location)
    rows = _read_rows(manifest)
    identities = _numbers([row["identity"] for row in rows])
    cameras = _numbers([row["camera"] for row in rows])
    listing = Listing(f"{manifest} ({split})", [], [], [])
    root = os.path.realpath(manifest.parent)
    for row in rows:
        if row["split"] != split:
            continue
        path, where = manifest.parent / row["path"], f"{manifest}:{row['line']}"
        if not outside_images:
            refuse_outside(f"{where}: {row['path']}", str(path), [root])
        if not os.path.isfile(path):  # noqa: PTH113 - Path's raises for names that are too long
            raise UserError(f"{where}: no such image: {path}")
        sample = Sample(str(path.absolute()), identities[row["identity"]], cameras[row["camera"]])
        if sample.identity == -1:
            listing.junk.append(sample.path)
        else:
            listing.samples.append(sample)
    listing.samples.sort()
    return listing


def read_train(location: Path, *, outside_images: bool = False) -> list[Sample]:
    """The training images. Raises UserError with file and line for a bad row, and when there are none."""
    return samples_of(list_split(location, TRAIN, outside_images=outside_images))


def read_test(location: Path, *, outside_images: bool = False) -> tuple[list[Sample], list[Sample]]:
    """Query and gallery images. Raises UserError with file and line for a bad row, and when there are none."""
    query, gallery = (list_split(location, split, outside_images=outside_images) for split in (QUERY, GALLERY))
    return samples_of(query), samples_of(gallery)
