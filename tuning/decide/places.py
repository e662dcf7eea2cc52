"""Where a configuration lies: its searched settings as numbers from 0 to 1, so that models can tell how near two are.

    places = Places(space)
    places.of({"learning_rate": 1e-3, "margin": "soft"})  # array([0.54, 0.5, 1.0])

A range is a column, along its logarithm where it is searched so. Choices that are numbers are a column, too, in the
numbers' order; each other choice has a column that is 1 where it is chosen. A setting that does not apply, or whose
number does not, is put in the middle.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuning.space.parameter import Parameter
from tuning.space.space import SearchSpace

MIDDLE = 0.5


class Places:
    """Gives the places of a space's configurations."""

    def __init__(self, space: SearchSpace):
        self._space = space
        self._columns = [_Columns(parameter) for parameter in space.parameters]

    @property
    def keys(self) -> list[str]:
        """The parameter that each column belongs to, by its key."""
        return [columns.parameter.key for columns in self._columns for _ in range(columns.width)]

    def of(self, values: Mapping[str, Any]) -> np.ndarray:
        """One configuration's place; `values` has its searched settings."""
        known = {**self._space.settings, **values}
        row: list[float] = []
        for columns in self._columns:
            parameter = columns.parameter
            applies = parameter.name in values and parameter.applies(known)
            row += columns.of(values[parameter.name]) if applies else columns.unset
        return np.array(row)

    def of_all(self, configurations: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """The places of several: configurations x columns."""
        return np.array([self.of(values) for values in configurations]).reshape(len(configurations), len(self.keys))


class _Columns:
    """How one parameter becomes columns."""

    def __init__(self, parameter: Parameter):
        self.parameter = parameter
        choices = parameter.choices if parameter.kind == "categorical" else ()
        numbers = [choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)]
        self._numbers = sorted(numbers) if len(numbers) > 1 else []
        others = [choice for choice in choices if choice not in self._numbers or isinstance(choice, bool)]
        self._others = others[1:] if len(others) == 2 and not self._numbers else others
        self._ordered = parameter.kind != "categorical" or bool(self._numbers)
        self.width = self._ordered + len(self._others)
        self.unset = [MIDDLE] * self._ordered + [0.0 if self._numbers else MIDDLE] * len(self._others)

    def of(self, value: Any) -> list[float]:
        flags = [float(value == other and type(value) is type(other)) for other in self._others]
        if not self._ordered:
            return flags
        return [self._along(value), *flags]

    def _along(self, value: Any) -> float:
        if self._numbers:
            return self._numbers.index(value) / (len(self._numbers) - 1) if value in self._numbers else MIDDLE
        return self.parameter.along(value)
