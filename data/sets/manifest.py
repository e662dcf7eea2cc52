"""Anybody's own data: a CSV file with the columns path, identity, camera and split (train, query or gallery).

    path,identity,camera,split
    cars/a17_front.jpg,a17,gate,train

Paths are relative to the CSV's folder, and stay in it unless images outside are allowed. Identities and cameras may
be any text: where one of them is no whole number, all are numbered in sorted order from 1. In the gallery identity 0
is a distractor; images of identity -1 are left out.
"""

import csv
import os
import re
from collections.abc import Mapping
from pathlib import Path

from data.sets.layouts import Reader
from data.sets.listing import GALLERY, QUERY, TRAIN, Listing, refuse_outside
from data.sets.samples import Sample
from data.system.errors import UNPRINTABLE, UserError, printable

COLUMNS = ("path", "identity", "camera", "split")
DEFAULT_NAME = "manifest.csv"
MAXIMUM_FILE_BYTES = 2**28
"""Largest CSV file; a million images need a quarter of this."""
MAXIMUM_LETTERS = 4096
"""Longest text in a column; systems take no longer paths."""
JUNK = -1
"""The identity of images that are left out."""


def find_manifest(location: Path) -> Path:
    """The CSV that `location` means: itself, or manifest.csv in it, or the only .csv file in it. Raises UserError."""
    if location.is_file():
        return location
    candidates = sorted(location.glob("*.csv"))
    named = [path for path in candidates if path.name == DEFAULT_NAME]
    if named or len(candidates) == 1:
        return (named or candidates)[0]
    raise UserError(f"{location}: expected {DEFAULT_NAME} or a single CSV file, found {len(candidates)} CSV files")


def _numbers(texts: list[str]) -> dict[str, int]:
    """Text -> number: its own value where all texts are whole numbers, else its place in sorted order, from 1.

    0 and -1, the identities of distractors and junk, keep their values in either case.
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


class ManifestReader(Reader):
    """Reads the images that a CSV file lists."""

    @property
    def sign(self) -> str:
        return DEFAULT_NAME

    def is_here(self, place: Path) -> bool:
        return (place.suffix.lower() == ".csv" and place.is_file()) or (place / DEFAULT_NAME).is_file()

    def place_without_sign(self, root: Path) -> Path:
        return find_manifest(root)

    def list_split(self, place: Path, split: str, *, outside_images: bool = False) -> Listing:
        """The rows of one split. UserError names file and line, also of an image that lies outside of the CSV's folder
        (links followed), unless `outside_images` allows that."""
        manifest = find_manifest(place)
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
            if sample.identity == JUNK:
                listing.junk.append(sample.path)
            else:
                listing.samples.append(sample)
        listing.samples.sort()
        return listing


MANIFEST = ManifestReader(name="manifest", title="manifest")
