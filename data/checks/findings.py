"""What data.doctor can find wrong with a data set: a function for each kind of mistake."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from data.pixels.bad_images import OnBadImage
from data.pixels.digests import content_digests
from data.sets.layouts import Reader
from data.sets.listing import DISTRACTOR, GALLERY, QUERY, TRAIN, Listing, allow, queries_without_match, too_many
from data.sets.samples import Sample, knows_cameras
from data.sets.splits import MINIMUM_VALIDATION_IDENTITIES

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
Splits = dict[str, Listing]
"""What lies in each split that can be used."""


@dataclass(frozen=True)
class Finding:
    """Something about the data that its user should know."""

    severity: Severity
    """"error": training or the final evaluation would fail; "warning": results would suffer; "note": harmless."""
    text: str
    """One line: what, how many, and what follows from it."""
    files: tuple[str, ...] = ()
    """The files that it is about, sorted; copies of a picture stand side by side."""


def undecodable_images(splits: Splits, bad_images: dict[str, str], on_bad_image: OnBadImage) -> list[Finding]:
    findings = []
    for split, listing in splits.items():
        broken = [path for path in _paths(listing.samples) if path in bad_images]
        if not broken:
            continue
        fails = "training" if split == TRAIN else "the final evaluation"
        consequences: dict[OnBadImage, tuple[Severity, str]] = {
            "stop": ("error", f"so {fails} would fail, unless on_bad_image=skip leaves them out"),
            "skip": ("warning", "left out"),
        }
        severity, follows = consequences[on_bad_image]
        text = f"{split}: {_images(broken)} unreadable, {follows}; {bad_images[broken[0]]}"
        findings.append(Finding(severity, text, tuple(broken)))
    return findings


def without(listing: Listing, bad_images: Collection[str]) -> Listing:
    """The listing less the samples with these paths."""
    return replace(listing, samples=[sample for sample in listing.samples if sample.path not in bad_images])


def left_out_images(splits: Splits, max_left_out: float) -> list[Finding]:
    """Images that the reader passes over: an error where a run would refuse them."""
    findings = []
    for split, listing in splits.items():
        refused = too_many(listing.count_left_out, listing.count, max_left_out)
        fails = "training" if split == TRAIN else "the final evaluation"
        follows = f", so {fails} would fail, unless {allow(listing.count_left_out, listing.count)}" if refused else ""
        for why, files in listing.left_out.items():
            text = f"{split}: {_images(files)} left out, {why}{follows}"
            findings.append(Finding("error" if refused else "warning", text, tuple(files)))
    return findings


def training_findings(splits: Splits, images_per_identity: int) -> list[Finding]:
    """What keeps the training images from being split and put into batches of P x K."""
    if TRAIN not in splits:
        return []
    samples = splits[TRAIN].samples
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
    known = knows_cameras(samples)
    if len(one_camera) == len(groups):
        twice = "is seen by two cameras" if known else "has two images"
        text = f"no training identity {twice}, so no validation query could have a match"
        findings.append(Finding("error", text))
    elif one_camera:
        alone = "seen by a single camera" if known else "with a single image"
        across = "cameras" if known else "images"
        text = f"{_identities(one_camera)} {alone}: nothing to learn or validate across {across}"
        findings.append(Finding("warning", text, _paths(sample for group in one_camera for sample in group)))
    small = [group for group in groups.values() if len(group) < images_per_identity]
    if small:
        text = f"{_identities(small)} with fewer than {_some(images_per_identity, 'image')}: batches repeat some"
        findings.append(Finding("warning", text, _paths(sample for group in small for sample in group)))
    return findings


def no_cameras(splits: Splits) -> list[Finding]:
    """What follows where no image's camera is known."""
    samples = [sample for listing in splits.values() for sample in listing.samples]
    unknown = [sample for sample in samples if sample.camera < 0]
    if not unknown:
        return []
    if knows_cameras(samples):
        text = f"{_some(len(set(unknown)), 'image')} without a camera: each counts as taken by one of its own"
        return [Finding("warning", text, _paths(unknown))]
    text = (
        "no cameras: every other image of an identity is a match, so near-duplicates (of one video, one day) make "
        "results look better than they are; a manifest's column `camera` may hold any grouping: video, day"
    )
    return [Finding("warning", text)]


def remarks(splits: Splits) -> list[Finding]:
    """What the reader says about how the set is read."""
    told = dict.fromkeys(listing.remark for listing in splits.values() if listing.remark)
    return [Finding("note", remark) for remark in told]


