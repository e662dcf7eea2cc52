"""What a data set holds and what is wrong with it, as one Report.

report = examine("data/Market_1501")
report.splits[0].images, [finding.text for finding in report.findings]
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data.checks.findings import (
    SEVERITIES,
    Finding,
    Splits,
    left_out_images,
    no_cameras,
    remarks,
    same_pictures,
    shared_identities,
    training_findings,
    undecodable_images,
    unlike_published,
    unmatched_queries,
    without,
)
from data.checks.pictures import look_at_all, odd_pictures
from data.pixels.bad_images import OnBadImage
from data.sets.layouts import NoSplit, Reader
from data.sets.listing import DISTRACTOR, GALLERY, MAX_LEFT_OUT, QUERY, TRAIN, Listing
from data.sets.readers import find_reader
from data.system.errors import UserError


@dataclass(frozen=True)
class SplitSummary:
    """What one split holds, junk left out."""

    split: str
    """"train", "query" or "gallery"."""
    images: int
    cameras: int
    """0 where none is known."""
    images_of: dict[int, int]
    """Identity -> its number of images. Distractors are left out."""
    distractors: int
    """Gallery images that belong to nobody."""
    junk: int
    """Files that the protocol drops."""
    left_out: int
    """Image files that the reader passes over, as their names do not tell identity and camera, say."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Identity -> what the data set calls it, where that is no number of its own."""


@dataclass(frozen=True)
class Report:
    """What a data set holds, and what is wrong with it."""

    dataset: str
    """Name of the reader."""
    place: Path
    """The set's folder or CSV file."""
    images_per_identity: int
    """K of the batches that it was examined for."""
    splits: tuple[SplitSummary, ...]
    """The splits that are there."""
    findings: tuple[Finding, ...]
    """Errors first."""
    layout: str = ""
    """What people call such a set."""

    @property
    def title(self) -> str:
        """The set's own name: that of its folder, or of its CSV file without the ending."""
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
    name_pattern: str | None = None,
    outside_images: bool = False,
    max_left_out: float = MAX_LEFT_OUT,
    on_bad_image: OnBadImage = "stop",
) -> Report:
    """Reads the data set at `data_dir`, every image to its last byte, and reports on it.

    `images_per_identity` is the K of the batches (at least 1); `dataset` is as in find_dataset, the others are
    TrainConfig's: with "skip" the report is on the images that are left. Raises UserError when there is no data set.
    """
    if images_per_identity < 1:
        raise UserError(f"images_per_identity={images_per_identity} must be at least 1")
    reader, place = find_reader(data_dir, dataset, name_pattern)
    splits, findings = _read_splits(reader, place, outside_images)
    looks = look_at_all(splits)
    bad_images = {path: look.problem for path, look in looks.items() if look.problem}
    findings += undecodable_images(splits, bad_images, on_bad_image)
    if on_bad_image == "skip":
        splits = {split: without(listing, bad_images) for split, listing in splits.items()}
    findings += left_out_images(splits, max_left_out)
    findings += odd_pictures(splits, looks)
    findings += training_findings(splits, images_per_identity)
    findings += shared_identities(splits)
    findings += same_pictures(splits, set(bad_images))
    findings += unmatched_queries(splits, max_left_out)
    findings += unlike_published(reader, place, splits)
    findings += no_cameras(splits)
    findings += remarks(splits)
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    summaries = tuple(_summary(split, listing) for split, listing in splits.items())
    return Report(reader.name, place, images_per_identity, summaries, tuple(findings), reader.title)


def _read_splits(reader: Reader, place: Path, outside_images: bool) -> tuple[Splits, list[Finding]]:
    """The splits that can be used, and why the others cannot."""
    splits: Splits = {}
    findings: list[Finding] = []
    for split in (TRAIN, QUERY, GALLERY):
        try:
            listing = reader.list_split(place, split, outside_images=outside_images)
        except UserError as error:
            if any(str(error).startswith(told.text) for told in findings):  # a broken manifest says so once
                continue
            if split == TRAIN:
                findings.append(Finding("error", str(error)))
            elif isinstance(error, NoSplit):
                findings.append(Finding("warning", f"{error}, so no final evaluation"))
            else:  # they are there and cannot be read: an evaluation refuses them, too
                findings.append(Finding("error", f"{error}, so the final evaluation would fail"))
            continue
        if split == TRAIN or listing.samples:
            splits[split] = listing
        else:
            left_out = [path for files in listing.left_out.values() for path in files]
            fails = "the final evaluation would fail" if left_out else "no final evaluation"
            text = f"{listing.where}: no usable images, so {fails}"
            findings.append(Finding("error" if left_out else "warning", text, tuple(left_out + listing.junk)))
    return splits, findings


def _summary(split: str, listing: Listing) -> SplitSummary:
    images_of = Counter(sample.identity for sample in listing.samples)
    distractors = images_of.pop(DISTRACTOR, 0) if split == GALLERY else 0
    return SplitSummary(
        split=split,
        images=len(listing.samples),
        cameras=len({sample.camera for sample in listing.samples if sample.camera >= 0}),
        images_of=dict(images_of),
        distractors=distractors,
        junk=len(listing.junk),
        left_out=listing.count_left_out,
        names=listing.identity_names,
    )
