"""Says what a data set holds and what is wrong with it: a table, a plot of images per identity, and findings.

    python -m data.doctor DIR [--dataset NAME] [--images-per-identity K] [--on-bad-image skip]
        [--outside-images] [--plot FILE]

Exit code 0: training can start (there may be warnings). 1: training or the final evaluation would fail. 2: there
is no data set there.
"""

import argparse
import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data.cache import content_digests, in_threads
from data.command_line import add_image_options, image_options
from data.datasets import READERS, find_dataset
from data.errors import UserError, exit_on_user_error
from data.image import problem_with
from data.listing import GALLERY, QUERY, TRAIN, Listing
from data.samples import Sample
from data.splits import MINIMUM_VALIDATION_IDENTITIES
from data.usable import OnBadImage

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

DISTRACTOR = 0
"""The identity of gallery images that belong to nobody."""
SPLITS = (TRAIN, QUERY, GALLERY)
TITLES = {"market1501": "Market-1501", "veri": "VeRi-776"}
SHOWN_FILES = 3
"""How many of a finding's files the command names."""

Severity = Literal["error", "warning", "note"]
Splits = dict[str, Listing]


@dataclass(frozen=True)
class Finding:
    """Something about the data that its user should know."""

    severity: Severity
    """"error": training or the final evaluation would fail; "warning": results would suffer; "note": harmless."""
    text: str
    """One line: what, how many, and what follows from it."""
    files: tuple[str, ...] = ()
    """All files concerned, sorted."""


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
    unreadable = _unreadable(splits)
    findings += _unreadable_findings(splits, unreadable, skipped=on_bad_image == "skip")
    if on_bad_image == "skip":
        splits = {split: _without(listing, unreadable) for split, listing in splits.items()}
    findings += _unmatched_names(splits)
    if TRAIN in splits:
        findings += _training_findings(splits[TRAIN].samples, images_per_identity)
    findings += _shared_identities(splits)
    findings += _same_pictures(splits, set(unreadable))
    findings += _queries_without_match(splits)
    findings += _unlike_published(name, splits)
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


# --- the findings ---


def _unreadable(splits: Splits) -> dict[str, str]:
    """Path -> what is wrong, for the images that cannot be decoded to their last byte."""
    paths = _paths(sample for listing in splits.values() for sample in listing.samples)
    return {path: why for path, why in zip(paths, in_threads(problem_with, paths), strict=True) if why}


def _unreadable_findings(splits: Splits, unreadable: dict[str, str], *, skipped: bool) -> list[Finding]:
    findings = []
    for split, listing in splits.items():
        broken = [path for path in _paths(listing.samples) if path in unreadable]
        if broken:
            fails = "training" if split == TRAIN else "the final evaluation"
            follows = "left out" if skipped else f"so {fails} would fail, unless on_bad_image=skip leaves them out"
            text = f"{split}: {_images(broken)} unreadable, {follows}; {unreadable[broken[0]]}"
            findings.append(Finding("warning" if skipped else "error", text, tuple(broken)))
    return findings


def _without(listing: Listing, unreadable: dict[str, str]) -> Listing:
    return replace(listing, samples=[sample for sample in listing.samples if sample.path not in unreadable])


def _unmatched_names(splits: Splits) -> list[Finding]:
    return [
        Finding(
            "warning",
            f"{split}: {_images(listing.unmatched)} left out, as the name does not tell identity and camera",
            tuple(listing.unmatched),
        )
        for split, listing in splits.items()
        if listing.unmatched
    ]


