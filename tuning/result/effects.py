"""What the model believes of each setting: how much it matters around the winner, and which value is best.

for effect in effects(study, record, winner):
    print(effect.describe())  # learning_rate, best at 0.0012, +0.210 (+0.180 to +0.240) above 0.0001
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from data.system.wording import show_value
from tuning.decide.proposals import value_at
from tuning.decide.ranking import repeated_scores, standing_of
from tuning.record.study import Study
from tuning.space.batches import nearest_trainable
from tuning.space.parameter import Parameter

STEPS = 9
"""Values of a range that are compared."""
LEVEL = 0.9


class Effect(NamedTuple):
    """How much a setting matters, all others as in the winner."""

    key: str
    worst: Any
    best: Any
    gain: float
    """Expected score with the best value over that with the worst."""
    low: float
    high: float
    """Its 90 % interval."""

    @property
    def seen(self) -> bool:
        """Whether it is known to matter at all."""
        return self.low > 0

    def describe(self) -> str:
        """A few words."""
        gain = f"{self.gain:+.3f} ({self.low:+.3f} to {self.high:+.3f})"
        return f"{self.key}, best at {show_value(self.best)}, {gain} above {show_value(self.worst)}"


def effects(study: Study, record: Study | None, winner: Mapping[str, Any]) -> list[Effect]:
    """Of every setting that counts in the winner, the largest first; none where too little is known of the noise."""
    standing, space = standing_of(study, repeated_scores(study, record)), study.space
    if not standing.tells_noise:
        return []
    found = []
    for parameter in space.counting(winner):
        values = list(dict.fromkeys(nearest_trainable(space, parameter, v, winner) for v in _values(parameter)))
        configurations = [{**winner, parameter.name: value} for value in values]
        mean, covariance = standing.at_reached(configurations)
        best, worst = int(mean.argmax()), int(mean.argmin())
        variance = covariance[best, best] + covariance[worst, worst] - 2 * covariance[best, worst]
        gain = float(mean[best] - mean[worst])
        half = float(stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(max(variance, 0.0)))
        found.append(Effect(parameter.key, values[worst], values[best], gain, gain - half, gain + half))
    return sorted(found, key=lambda effect: -effect.gain)


def describe_effects(found: list[Effect]) -> list[str]:
    """Lines for people."""
    seen = "; ".join(effect.describe() for effect in found if effect.seen)
    lines = [f"what matters near the winner (90% intervals): {seen}"] if seen else []
    if unseen := [effect.key for effect in found if not effect.seen]:
        lines.append(f"not seen to matter there: {', '.join(unseen)}")
    return lines


def _values(parameter: Parameter) -> list[Any]:
    if parameter.kind == "categorical":
        return list(parameter.choices)
    return [value_at(parameter, place) for place in np.linspace(0.0, 1.0, STEPS)]
