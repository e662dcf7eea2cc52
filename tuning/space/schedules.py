"""How a trial climbs: three ways from one rung to the next, longer one.

A rung is a length of training, in epochs, at whose end trials are compared. With rungs [1, 3, 9]:

restart    complete schedules of 1, 3 and 9 epochs, each from the starting weights: 13 epochs to the top.
continue   complete schedules of 1, 2 and 6 epochs, each from the weights of the last: 9 epochs to the top.
cut        one schedule of 9 epochs, compared at 1 and 3, in the middle of its learning-rate cycle.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

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
    if mode == "cut":
        return [Schedule(0, rungs[-1])]
    begins = [0, *rungs[:-1]] if mode == "continue" else [0] * len(rungs)
    return [Schedule(*pair) for pair in zip(begins, rungs, strict=True)]


def lengths(rungs: Sequence[int], mode: Mode) -> list[int]:
    """Epochs that a trial trains to each rung from the one below; none without rungs."""
    begins = [0] * len(rungs) if mode == "restart" else [0, *rungs][: len(rungs)]
    return [rung - below for below, rung in zip(begins, rungs, strict=True)]
