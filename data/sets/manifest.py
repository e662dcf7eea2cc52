"""Anybody's own data: a CSV file that lists images, with the columns path, identity, camera and split.

    path,identity,camera,split
    cars/a17_front.jpg,a17,gate,train

Paths are relative to the CSV's folder, and stay in it unless images outside are allowed. Identities and cameras may
be any text: where one of them is no whole number, or two are the same number (7 and 007), all are numbered in sorted
order from 1. In the gallery identity 0 is a distractor; images of identity -1 or `unknown` are left out.

`camera` may be missing or empty: then each image has a camera of its own. A camera may be any grouping whose images of
one identity are too alike to count as matches: a session, a day, a video. Where `split` is missing, identities are held
out for the test (data/sets/rows.py). An image of the split `test` (or val, validation) is query and gallery.

The CSV files of OML (open-metric-learning: label, split, is_query, is_gallery, path, sequence) and of wildlife-datasets
(image_id, identity, path) are read as they are: `label` is the identity, and the two flags say which of the images that
are not for training are queries and which gallery. For a query of a `sequence` all images of that sequence are left
out, whomever they show; a sequence is a camera, too. Boxes (OML's x_1, x_2, y_1, y_2; wildlife's bbox [x, y, width,
height]; pixels of the upright picture) are cut out when a picture is decoded.

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
from data.sets.rows import Row, list_rows
from data.sets.samples import Box
from data.system.errors import UNPRINTABLE, UserError, printable

NEEDED = ("path", "identity")
CORNERS = ("x_1", "x_2", "y_1", "y_2")
COLUMNS = (*NEEDED, "camera", "sequence", "split", "is_query", "is_gallery", "bbox", *CORNERS)
"""The columns that are read; others may be there."""
ALSO_CALLED = {"label": "identity"}
"""A column's name in others' files -> the one that it stands for where that is missing."""
SPLITS = {
    **{split: (split,) for split in (TRAIN, QUERY, GALLERY)},
    **dict.fromkeys(("test", "val", "validation"), (QUERY, GALLERY)),
}
"""What `split` may say -> the splits that an image is in."""
FLAGS = {**dict.fromkeys(("true", "1", "1.0"), True), **dict.fromkeys(("", "false", "0", "0.0", "none", "nan"), False)}
DEFAULT_NAME = "manifest.csv"
MAXIMUM_FILE_BYTES = 2**28
"""Largest CSV file; a million images need a quarter of this."""
MAXIMUM_LETTERS = 4096
"""Longest text in a column; systems take no longer paths."""


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


def _read_rows(manifest: Path) -> list[Row]:
    """The file's lines, each checked."""
    text = _read_text(manifest)
    begin = text.lstrip("\r\n")[:MAXIMUM_LETTERS].partition("\n")[0]
    delimiter = begin[4] if re.match(r"sep=.", begin) else max(",;\t", key=begin.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    rows: list[Row] = []
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
            row = dict.fromkeys(columns, "") | dict(zip(columns, map(str.strip, cells), strict=False))
            rows.append(_checked({column: row[column] for column in COLUMNS if column in row}, where))
    except csv.Error as error:
        raise UserError(
            f"{manifest}:{line + 1}: not readable as a CSV file ({error}; is a quotation mark missing?)"
        ) from error
    if not columns:
        raise UserError(f"{manifest}:1: column 'path' is missing, the file is empty; needed are {','.join(NEEDED)}")
    return rows


def _columns(cells: list[str], where: str) -> list[str]:
    """The names of the columns in the header, as COLUMNS has them. Raises UserError, which begins with `where`."""
    columns = [cell.strip().lower() for cell in cells]
    columns = [ALSO_CALLED[name] if ALSO_CALLED.get(name, name) not in columns else name for name in columns]
    for column in COLUMNS:
        times = columns.count(column)
        if times > 1 or (not times and column in NEEDED):
            problem = "is missing" if not times else f"is there {times} times"
            header = printable(",".join(columns)[:80])
            raise UserError(
                f"{where}: column {column!r} {problem}; needed are {','.join(NEEDED)}, the header is {header}"
            )
    return columns


def _checked(row: Mapping[str, str], where: str) -> Row:
    """A line's row. Raises UserError, which begins with `where`, for a line that says nothing usable."""
    for column, text in row.items():
        if not text and column in (*NEEDED, "split"):
            raise UserError(f"{where}: {column} is empty")
        if len(text) > MAXIMUM_LETTERS:
            raise UserError(f"{where}: {column} has {len(text):,} letters, more than {MAXIMUM_LETTERS:,}")
        if UNPRINTABLE.search(text):
            raise UserError(f"{where}: {column} '{printable(text[:80])}' holds control characters")
    sequence = row.get("sequence", "")
    camera = sequence or row.get("camera", "")
    return Row(row["path"], row["identity"], camera, _splits(row, where), sequence, _box(row, where), where)


def _box(row: Mapping[str, str], where: str) -> Box | None:
    """The box of a line, where it has one. Raises UserError."""
    corners = [row.get(name, "") for name in CORNERS]
    texts = corners if any(corners) else row.get("bbox", "").strip("[]()").split(",")
    if {text.strip().lower() for text in texts} <= {"", "nan", "none"}:
        return None
    try:
        numbers = [float(text) for text in texts]
        left, top, right, bottom = (
            (numbers[0], numbers[2], numbers[1], numbers[3])
            if texts is corners
            else (numbers[0], numbers[1], numbers[0] + numbers[2], numbers[1] + numbers[3])
        )
        x, y = max(0, round(left)), max(0, round(top))
        width, height = round(right) - x, round(bottom) - y
    except (ValueError, IndexError, OverflowError) as error:
        raise UserError(f"{where}: a box is x_1, x_2, y_1, y_2 or a bbox [x, y, width, height], in pixels") from error
    if width < 1 or height < 1:
        raise UserError(f"{where}: the box has no pixels: {', '.join(texts)[:80]}")
    return x, y, width, height


def _splits(row: Mapping[str, str], where: str) -> tuple[str, ...] | None:
    """The splits that a line puts its image in; None where the file does not tell. Raises UserError."""
    flags = {split: row[f"is_{split}"].lower() for split in (QUERY, GALLERY) if f"is_{split}" in row}
    for split, flag in flags.items():
        if flag not in FLAGS:
            raise UserError(f"{where}: is_{split} {flag[:80]!r} is neither true nor false")
    flagged = tuple(split for split, flag in flags.items() if FLAGS[flag])
    if "split" not in row:
        return (flagged or (TRAIN,)) if flags else None
    if (said := row["split"].lower()) not in SPLITS:
        raise UserError(f"{where}: split {row['split'][:80]!r} is none of {', '.join(SPLITS)}")
    if not flags or len(SPLITS[said]) == 1:
        return SPLITS[said]
    if not flagged:
        raise UserError(f"{where}: split {said}, and neither is_query nor is_gallery is true; set one of them")
    return flagged


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
        root = os.path.realpath(manifest.parent)

        def path_of(row: Row) -> str:
            path = _image(manifest.parent, row.name)
            if not outside_images:
                refuse_outside(f"{row.where}: {row.name}", str(path), [root])
            if not os.path.isfile(path):  # noqa: PTH113 - Path's raises for names that are too long
                raise UserError(f"{row.where}: no such image: {path}")
            return str(path.absolute())

        return list_rows(_read_rows(manifest), split, f"{manifest} ({split})", path_of)


MANIFEST = ManifestReader(name="manifest", title="manifest")