def shared_identities(splits: Splits) -> list[Finding]:
    training = {sample.identity for sample in splits[TRAIN].samples} if TRAIN in splits else set()
    shared = [sample for sample in _test(splits) if sample.identity in training - {DISTRACTOR}]
    if not shared:
        return []
    count = _some(len({sample.identity for sample in shared}), "identity", "identities")
    text = f"{count} in both training and test: test results would look better than they are"
    return [Finding("warning", text, _paths(shared))]


def same_pictures(splits: Splits, bad_images: Collection[str]) -> list[Finding]:
    """Files with the same bytes that lie in two splits, or belong to several identities."""
    paths = {split: _paths(without(listing, bad_images).samples) for split, listing in splits.items()}
    everything = [path for split in paths.values() for path in split]
    digest_of = dict(zip(everything, content_digests(everything), strict=True))
    train, query, gallery = (paths.get(split, ()) for split in (TRAIN, QUERY, GALLERY))
    findings = []
    for one_side, other_side, both in (
        (train, query + gallery, "training and test"),
        (query, tuple({*gallery} - {*query}), "query and gallery"),  # an image may be both
    ):
        common = {digest_of[path] for path in one_side} & {digest_of[path] for path in other_side}
        files = sorted((digest_of[path], path) for path in {*one_side, *other_side} if digest_of[path] in common)
        if common:
            text = f"{_some(len(common), 'picture')} in both {both}: test results would look better than they are"
            findings.append(Finding("warning", text, tuple(path for _, path in files)))
    return findings + _pictures_of_several_identities(splits, digest_of)


def _pictures_of_several_identities(splits: Splits, digest_of: dict[str, str]) -> list[Finding]:
    findings = []
    for split, listing in splits.items():
        holders: dict[str, set[tuple[int, str]]] = defaultdict(set)
        for sample in listing.samples:
            if sample.path in digest_of:
                holders[digest_of[sample.path]].add((sample.identity, sample.path))
        torn = [held for held in holders.values() if len({identity for identity, _ in held}) > 1]
        if torn:
            text = f"{split}: {_some(len(torn), 'picture')} under several identities, of which one at most is right"
            findings.append(Finding("warning", text, tuple(path for held in torn for _, path in sorted(held))))
    return findings


def unmatched_queries(splits: Splits, max_left_out: float) -> list[Finding]:
    if QUERY not in splits or GALLERY not in splits:
        return []
    query = splits[QUERY].samples
    alone = queries_without_match(query, splits[GALLERY].samples)
    if not alone:
        return []
    refused = len(alone) == len(query) or too_many(len(alone), len(query), max_left_out)
    queries = _some(len(alone), "query", "queries")
    text = f"{queries} without a match, left out of the results: the gallery has no other camera's image of them"
    if refused:
        way_out = "" if len(alone) == len(query) else f", unless {allow(len(alone), len(query))}"
        text = f"{text}, so the final evaluation would fail{way_out}"
    return [Finding("error" if refused else "warning", text, _paths(alone))]


def unlike_published(reader: Reader, place: Path, splits: Splits) -> list[Finding]:
    """A note where the counts are not those of what was published in the set's layout: how far they are from the
    nearest. Where several were published and this is one, a note that says which."""
    if not reader.published or not splits:
        return []
    sides = {split: listing.samples for split, listing in splits.items()} | reader.test_images(place)
    here = {side: (len(set(samples)), len({s.identity for s in samples})) for side, samples in sides.items()}
    nearest = min(reader.published, key=lambda title: _distance(here, reader.published[title]))
    differences = [
        f"{side} {here[side][0]:,} of {here[side][1]:,} (published {images:,} of {identities:,})"
        for side, (images, identities) in reader.published[nearest].items()
        if side in here and here[side] != (images, identities)
    ]
    if differences:
        text = f"this is not the published {nearest}; images of identities: {', '.join(differences)}"
        return [Finding("note", text)]
    return [Finding("note", f"this is {nearest} as published")] if len(reader.published) > 1 else []


def _distance(here: Mapping[str, tuple[int, int]], published: Mapping[str, tuple[int, int]]) -> int:
    """By how many images and identities the splits that are here differ."""
    pairs = [(here[side], counts) for side, counts in published.items() if side in here]
    return sum(abs(one - other) for both in pairs for one, other in zip(*both, strict=True))


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
