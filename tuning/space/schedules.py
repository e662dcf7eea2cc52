"""How a trial climbs: three ways from one rung to the next, longer one.

A rung is a length of training, in epochs, at whose end trials are compared. With rungs [1, 3, 9]:

restart    complete schedules of 1, 3 and 9 epochs, each from the starting weights: 13 epochs to the top.
continue   complete schedules of 1, 2 and 6 epochs, each from the weights of the last: 9 epochs to the top.
cut        one schedule of 9 epochs, compared at 1 and 3, in the middle of its learning-rate cycle.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, assert_never

Mode = Literal["restart", "continue", "cut"]


class Schedule(NamedTuple):
    """One OneCycle schedule of a trial, from starting weights or from those of an earlier schedule."""

    begins: int
    """Epochs behind the weights that it starts from; 0: the configuration's starting weights."""
    ends: int
    """Epochs behind the weights that it gives."""

    @property
    def num_epochs(self) -> int:
        return self.ends - self.begins


def schedules(rungs: Sequence[int], mode: Mode) -> list[Schedule]:
    """The schedules that lead to the top, in order."""
    match mode:
        case "restart":
            return [Schedule(0, rung) for rung in rungs]
        case "continue":
            return [Schedule(*pair) for pair in zip([0, *rungs[:-1]], rungs, strict=True)]
        case "cut":
            return [Schedule(0, rungs[-1])]
        case unknown:
            assert_never(unknown)


def lengths(rungs: Sequence[int], mode: Mode) -> list[int]:
    """Epochs that a trial trains to each rung from the one below; none without rungs."""
    alike: Mode = "continue" if mode == "cut" else mode  # both train on from rung to rung
    return [schedule.num_epochs for schedule in schedules(rungs, alike)] if rungs else []
