"""Why a trial failed or was stopped: a kind, which decides what follows, and a text for people.

    str(Cause(Kind.DIVERGED, "loss is not finite at step 3"))  # "diverged: loss is not finite at step 3"

This module loads no torch; tuning/run/failures.py finds the cause of what went wrong in training.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What kind of thing ended a trial."""

    DIVERGED = "diverged"
    COLLAPSED = "collapsed"
    OUT_OF_MEMORY = "out of memory"
    DOES_NOT_FIT = "does not fit"
    """The configuration cannot be trained on this data."""
    TIMED_OUT = "timed out"
    WORKER_DIED = "worker died"
    ERROR = "error"
    """Code raised an error that nothing here expects; the text begins with its type."""
    NOT_PROMOTED = "not promoted"
    """The trial was pruned."""


SHOWN_AS_BAD = frozenset({Kind.DIVERGED, Kind.COLLAPSED, Kind.OUT_OF_MEMORY})
"""Kinds that the configuration brings about: it would fail again. The sampler is shown such trials as the worst."""
WITHOUT_KIND = frozenset({Kind.WORKER_DIED, Kind.ERROR, Kind.NOT_PROMOTED})
"""Kinds whose text says enough without them."""


@dataclass(frozen=True)
class Cause:
    """Why a trial failed or was stopped."""

    kind: Kind
    text: str
    """One line for people."""

    def __str__(self) -> str:
        return self.text if self.kind in WITHOUT_KIND else f"{self.kind}: {self.text}"

    @property
    def shows_bad_region(self) -> bool:
        """Whether the configuration is to blame, so that others like it would fail too."""
        return self.kind in SHOWN_AS_BAD
