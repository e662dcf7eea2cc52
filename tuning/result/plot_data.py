"""What the pictures of a study show, worked out from its record: curves, comparable scores, axes, importances."""

import math
import random
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

import optuna
from matplotlib.ticker import MaxNLocator
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from data.system.wording import counted, in_plot, show_value
from tuning.record.trial import TrialRecord, distribution
from tuning.space.parameter import Parameter
from tuning.space.space import SearchSpace

MIN_TRIALS_FOR_IMPORTANCE = 6
"""With fewer scores, importances say nothing."""


@dataclass(frozen=True)
class Curve:
    """The metric over the epochs of one of a trial's schedules."""

    rung: int
    """Length of the schedule, in epochs."""
    epochs: list[int]
    """Epochs that the trial has trained, over all of its schedules."""
    scores: list[float]
    complete: bool
    """Whether the schedule was trained to its end."""


def learning_curves(trial: TrialRecord, metric: str, *, joined: bool = False) -> list[Curve]:
    """One curve a schedule, in the order of training; epochs in which the metric was not measured are left out.

    `joined`: each begins where the one before ended, since it goes on from there.
    """
    curves: list[Curve] = []
    for rung in dict.fromkeys(epoch.rung for epoch in trial.reports):
        points = [
            (place, getattr(epoch.report, metric))
            for place, epoch in enumerate(trial.reports, start=1)
            if epoch.rung == rung and getattr(epoch.report, metric) is not None
        ]
        if points:
            if joined and curves:
                points.insert(0, (curves[-1].epochs[-1], curves[-1].scores[-1]))
            epochs, scores = zip(*points, strict=True)
            curves.append(Curve(rung, list(epochs), list(scores), complete=rung in trial.scores))
    return curves


def best_so_far(trials: Sequence[TrialRecord]) -> tuple[list[int], list[float]]:
    """Trial numbers and the best score up to each, among the trials of the longest schedule; to the last trial."""
    longest = max((trial.rung for trial in trials), default=0)
    numbers: list[int] = []
    best: list[float] = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.score is not None and trial.rung == longest:
            numbers.append(trial.number)
            best.append(max([trial.score, *best[-1:]]))
    if numbers and (last := max(trial.number for trial in trials)) > numbers[-1]:
        numbers.append(last)
        best.append(best[-1])
    return numbers, best


def comparison_rung(trials: Sequence[TrialRecord]) -> int:
    """The schedule's length at which most trials have a score (the shorter of equals); 0 when none has one."""
    counts = Counter(rung for trial in trials for rung in trial.scores)
    return min(counts, key=lambda rung: (-counts[rung], rung), default=0)


def position(parameter: Parameter, value: Any) -> float:
    """Where the value lies on the parameter's axis: 0 at its lower end, 1 at its upper; choices evenly between."""
    if parameter.kind == "categorical":
        return ([repr(choice) for choice in parameter.choices].index(repr(value)) + 0.5) / len(parameter.choices)
    return parameter.along(value)


def place(parameter: Parameter, trial: TrialRecord) -> float:
    """Where the trial lies on the parameter's axis; those of the same choice side by side, not over each other."""
    sidestep = (trial.number * 0.618034 % 1 - 0.5) * 0.5 / len(parameter.choices) if parameter.choices else 0.0
    return position(parameter, trial.parameters[parameter.name]) + sidestep


def ticks(parameter: Parameter) -> list[tuple[float, str]]:
    """Positions and labels along the parameter's axis: every choice, or round numbers."""
    if parameter.kind == "categorical":
        return [(position(parameter, choice), in_plot(shortened(show_value(choice)))) for choice in parameter.choices]
    low, high, step = parameter.low, parameter.high, parameter.step
    if step and round((high - low) / step) <= 7:
        values = [low + index * step for index in range(round((high - low) / step) + 1)]
    elif parameter.log:
        values = _log_ticks(low, high)
    else:
        values = _round_numbers(low, high, integer=parameter.kind == "int")
    return [(position(parameter, value), _number(value)) for value in values]


def _log_ticks(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tolerance = 1 + 1e-9
    for digits in ((1,), (1, 3), (1, 2, 5)):
        values = [digit * 10.0**exponent for exponent in exponents for digit in digits]
        values = [value for value in values if low / tolerance <= value <= high * tolerance]
        if len(values) >= 3:
            return values[:: math.ceil(len(values) / 6)]
    return _round_numbers(low, high)


def _round_numbers(low: float, high: float, integer: bool = False) -> list[float]:
    slack = 1e-9 * (high - low)
    values = MaxNLocator(nbins=5, integer=integer).tick_values(low, high)
    return [float(value) for value in values if low - slack <= value <= high + slack]


def percent(value: float, _: object = None) -> str:
    """0.375 as 37.5%; also a formatter of ticks."""
    return f"{100 * value:.4g}%"


def _number(value: float) -> str:
    """0.001 as 0.001, 0.00001 as 1e-5."""
    mantissa, _, exponent = f"{value:.4g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def shortened(text: str, length: int = 16) -> str:
    """The text, or its last characters when it is longer: the end of a path tells more than its beginning."""
    return text if len(text) <= length else "…" + text[-(length - 1) :]


@dataclass(frozen=True)
class Importance:
    """How much a parameter tells the best trials from the others."""

    share: float
    """Share of all parameters' importance, 0 to 1."""
    by_chance: float
    """What it exceeds in 1 of 10 random orders of the scores, on the same scale: a smaller share may be chance."""


def importances(
    space: SearchSpace, trials: Sequence[TrialRecord], rung: int, shuffles: int = 40
) -> dict[str, Importance] | str:
    """PED-ANOVA importances (Watanabe et al., 2023, arXiv 2304.10255) of the scores at `rung`, largest first.

    Keys are those of parameters. The score of every trial that reached that rung counts, however it ended. They tell
    what sets the best tenth apart, or the best 5 (at most half) where the tenth is fewer. A text says why there are
    none, when the scores are too few or all the same.
    """
    scored = [trial for trial in trials if rung in trial.scores]
    scores = [trial.scores[rung] for trial in scored]
    if len(scored) < MIN_TRIALS_FOR_IMPORTANCE:
        return (
            f"{counted(len(scored), 'score')} at one length of schedule: importances need {MIN_TRIALS_FOR_IMPORTANCE}"
        )
    if min(scores) == max(scores):
        return "all trials have the same score: nothing sets the best apart"
    study, known = optuna.create_study(direction="maximize"), {p.key: distribution(p) for p in space.parameters}
    for trial, score in zip(scored, scores, strict=True):
        params = space.by_key(trial.parameters)
        distributions = {key: known[key] for key in params}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, min(0.5, 5 / len(scored))))

    def divergences(scores: list[float]) -> dict[str, float]:
        # With a target of one's own, PED-ANOVA takes lower for better.
        return get_param_importances(
            study, evaluator=evaluator, target=lambda trial: -scores[trial.number], normalize=False
        )

    generator = random.Random(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few trials in one branch of a condition; not normalising is experimental
        found = divergences(scores)
        by_chance = [divergences(generator.sample(scores, len(scores))) for _ in range(shuffles)]
    total = sum(found.values())
    if total == 0:
        return "no parameter sets the best trials apart"
    ordered = sorted(found, key=lambda name: (-found[name], name))
    return {
        name: Importance(found[name] / total, quantiles((drawn[name] for drawn in by_chance), n=10)[-1] / total)
        for name in ordered
    }
