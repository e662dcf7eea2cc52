"""One searched setting: a range or choices, and the condition under which it is searched.

Parameter(name="momentum", kind="float", low=0.8, high=0.95, when=(("optimizer", ("sgd",)),))
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from data.system.wording import show_value


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A searched setting. It applies, and gets a value, in the configurations in which its condition holds."""

    name: str
    kind: Literal["float", "int", "categorical"]
    low: int | float = 0
    high: int | float = 0
    log: bool = False
    step: int | float | None = None
    choices: tuple[Any, ...] = ()
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """The condition: names of other settings, each with the values that let this one be searched."""
    alternative: bool = False
    """Whether the setting has another range under another condition."""

    @property
    def key(self) -> str:
        """Its name in Optuna's record: two ranges of one setting need two, as `margin if normalize_features=true`."""
        if not self.alternative:
            return self.name
        conditions = [f"{other}={'/'.join(map(show_value, allowed))}" for other, allowed in self.when]
        return f"{self.name} if {' and '.join(conditions)}"

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the condition holds, given the settings chosen so far."""
        return all(values.get(name) in allowed for name, allowed in self.when)

    def extremes(self) -> tuple[Any, ...]:
        """The values that a check must try: both ends of the range, or every choice."""
        if self.kind == "categorical":
            return self.choices
        return (self.low, self.high) if self.kind == "float" else (int(self.low), int(self.high))

    def contains(self, value: Any) -> bool:
        """Whether this is one of the choices, or lies in the range and on its steps."""
        if self.kind == "categorical":
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        step = self.step or (1 if self.kind == "int" else None)
        return step is None or abs((value - self.low) / step - round((value - self.low) / step)) < 1e-9

    def nearest(self, value: Any) -> tuple[Any, ...]:
        """The searched value that is nearest, as a tuple of one; empty where no choice equals the value."""
        if self.kind == "categorical" or isinstance(value, bool) or not isinstance(value, (int, float)):
            is_bool = isinstance(value, bool)
            return tuple(choice for choice in self.choices if choice == value and isinstance(choice, bool) == is_bool)
        near, step = min(max(value, self.low), self.high), self.step or (1 if self.kind == "int" else None)
        if step is not None:
            near = self.low + round((near - self.low) / step) * step
        return (int(near) if self.kind == "int" else float(near),)

    def along(self, value: float) -> float:
        """Where a value lies in the range, along its logarithm where it is searched so: 0 at the low end, 1 at the
        high."""
        if self.low == self.high:
            return 0.5
        low, high = float(self.low), float(self.high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (float(value) - low) / (high - low)

    def values(self) -> tuple[Any, ...]:
        """All values, where they can be counted; for a float range both ends."""
        if self.kind == "int":
            return tuple(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        return self.extremes()
