"""Says what a data set holds and what is wrong with it: a table, a plot of images per identity, and findings.

    python -m data.doctor DIR [--dataset NAME] [--images-per-identity K] [--on-bad-image skip]
        [--outside-images] [--plot FILE]

Exit code 0: training can start (there may be warnings). 1: training or the final evaluation would fail. 2: there
is no data set there.
"""

import argparse
import os
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.checks.findings import (
    DISTRACTOR,
    TITLES,
    Finding,
    Splits,
    queries_without_match,
    same_pictures,
    shared_identities,
    training_findings,
    unlike_published,
    unmatched_names,
    unreadable,
    unreadable_findings,
    without,
)
from data.pixels.bad_images import OnBadImage
from data.sets.listing import GALLERY, QUERY, TRAIN, Listing
from data.sets.readers import READERS, find_dataset
from data.system.errors import UserError, exit_on_user_error
from data.system.options import add_image_options, image_options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SPLITS = (TRAIN, QUERY, GALLERY)
SHOWN_FILES = 3
"""How many of a finding's files the command names."""


@dataclass(frozen=True)
class SplitSummary:
    """What one split holds, junk left out."""

    split: str
    """"train", "query" or "gallery"."""
    images: int
    cameras: int
    images_of: dict[int, int]
    """Identity -> its number of images; without distractors."""
    distractors: int
    """Gallery images that belong to nobody."""
    junk: int
    """Files that the protocol drops."""
    unmatched: int
    """Image files whose name says nothing."""


@dataclass(frozen=True)
class Report:
    """All that the doctor found out."""

    dataset: str
    """Name of the reader."""
    place: Path
    """The set's folder or CSV file."""
    images_per_identity: int
    """K of the batches that it was examined for."""
    splits: tuple[SplitSummary, ...]
    """Those that are there."""
    findings: tuple[Finding, ...]
    """Errors first."""

    @property
    def title(self) -> str:
        """The set's own name: its folder's, or the CSV file's without its ending."""
        place = self.place.resolve()
        return place.stem if place.is_file() else place.name

    @property
    def breaks_training(self) -> bool:
        """Whether training or the final evaluation would fail."""
        return any(finding.severity == "error" for finding in self.findings)


def examine(
    data_dir: str | Path,
    dataset: str | None = None,
    images_per_identity: int = 4,
    *,
    outside_images: bool = False,
    on_bad_image: OnBadImage = "stop",
) -> Report:
    """Reads the data set at `data_dir`, every image to its last byte, and gives what there is to say about it.

    `images_per_identity` is the K of the batches (at least 1); `dataset` is as in find_dataset, the others are
    TrainConfig's: with "skip" the report is on the images that are left. Raises UserError when there is no data set.
    """
    if images_per_identity < 1:
        raise UserError(f"images_per_identity={images_per_identity} must be at least 1")
    name, place = find_dataset(data_dir, dataset)
    splits: Splits = {}
    findings: list[Finding] = []
    for split in SPLITS:
        listing = _list(name, place, split, outside_images)
        if isinstance(listing, Listing):
            splits[split] = listing
        elif not any(listing.text.startswith(told.text) for told in findings):  # a broken manifest says so once
            findings.append(listing)
    bad = unreadable(splits)
    findings += unreadable_findings(splits, bad, skipped=on_bad_image == "skip")
    if on_bad_image == "skip":
        splits = {split: without(listing, bad) for split, listing in splits.items()}
    findings += unmatched_names(splits)
    if TRAIN in splits:
        findings += training_findings(splits[TRAIN].samples, images_per_identity)
    findings += shared_identities(splits)
    findings += same_pictures(splits, set(bad))
    findings += queries_without_match(splits)
    findings += unlike_published(name, splits)
    severities = ("error", "warning", "note")
    findings.sort(key=lambda finding: severities.index(finding.severity))
    summaries = tuple(_summary(split, listing) for split, listing in splits.items())
    return Report(name, place, images_per_identity, summaries, tuple(findings))


