"""Hints: best values that lie at the edge of what was searched, the range to try next, and how.

edges(study.space, {"margin": 0.6})  # ["margin 0.6 lies at the upper end of 0.05 to 0.6: try 0.325 to 0.875"]
next_search(study)  # "... .venv/bin/python -m tuning.search --name sample-2 --warm-start results/sample"
"""

import itertools
import math
import shlex
from collections.abc import Container, Mapping
from typing import Any

from data.system.commands import command
from data.system.wording import show_value
from reid_train.settings.config import TrainConfig
from tuning.record.study import Study
from tuning.result.plot_data import position
from tuning.space.parameter import Parameter
from tuning.space.space import SearchSpace

NEAR = 0.05
"""Share of a range, on the scale of the search, that counts as its end."""


def edges(space: SearchSpace, best: Mapping[str, Any], matter: Container[str]) -> list[str]:
    """A line for each parameter, of those whose keys are among `matter`, whose best value lies at an end of its range
    or is the outermost of numeric choices.

    Where TrainConfig allows nothing beyond that end, there is nothing to try and no line.
    """
    lines = []
    for parameter in space.counting(best):
        if parameter.key not in matter:
            continue
        at = _outermost_choice if parameter.kind == "categorical" else _end_of_range
        lines += at(parameter, best[parameter.name])
    return lines


def next_search(study: Study) -> str:
    """How to search another range: a study goes on in its own space alone, so it takes one of another name."""
    folder, searched = study.folder, study.facts.get("command", command("tuning.search"))
    names = (f"{folder.name}-{number}" for number in itertools.count(2))
    name = next(name for name in names if not (folder.parent / name).exists())
    more = shlex.join(["--name", name, "--warm-start", str(folder)])
    return f"to try it, write it into the space's file and give: {searched} {more}"


def _end_of_range(parameter: Parameter, value: float) -> list[str]:
    """The range to try has the width of the old one and its middle at the old one's end, as far as that is allowed."""
    low, high, place = parameter.low, parameter.high, position(parameter, value)
    if NEAR < place < 1 - NEAR:
        return []
    end = low if place <= NEAR else high
    if parameter.log:
        factor = math.sqrt(high / low)
        ends = [end / factor, end * factor]
    else:
        step = parameter.step or (1 if parameter.kind == "int" else 0)
        half = max(step, round((high - low) / 2 / step) * step) if step else (high - low) / 2
        ends = [end - half, end + half]
    ends = [_allowed(parameter, end, beyond) for beyond in ends]
    if end in ends:
        return []
    from_to = " to ".join(show_value(int(e) if parameter.kind == "int" else float(e)) for e in ends)
    side = "lower" if end == low else "upper"
    found = f"{parameter.name} {show_value(value)} lies at the {side} end of {show_value(low)} to {show_value(high)}"
    return [f"{found}: try {from_to}"]


def _outermost_choice(parameter: Parameter, value: Any) -> list[str]:
    """What to try goes on as the last two numbers do: by their ratio where that suits, else by their difference."""
    numbers = sorted(c for c in parameter.choices if isinstance(c, (int, float)) and not isinstance(c, bool))
    if len(numbers) < 2 or isinstance(value, bool) or value not in (numbers[0], numbers[-1]):
        return []
    end, inner = (numbers[0], numbers[1]) if value == numbers[0] else (numbers[-1], numbers[-2])
    integral = _is_integral(parameter.name)
    by_ratio = min(end, inner) > 0 and (not integral or end * end % inner == 0)
    following = _allowed(parameter, end, end * end / inner if by_ratio else 2 * end - inner)
    if following == end:
        return []
    which = "smallest" if end < inner else "largest"
    found = f"{parameter.name} {show_value(value)} is the {which} of {', '.join(map(show_value, numbers))}"
    return [f"{found}: try {show_value(int(following) if integral else float(following))} too"]


def _limits(name: str) -> Mapping[str, Any]:
    """What TrainConfig's schema says of the numbers that a setting takes; empty where it takes none, or a few alone."""
    schema = TrainConfig.model_json_schema()["properties"][name]
    kinds = [schema, *schema.get("anyOf", [])]
    return next((kind for kind in kinds if kind.get("type") in ("number", "integer") and "enum" not in kind), {})


def _is_integral(name: str) -> bool:
    return _limits(name).get("type") == "integer"


def _allowed(parameter: Parameter, end: float, wanted: float) -> float:
    """`wanted`, or the limit between it and `end`; half of the way there, where the limit itself is not allowed."""
    limits = _limits(parameter.name)
    if not limits:
        return end
    for kind, nearer in (("inimum", max), ("aximum", min)):
        if (limit := limits.get(f"m{kind}")) is not None:
            wanted = nearer(wanted, limit)
        elif (limit := limits.get(f"exclusiveM{kind}")) is not None and nearer(wanted, limit) == limit:
            wanted = (end + limit) / 2
    return round(wanted) if limits["type"] == "integer" else wanted
