"""Facts: what a study records of itself as a whole, beside its trials. All of its attributes are listed here.

study.note(teachers=digest)
study.facts.get("teachers")
"""

from typing import Any, TypedDict

Prices = list[tuple[list[Any], dict[str, float]]]
"""For each architecture: its values of reid_train.settings.config.ARCHITECTURE, and its costs."""


class ChosenPlan(TypedDict):
    """What `rungs: auto` came to."""

    rungs: list[int]
    epoch_s: float
    """Seconds of an epoch by which it was chosen; 0 where none was measured."""


class Place(TypedDict):
    """Where the trials of a study keep their states."""

    place: str
    """A URL or folder; without --storage, this machine's name and the study's folder."""
    folder: str
    """The study's own folder there."""
    given: bool
    """Whether --storage named it."""


class Confirmation(TypedDict, total=False):
    """What the confirmation found; empty where there was none."""

    rows: list[dict[str, Any]]
    """Rows of confirmation.csv, the winner's first."""
    sentences: list[str]


class Budget(TypedDict):
    """What a search may spend; None: no limit of that kind."""

    trials: int | None
    epochs: int | None
    time_budget: float | None
    """Seconds."""


class IdentityScores(TypedDict):
    """How a repeat did on each validation identity."""

    scores: list[float]
    queries: list[int]


class Facts(TypedDict, total=False):
    """A study's attributes, all of which JSON can hold. None is there from the beginning."""

    search_space: dict[str, Any]
    """SearchSpace.to_record, with the number of trials and the budget that the last command gave."""
    plan: ChosenPlan
    prices: Prices
    data_fingerprint: str
    validation_split: str
    training_code: str
    """tuning/record/training_code.py: digest of what computes a trial's numbers."""
    teachers: str
    """Digests of the weights; so are the starting ones. Neither is there where no file holds any."""
    starting_weights: str
    images_left_out: list[str]
    """Names of training images that cannot be decoded."""
    elapsed_s: float
    """Seconds spent searching, over all sessions."""
    command: str
    """The command that goes on."""
    storage: Place
    server: str
    """The server that holds the study, without password; then the folder's file is a copy."""
    finished: Budget | None
    """The budget with which the search was over; None while more is asked for. Drivers that share a study leave it."""
    confirmation: Confirmation
    report_images: bool
    """Whether report.html shows pictures of the data set, where --images or --no-images said so."""
    test_metrics: dict[str, Any]
    """What test_metrics.json holds, for other drivers of the study."""
    test_left_alone: bool
    """Whether --no-test keeps the search from the test images."""
    identity_scores: dict[str, IdentityScores]
    """By the repeat's number."""

    # Only in studies that were begun before 2026-11-26, and read by tuning/record/old_studies.py alone:
    space: dict[str, Any]
    default: dict[str, Any]
    warm_starts: list[dict[str, Any]]
    trials: int
    pick: str | dict[str, float]
    code: str
