"""Which configurations are trained again, with which seeds, and what that takes and tells.

noise_runs(space)  # the default with 3 seeds, before the search
confirmation_runs(study)  # the best and the default with the same 3 seeds, after it
"""

import math
import statistics
from typing import Any, NamedTuple

from scipy import stats

from data.system.wording import clock, counted, show_value
from tuning.confirm.repeats import Repeat, notes_of
from tuning.decide.forecast import forecast
from tuning.decide.pareto import best_trials, limits_of
from tuning.decide.ranking import within
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.space.space import SearchSpace

DEFAULT = "default"
TOLD_APART = 0.975
"""Probability from which one is called better than another: the 95 % interval of their difference leaves 0 out."""


class Noise(NamedTuple):
    """How much seeds alone change the default's score."""

    mean: float
    sd: float
    runs: int


def noise_runs(space: SearchSpace) -> list[Repeat]:
    """The default configuration with the first new seeds."""
    return _with_seeds(space, DEFAULT, space.default, space.study.noise_seeds)


def confirmation_runs(study: Study) -> list[Repeat]:
    """The best configurations and the default, each with the same new seeds; none without `top_k` or trials."""
    return [run for runs in candidates(study) for run in runs]


def candidates(study: Study) -> list[list[Repeat]]:
    """The runs of each candidate, the default last; a candidate that is the default is not run twice."""
    space, default = study.space, study.space.default
    trials = [trial for trial in best_trials(study) if trial.state is not TrialState.FAILED]
    limits = cost_limits(study)
    trials = [trial for trial in trials if within(trial.costs, limits)] or trials
    top = [trial for trial in trials if {**default, **trial.parameters} != default][: space.study.top_k]
    if not space.study.top_k or not trials:
        return []
    chosen = [(f"trial {trial.number}", trial.parameters) for trial in top] + [(DEFAULT, default)]
    return [_with_seeds(space, name, parameters, space.study.seeds) for name, parameters in chosen]


def cost_limits(study: Study) -> dict[str, float]:
    """The most that the winner may cost."""
    return limits_of(study.trials(), study.space.study.pick)


def _with_seeds(space: SearchSpace, of: str, parameters: dict[str, Any], seeds: int) -> list[Repeat]:
    """New seeds follow the one that all trials have."""
    first = space.config(parameters).seed + 1
    return [Repeat(of, parameters, seed) for seed in range(first, first + seeds)]


def intention(space: SearchSpace) -> list[str]:
    """What is trained besides the trials, in lines for people."""
    settings, lines = space.study, []
    if settings.noise_seeds:
        lines.append(f"first: the default with {counted(settings.noise_seeds, 'seed')}, to know the noise")
    if settings.top_k:
        count = f"the {settings.top_k} best" if settings.top_k > 1 else "the best"
        known = "; the default's first runs count" if settings.noise_seeds else ""
        seeds = counted(settings.seeds, "new seed")
        lines.append(f"last: {count} and the default with {seeds} each, at full length{known}")
    outside = [p.name for p in space.counting(space.default) if not p.contains(space.default[p.name])]
    if (settings.noise_seeds or settings.top_k) and outside:
        values = ", ".join(f"{name} {show_value(space.default[name])}" for name in outside)
        lines.append(f"note: the default lies outside of what is searched: {values}; a first trial would replace it")
    return lines


def noise(record: Study) -> Noise | None:
    """Mean and standard deviation of the default's scores; None below 2 runs of it."""
    runs = [r for r in record.trials() if notes_of(r)["of"] == DEFAULT and r.state is TrialState.COMPLETE]
    scores = [run.score for run in runs if run.score is not None]
    return Noise(statistics.fmean(scores), statistics.stdev(scores), len(scores)) if len(scores) > 1 else None


def reserved_epochs(study: Study, concurrency: int) -> int:
    """Epochs, one after the other, that the confirmation will take: what a time budget keeps free for it."""
    space, settings = study.space, study.space.study
    if not settings.top_k:
        return 0
    runs = (settings.top_k + 1) * settings.seeds - min(settings.noise_seeds, settings.seeds)
    longest = max(
        study.plan.rungs_of(space.base_config())[-1], space.largest("num_epochs") if not study.plan.rungs else 0
    )
    return math.ceil(runs / concurrency) * int(longest)


def expectations(study: Study, record: Study, concurrency: int) -> list[str]:
    """What the default's runs let expect of the search, in lines for people; none without such runs."""
    found, space, settings = noise(record), study.space, study.space.study
    if found is None:
        return []
    least = smallest_difference(space, found)
    lines = [
        f"noise: {settings.metric} of the default {found.mean:.3f} ± {found.sd:.3f} over {found.runs} seeds; with "
        f"{counted(settings.seeds, 'seed')} each, differences below {least:.3f} cannot be told apart"
    ]
    if space.searches_length:
        return lines
    plan = study.plan.with_rungs(study.plan.rungs_of(space.base_config()))
    paces = [run.seconds / run.epochs for run in record.trials() if run.state is TrialState.COMPLETE]
    epochs = forecast(plan, settings.trials).epochs / concurrency + reserved_epochs(study, concurrency)
    low, middle, high = (clock(epochs * pace) for pace in (min(paces), statistics.mean(paces), max(paces)))
    budget = f"; the budget is {clock(settings.time_budget)}" if settings.time_budget else ""
    return [
        *lines,
        f"expected: {middle} of training ({low} to {high} at single runs' pace), confirmation included{budget}",
    ]


def smallest_difference(space: SearchSpace, found: Noise) -> float:
    """How far two configurations' means must lie apart to be told apart (95 %) by the confirmation's seeds.

    By the t distribution with the degrees of freedom of all runs that will show the variance between seeds.
    """
    freedom = found.runs - 1 + space.study.top_k * (space.study.seeds - 1)
    return may_be_luck(found.sd, space.study.seeds, freedom)


def may_be_luck(sd: float, seeds: int, freedom: int) -> float:
    """The difference between two means, each over `seeds` runs, that luck alone exceeds in 5 % of cases.

    `sd` is the standard deviation of one run, known with `freedom` degrees of freedom.
    """
    return float(stats.t.ppf(TOLD_APART, freedom) * sd * math.sqrt(2 / seeds))