def _list(name: str, place: Path, split: str, outside_images: bool) -> Listing | Finding:
    """What lies in a split, or why it cannot be used."""
    try:
        listing: Listing = READERS[name].list_split(place, split, outside_images=outside_images)
    except UserError as error:
        if split == TRAIN:
            return Finding("error", str(error))
        return Finding("warning", f"{error}, so no final evaluation")
    if split != TRAIN and not listing.samples:
        return Finding(
            "warning",
            f"{listing.where}: no usable images, so no final evaluation",
            tuple(listing.unmatched + listing.junk),
        )
    return listing


def _summary(split: str, listing: Listing) -> SplitSummary:
    images_of = Counter(sample.identity for sample in listing.samples)
    distractors = images_of.pop(DISTRACTOR, 0) if split == GALLERY else 0
    return SplitSummary(
        split=split,
        images=len(listing.samples),
        cameras=len({sample.camera for sample in listing.samples}),
        images_of=dict(images_of),
        distractors=distractors,
        junk=len(listing.junk),
        unmatched=len(listing.unmatched),
    )


@exit_on_user_error
def main() -> int:
    options = parse_arguments()
    from rich.console import Console

    from data.checks.plots import plot_distribution

    console = Console(highlight=False)
    with console.status("reading every image"):
        report = examine(options.data_dir, options.dataset, options.images_per_identity, **image_options(options))
    console.print(_table(report))
    plot = options.plot or Path("results/doctor") / f"{report.title}_distribution.png"
    plot_distribution(report, plot)
    console.print(f"images per identity drawn in {plot}", markup=False, soft_wrap=True)
    for finding in report.findings:
        _print_finding(console, finding, report.place)
    if not report.findings:
        console.print("nothing wrong was found")
    return 1 if report.breaks_training else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m data.doctor",
        description="Says what a data set holds and what is wrong with it. Exit code 0: training can start; "
        "1: training or the final evaluation would fail; 2: there is no data set there.",
    )
    parser.add_argument("data_dir", metavar="DIR", help="the data set, its parent folder, or a manifest's CSV file")
    parser.add_argument("--dataset", choices=list(READERS), help="its kind (default: detected)")
    parser.add_argument(
        "--images-per-identity", type=int, default=4, metavar="K", help="K of the batches (%(default)s)"
    )
    add_image_options(parser)
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="default: results/doctor/<name of the set>_distribution.png"
    )
    return parser.parse_args()


def _table(report: Report) -> "Table":
    """A column for each split, as more would not fit beside each other on a narrow terminal."""
    from rich.markup import escape
    from rich.table import Table

    title = f"{report.title}, laid out as {TITLES.get(report.dataset, report.dataset)}"
    table = Table(title=escape(title), title_justify="left")
    table.add_column()
    for split in report.splits:
        table.add_column(split.split, justify="right")
    counts = [list(split.images_of.values()) or [0] for split in report.splits]
    rows: dict[str, Sequence[float]] = {
        "images": [split.images for split in report.splits],
        "identities": [len(split.images_of) for split in report.splits],
        "cameras": [split.cameras for split in report.splits],
        "images per identity: min": [min(count) for count in counts],
        "  median": [statistics.median(count) for count in counts],
        "  max": [max(count) for count in counts],
        "distractors (among the images)": [split.distractors for split in report.splits],
        "junk, left out": [split.junk for split in report.splits],
        "names that do not match, left out": [split.unmatched for split in report.splits],
    }
    for name, numbers in rows.items():
        table.add_row(name, *(f"{number:,.6g}" for number in numbers))
    return table


def _print_finding(console: "Console", finding: Finding, place: Path) -> None:
    from rich.text import Text

    colour = {"error": "bold red", "warning": "yellow", "note": "cyan"}[finding.severity]
    console.print(Text.assemble((finding.severity, colour), ": ", finding.text), soft_wrap=True)
    root = place if place.is_dir() else place.parent
    for path in finding.files[:SHOWN_FILES]:
        shown = os.path.relpath(path, root.resolve())
        console.print(f"    {shown}", markup=False, soft_wrap=True)
    if len(finding.files) > SHOWN_FILES:
        console.print(f"    and {len(finding.files) - SHOWN_FILES:,} more files")


if __name__ == "__main__":
    main()
