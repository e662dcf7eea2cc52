"""Which configuration the model would try next, among many that can be trained.

    parameters = propose(space, standing, rng)  # None where everything has been tried

Candidates are drawn at random, and near the best so far, from the space itself, so that conditions and batches hold.
The one is taken that is expected to exceed the best of those begun by most (noisy expected improvement, Letham et al.
2019, arXiv 1706.07094): what runs already counts among them, without a score.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tuning.decide.ranking import Standing
from tuning.space.batches import nearest_trainable
from tuning.space.parameter import Parameter
from tuning.space.space import SearchSpace, key_of

# B configurations begun, C candidates, S draws

STARTUP = 5
"""Trials before the model proposes any, unless it knows an earlier study: they are spread over the space."""
SPREAD = 10
"""Candidates of which each of these is the one farthest from all others. Of many more it would lie in a corner of the
space, where settings are seldom good."""
ANYWHERE, NEAR, LEADERS = 400, 200, 8
"""Candidates drawn anywhere, and near the best few."""
CHANGED = 0.4
"""Probability that a setting of a candidate near a leader is another."""
WIDTHS = (0.03, 0.1, 0.25)
"""How far it then moves along its range, standard deviations."""
DRAWS = 128
MOST_TRIES = 1000
"""Random configurations that are all known from which on a space counts as exhausted."""
DIGITS = 4
"""Significant digits of a proposed number."""


def propose(space: SearchSpace, standing: Standing, rng: np.random.Generator) -> dict[str, Any] | None:
    """The next configuration; None where every one has been tried. `standing` has all trials, those running too."""
    begun, guesses = [trial.parameters for trial in standing.trials], standing.runs or space.earlier
    guided = bool(guesses) and (len(begun) >= STARTUP or bool(space.earlier))
    candidates = untried(space, standing, rng, near=guided)
    if not candidates:
        return None
    if not guided:
        return farthest(candidates[:SPREAD], standing, begun)
    return candidates[int(expected_gains(standing, begun, candidates, rng, DRAWS).argmax())]


def untried(
    space: SearchSpace, standing: Standing, rng: np.random.Generator, *, near: bool = True
) -> list[dict[str, Any]]:
    """Configurations that no trial has, drawn anywhere and, with `near`, near the best so far; none where every one has
    been tried."""
    known = {key_of(trial.parameters) for trial in standing.trials}
    anywhere = distinct(drawn(space, rng), known, ANYWHERE)
    if not anywhere or not near:
        return anywhere
    return [*anywhere, *distinct(moved(space, leaders_of(standing), rng), known | set(map(key_of, anywhere)), NEAR)]


def expected_gains(
    standing: Standing,
    there: Sequence[Mapping[str, Any]],
    candidates: Sequence[Mapping[str, Any]],
    rng: np.random.Generator,
    draws: int,
) -> np.ndarray:
    """By how much each candidate is expected to exceed, at the top, the best of those `there`; where there are none,
    what is expected of it."""
    mean, covariance = standing.belief.at_top(standing.places.of_all([*there, *candidates]))
    drawn_SQ = draws_of(mean, covariance, draws, rng)
    if not there:
        return mean
    best_S = drawn_SQ[:, : len(there)].max(axis=1)
    return np.asarray(np.maximum(drawn_SQ[:, len(there) :] - best_S[:, None], 0.0).mean(axis=0))


def farthest(
    candidates: Sequence[dict[str, Any]], standing: Standing, begun: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The candidate that lies farthest from all that was begun."""
    if not begun:
        return candidates[0]
    places_CP, begun_BP = standing.places.of_all(candidates), standing.places.of_all(begun)
    apart_CB = ((places_CP[:, None] - begun_BP[None]) ** 2).sum(axis=2)
    return candidates[int(apart_CB.min(axis=1).argmax())]


def draws_of(mean_Q: np.ndarray, covariance_QQ: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Joint draws, S x Q."""
    jitter = 1e-6 * float(np.diag(covariance_QQ).max()) + 1e-12
    root = np.linalg.cholesky(covariance_QQ + jitter * np.eye(len(mean_Q)))
    drawn_SQ: np.ndarray = mean_Q + rng.standard_normal((draws, len(mean_Q))) @ root.T
    return drawn_SQ


def drawn(space: SearchSpace, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Random configurations, without end."""
    while True:
        chosen: dict[str, Any] = {}
        for parameter in space.parameters:
            if parameter.applies({**space.settings, **chosen}):
                chosen[parameter.name] = nearest_trainable(space, parameter, value_at(parameter, rng.random()), chosen)
        yield chosen


def moved(
    space: SearchSpace, leaders: Sequence[Mapping[str, Any]], rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Configurations near the leaders, without end."""
    while leaders:
        leader, width = leaders[int(rng.integers(len(leaders)))], WIDTHS[int(rng.integers(len(WIDTHS)))]
        chosen: dict[str, Any] = {}
        for parameter in space.parameters:
            if not parameter.applies({**space.settings, **chosen}):
                continue
            value = leader.get(parameter.name)
            if not parameter.contains(value):  # another condition holds
                value = value_at(parameter, rng.random())
            elif rng.random() < CHANGED:
                value = _changed(parameter, value, width, rng)
            chosen[parameter.name] = nearest_trainable(space, parameter, value, chosen)
        yield chosen


def distinct(source: Iterator[dict[str, Any]], known: set[str], count: int) -> list[dict[str, Any]]:
    """Up to `count` configurations that are not known and differ; fewer where MOST_TRIES in turn bring none."""
    found: dict[str, dict[str, Any]] = {}
    tries = 0
    for configuration in source:
        key = key_of(configuration)
        tries += 1
        if key not in known and key not in found:
            found[key], tries = configuration, 0
        if len(found) == count or tries == MOST_TRIES:
            break
    return list(found.values())


def value_at(parameter: Parameter, place: float) -> Any:
    """The value at a place along the range, 0 to 1, or among the choices."""
    if parameter.kind == "categorical":
        return parameter.choices[min(int(place * len(parameter.choices)), len(parameter.choices) - 1)]
    low, high = float(parameter.low), float(parameter.high)
    if parameter.kind == "int" and not parameter.log:
        step = int(parameter.step or 1)
        return int(parameter.low) + step * min(int(place * ((high - low) / step + 1)), int((high - low) / step))
    value = low * (high / low) ** place if parameter.log else low + place * (high - low)
    if parameter.kind == "int":
        return int(min(max(round(value), parameter.low), parameter.high))
    if parameter.step:
        return float(low + round((value - low) / parameter.step) * parameter.step)
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)


def _changed(parameter: Parameter, value: Any, width: float, rng: np.random.Generator) -> Any:
    if parameter.kind == "categorical":
        return parameter.choices[int(rng.integers(len(parameter.choices)))]
    along = parameter.along(value) + width * rng.standard_normal()
    if parameter.kind == "int":  # so that a small step is not rounded back
        low, high = (math.log(end) if parameter.log else float(end) for end in (parameter.low, parameter.high))
        along += rng.choice([-1, 1]) / max(high - low, 1)
    (near,) = parameter.nearest(value_at(parameter, float(np.clip(along, 0.0, 1.0))))
    return near


def leaders_of(standing: Standing) -> list[Mapping[str, Any]]:
    """The configurations of which most is expected at the top, of those that have a score."""
    scored = [trial for trial in standing.trials if trial.score is not None]
    means, _ = standing.belief.at_top(standing.places.of_all([trial.parameters for trial in scored]))
    return [scored[place].parameters for place in np.argsort(-means, kind="stable")[:LEADERS]]
