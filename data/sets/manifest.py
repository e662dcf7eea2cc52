"""Anybody's own data: a CSV file with the columns path, identity, camera and split (train, query or gallery).

    path,identity,camera,split
    cars/a17_front.jpg,a17,gate,train

Paths are relative to the CSV's folder, and stay in it unless images outside are allowed. Identities and cameras may
be any text: where one of them is no whole number, or two are the same number (7 and 007), all are numbered in sorted
order from 1. In the gallery identity 0 is a distractor; images of identity -1 are left out.

What Excel and Windows write is taken, too: semicolons or tabs between cells, capitals in the columns' names and in
splits, UTF-16, empty lines at the end, back slashes in paths, and accents in one character or in two.
"""

import codecs
import csv
import io
import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from data.sets.layouts import Reader
from data.sets.listing import GALLERY, QUERY, TRAIN, Listing, is_foreign, refuse_outside, write_manifest
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
    candidates = sorted(path for path in location.glob("*.csv") if not is_foreign(path.name))
    named = [path for path in candidates if path.name == DEFAULT_NAME]
    if named or len(candidates) == 1:
        return (named or candidates)[0]
    found = f"expected {DEFAULT_NAME} or a single CSV file, found {len(candidates)} CSV files"
    raise UserError(f"{location}: {found}; {'name one of them' if candidates else write_manifest(location)}")


def _numbers(texts: list[str]) -> dict[str, int]:
    """Text -> number: its own value where all are different whole numbers, else its place in sorted order, from 1.

    0 and -1, the identities of distractors and junk, keep their values in either case.
    """
    distinct = sorted(set(texts))
    # int() would also take 1_2 for 12, and more digits than a tensor's numbers have.
    if all(re.fullmatch(r"[0-9]{1,18}|-[1-9][0-9]{0,17}", text) for text in distinct):
        values = {text: int(text) for text in distinct}
        if len(set(values.values())) == len(values):
            return values
    named = [text for text in distinct if text not in ("0", "-1")]
    return {"0": 0, "-1": -1, **{text: number for number, text in enumerate(named, start=1)}}


def _names(numbers: Mapping[str, int]) -> dict[int, str]:
    """Number -> text, where they differ."""
    return {number: text for text, number in numbers.items() if text != str(number)}


def _read_text(manifest: Path) -> str:
    """What the file says, in UTF-8 or, where it begins with a mark of it, in UTF-16."""
    try:
        if manifest.stat().st_size > MAXIMUM_FILE_BYTES:
            raise UserError(f"{manifest}: more than {MAXIMUM_FILE_BYTES:,} bytes are no list of images")
        content = manifest.read_bytes()
    except OSError as error:
        raise UserError(f"{manifest}: not readable as a CSV file ({error.strerror or error})") from error
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{manifest}:{line}: not readable as a CSV file in UTF-8 ({error.reason} at byte {error.start}); save it "
            "as `CSV UTF-8`, or convert what Windows wrote: iconv -f CP1252 -t UTF-8 OLD.csv > manifest.csv"
        ) from error


def _read_rows(manifest: Path) -> list[dict[str, str]]:
    """The four columns of each row, and its line."""
    text = _read_text(manifest)
    begin = text.lstrip("\r\n")[:MAXIMUM_LETTERS].partition("\n")[0]
    delimiter = begin[4] if re.match(r"sep=.", begin) else max(",;\t", key=begin.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    rows: list[dict[str, str]] = []
    columns: list[str] = []
    line = 0
    try:
        for cells in reader:
            line, where = reader.line_num, f"{manifest}:{reader.line_num}"
            if not any(cell.strip() for cell in cells) or (not columns and cells[0] == "sep="):
                continue
            if not columns:
                columns = _columns(cells, where)
                continue
            if any(cell.strip() for cell in cells[len(columns) :]):
                raise UserError(f"{where}: {len(cells)} cells; put text that holds {delimiter!r} into quotation marks")
            row = {column: cell.strip() for column, cell in zip(columns, cells, strict=False)}
            rows.append({**_checked(row, where), "line": str(line)})
    except csv.Error as error:
        raise UserError(
            f"{manifest}:{line + 1}: not readable as a CSV file ({error}; is a quotation mark missing?)"
        ) from error
    if not columns:
        raise UserError(f"{manifest}:1: column 'path' is missing, the file is empty; needed are {','.join(COLUMNS)}")
    return rows


def _columns(cells: list[str], where: str) -> list[str]:
    """The names of the columns in the header. Raises UserError, which begins with `where`."""
    columns = [cell.strip().lower() for cell in cells]
    for column in COLUMNS:
        if (times := columns.count(column)) != 1:
            problem = "is missing" if not times else f"is there {times} times"
            header = printable(",".join(columns)[:80])
            raise UserError(
                f"{where}: column {column!r} {problem}; needed are {','.join(COLUMNS)}, the header is {header}"
            )
    return columns


def _checked(row: Mapping[str, str], where: str) -> dict[str, str]:
    """The four columns of a row. Raises UserError, which begins with `where`, for a row that says nothing usable."""
    for column in COLUMNS:
        text = row.get(column, "")
        if not text:
            raise UserError(f"{where}: {column} is empty")
        if len(text) > MAXIMUM_LETTERS:
            raise UserError(f"{where}: {column} has {len(text):,} letters, more than {MAXIMUM_LETTERS:,}")
        if UNPRINTABLE.search(text):
            raise UserError(f"{where}: {column} '{printable(text[:80])}' holds control characters")
    if (split := row["split"].lower()) not in (TRAIN, QUERY, GALLERY):
        raise UserError(
            f"{where}: split {row['split'][:80]!r} is none of train, query, gallery; test images are queries or lie in "
            "the gallery that is looked through"
        )
    return {column: row[column] for column in COLUMNS} | {"split": split}


def _image(folder: Path, path: str) -> Path:
    """The image that a row's path means: the first that is there of the path as it is, with Windows' back slashes
    turned, and with accents as macOS writes them or as others do (ä in two characters or in one)."""
    if path.isascii() and "\\" not in path:
        return folder / path
    turned = path.replace("\\", "/")
    names = (path, turned, unicodedata.normalize("NFD", turned), unicodedata.normalize("NFC", turned))
    return next((folder / name for name in names if os.path.isfile(folder / name)), folder / turned)  # noqa: PTH113


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
        listing = Listing(
            f"{manifest} ({split})", [], {}, [], identity_names=_names(identities), camera_names=_names(cameras)
        )
        root, lines = os.path.realpath(manifest.parent), dict[str, str]()
        for row in rows:
            if row["split"] != split:
                continue
            path, where = _image(manifest.parent, row["path"]), f"{manifest}:{row['line']}"
            if not outside_images:
                refuse_outside(f"{where}: {row['path']}", str(path), [root])
            if not os.path.isfile(path):  # noqa: PTH113 - Path's raises for names that are too long
                raise UserError(f"{where}: no such image: {path}")
            sample = Sample(str(path.absolute()), identities[row["identity"]], cameras[row["camera"]])
            if (earlier := lines.setdefault(sample.path, row["line"])) != row["line"]:
                raise UserError(
                    f"{where}: {row['path']} is listed for {split} in line {earlier} already; keep one line"
                )
            if sample.identity == JUNK:
                listing.junk.append(sample.path)
            else:
                listing.samples.append(sample)
        listing.samples.sort()
        return listing


MANIFEST = ManifestReader(name="manifest", title="manifest")