def _training_findings(samples: list[Sample], images_per_identity: int) -> list[Finding]:
    """What keeps the training images from being split and put into batches of P x K."""
    if not samples:
        return [Finding("error", "there are no training images")]
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.identity].append(sample)
    findings = []
    needed = MINIMUM_VALIDATION_IDENTITIES + 2
    if len(groups) < needed:
        text = f"{_identities(groups.values())}, at least {needed} are needed: {needed - 2} are held out for validation"
        findings.append(Finding("error", text))
    one_camera = [group for group in groups.values() if len({sample.camera for sample in group}) == 1]
    if len(one_camera) == len(groups):
        text = "no training identity is seen by two cameras, so no validation query could have a match"
        findings.append(Finding("error", text))
    elif one_camera:
        text = f"{_identities(one_camera)} seen by a single camera: nothing to learn or validate across cameras"
        findings.append(Finding("warning", text, _paths(sample for group in one_camera for sample in group)))
    small = [group for group in groups.values() if len(group) < images_per_identity]
    if small:
        text = f"{_identities(small)} with fewer than {_some(images_per_identity, 'image')}: batches repeat some"
        findings.append(Finding("warning", text, _paths(sample for group in small for sample in group)))
    return findings


def _shared_identities(splits: Splits) -> list[Finding]:
    training = {sample.identity for sample in splits[TRAIN].samples} if TRAIN in splits else set()
    shared = [sample for sample in _test(splits) if sample.identity in training - {DISTRACTOR}]
    if not shared:
        return []
    count = _some(len({sample.identity for sample in shared}), "identity", "identities")
    text = f"{count} in both training and test: test results would look better than they are"
    return [Finding("warning", text, _paths(shared))]


def _same_pictures(splits: Splits, unreadable: set[str]) -> list[Finding]:
    """Files with the same bytes on both sides of a border that no picture should cross."""
    paths = {
        split: [path for path in _paths(listing.samples) if path not in unreadable] for split, listing in splits.items()
    }
    everything = [path for split in paths.values() for path in split]
    digest_of = dict(zip(everything, content_digests(everything), strict=True))
    borders = [
        (paths.get(TRAIN, []), paths.get(QUERY, []) + paths.get(GALLERY, []), "training and test"),
        (paths.get(QUERY, []), paths.get(GALLERY, []), "query and gallery"),
    ]
    findings = []
    for one_side, other_side, border in borders:
        common = {digest_of[path] for path in one_side} & {digest_of[path] for path in other_side}
        # A picture's files stand together, so that the ones that are shown are a pair.
        files = sorted((digest_of[path], path) for path in {*one_side, *other_side} if digest_of[path] in common)
        if common:
            text = f"{_some(len(common), 'picture')} in both {border}: test results would look better than they are"
            findings.append(Finding("warning", text, tuple(path for _, path in files)))
    return findings


def _queries_without_match(splits: Splits) -> list[Finding]:
    if QUERY not in splits or GALLERY not in splits:
        return []
    cameras_of: dict[int, set[int]] = defaultdict(set)
    for sample in splits[GALLERY].samples:
        cameras_of[sample.identity].add(sample.camera)
    alone = [sample for sample in splits[QUERY].samples if not cameras_of[sample.identity] - {sample.camera}]
    if not alone:
        return []
    queries = _some(len(alone), "query", "queries")
    text = f"{queries} without a match, left out of the results: the gallery has no other camera's image"
    return [Finding("warning", text, _paths(alone))]


def _unlike_published(name: str, splits: Splits) -> list[Finding]:
    differences = []
    for split, (images, identities) in READERS[name].PUBLISHED.items():
        if split in splits:
            samples = splits[split].samples
            here = (len(samples), len({sample.identity for sample in samples}))
            if here != (images, identities):
                differences.append(f"{split} {here[0]:,} of {here[1]:,} (published {images:,} of {identities:,})")
    if not differences:
        return []
    text = f"this is not the published {TITLES[name]}; images of identities: {', '.join(differences)}"
    return [Finding("note", text)]


def _test(splits: Splits) -> list[Sample]:
    return [sample for split in (QUERY, GALLERY) if split in splits for sample in splits[split].samples]


def _paths(samples: Iterable[Sample]) -> tuple[str, ...]:
    return tuple(sorted({sample.path for sample in samples}))


def _some(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _images(files: Sequence[str]) -> str:
    return _some(len(files), "image")


def _identities(groups: Collection[list[Sample]]) -> str:
    return _some(len(groups), "training identity", "training identities")


# --- the command ---


@exit_on_user_error
def main() -> int:
    options = parse_arguments()
    from rich.console import Console

    from data.plots import plot_distribution

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
