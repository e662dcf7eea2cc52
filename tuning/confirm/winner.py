"""Confirmation: the best configurations and the default again, with new seeds, at full length; then the winner.

The search's own scores are set aside: the best of many noisy scores is mostly luck.
"""

import math
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from data.system.files import replacing
from data.system.wording import clock, counted, show_value
from reid_train.config import TrainConfig
from tuning.confirm.repeats import Repeat, find, repeat_config, repeat_folder
from tuning.confirm.statistics import Comparison
from tuning.decide.pareto import best_trials, limits_of
from tuning.decide.plan import make_plan
from tuning.decide.ranking import within
from tuning.prepare.costs import costs_of
from tuning.record.study import Study
from tuning.record.trial import TrialRecord
from tuning.result.best import trial_folder
from tuning.run.climb import weights_folder
from tuning.space.settings import StudySettings
from tuning.space.space import SearchSpace

DEFAULT = "default"
TIE = 0.4
"""A configuration that is better than the leader with at least this probability is as good as it..."""
CHEAPER = 0.9
"""...and is taken instead where it needs at most this share of the leader's time, and none of its runs more."""
TOLD_APART = 0.975
"""Probability from which one is called better than another: the 95 % interval of their difference leaves 0 out."""


class Winner(NamedTuple):
    """What becomes best/."""

    of: str
    """trial 7, or default."""
    config: TrainConfig
    weights: Path | None
    """The folder of its checkpoint; None where it is gone."""
    score: float


def noise_runs(space: SearchSpace) -> list[Repeat]:
    """The default configuration with the first new seeds."""
    return _with_seeds(space, DEFAULT, space.default(), space.study.noise_seeds)


def confirmation_runs(study: Study) -> list[Repeat]:
    """The best configurations and the default, each with the same new seeds; none without `top_k` or trials."""
    return [run for runs in _candidates(study) for run in runs]


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
    default = space.default()
    counting = [p for p in space.parameters if p.name in default and p.applies({**space.settings, **default})]
    outside = [p.name for p in counting if not p.contains(default[p.name])]
    if (settings.noise_seeds or settings.top_k) and outside:
        values = ", ".join(f"{name} {show_value(default[name])}" for name in outside)
        lines.append(f"note: the default lies outside of what is searched: {values}; a first trial would replace it")
    return lines


def noise(record: Study) -> dict[str, float]:
    """Mean and standard deviation of the default's scores, and the number of its runs; empty below 2."""
    runs = [run for run in record.trials() if run.notes["of"] == DEFAULT and run.state == "complete"]
    scores = [run.score for run in runs if run.score is not None]
    if len(scores) < 2:
        return {}
    return {"mean": float(np.mean(scores)), "sd": float(np.std(scores, ddof=1)), "runs": len(scores)}


def reserved_epochs(space: SearchSpace, concurrency: int) -> int:
    """Epochs, one after the other, that the confirmation will take: what a time budget keeps free for it."""
    settings = space.study
    if not settings.top_k:
        return 0
    runs = (settings.top_k + 1) * settings.seeds - min(settings.noise_seeds, settings.seeds)
    longest = max(space.rungs(space.base_config())[-1], space.largest("num_epochs") if settings.rungs is None else 0)
    return math.ceil(runs / concurrency) * int(longest)


def expectations(study: Study, record: Study, settings: StudySettings, concurrency: int) -> list[str]:
    """What the default's runs let expect of the search, in lines for people; none without such runs."""
    found, space, metric = noise(record), study.space, study.space.study.metric
    if not found:
        return []
    least = smallest_difference(space, found)
    lines = [
        f"noise: {metric} of the default {found['mean']:.3f} ± {found['sd']:.3f} over {found['runs']} seeds; with "
        f"{counted(space.study.seeds, 'seed')} each, differences below {least:.3f} cannot be told apart"
    ]
    if any(parameter.name == "num_epochs" for parameter in space.parameters):
        return lines
    plan = make_plan(settings, space.rungs(space.base_config()), space.reduction, settings.trials)
    paces = [run.seconds / run.epochs for run in record.trials() if run.state == "complete"]
    epochs = plan.epochs / concurrency + reserved_epochs(space, concurrency)
    low, middle, high = (clock(epochs * pace) for pace in (min(paces), statistics.mean(paces), max(paces)))
    budget = f"; the budget is {clock(settings.time_budget)}" if settings.time_budget else ""
    return [
        *lines,
        f"expected: {middle} of training ({low} to {high} at single runs' pace), confirmation included{budget}",
    ]


def smallest_difference(space: SearchSpace, found: dict[str, float]) -> float:
    """How far two configurations' means must lie apart to be told apart (95 %) by the confirmation's seeds.

    By the t distribution with the degrees of freedom of all runs that will show the variance between seeds.
    """
    from scipy import stats

    seeds = space.study.seeds
    freedom = found["runs"] - 1 + (space.study.top_k * (seeds - 1))
    return float(stats.t.ppf(TOLD_APART, freedom) * found["sd"] * np.sqrt(2 / seeds))


def confirm(study: Study, record: Study, data: TrainingData, pixels: Pixels) -> Winner:
    """Compares the runs of the confirmation, records the result and writes confirmation.csv; gives the winner.

    Without a confirmation, or where no candidate's runs are all complete, the winner is the best trial.
    """
    space = study.space
    runs = [[find(record, run) for run in repeats] for repeats in _candidates(study)]
    whole = [found for found in runs if all(run is not None and run.state == "complete" for run in found)]
    done: list[list[TrialRecord]] = [[run for run in found if run is not None] for found in whole]
    if not done:
        study.set_attribute("confirmation", {})
        (study.folder / "confirmation.csv").unlink(missing_ok=True)
        return _best_trial(study)
    scores: list[list[float]] = []
    queries: list[int] = []
    for number in [run.number for found in done for run in found]:
        known = record.attributes.get(f"identities:{number}") or _score_identities(record, number, data, pixels)
        scores.append(known["scores"])
        queries = [int(count) for count in known["queries"]]
    names = [found[0].notes["of"] for found in done]
    scores_CSI = np.array(scores).reshape(len(done), len(done[0]), len(queries))
    limits, costs = _limits(study), [costs_of(study, found[0].notes["parameters"]) for found in done]
    eligible = [name != DEFAULT or within(cost, limits) for name, cost in zip(names, costs, strict=True)]
    sure = Comparison(scores_CSI, queries, chosen=[name != DEFAULT for name in names], eligible=eligible)
    seconds_CS = [[run.seconds for run in found] for found in done]
    place = choose(sure, seconds_CS)
    rows = [
        {
            "configuration": name,
            "mean": round(float(np.mean([run.score for run in found])), 6),
            "low": round(sure.interval(c)[0], 6),
            "high": round(sure.interval(c)[1], 6),
            "p_best": round(float(sure.p_best_C[c]), 4) if eligible[c] else None,
            **costs[c],
            "minutes": round(float(np.mean(seconds_CS[c])) / 60, 2),
            **{f"seed {run.notes['seed']}": run.score for run in found},
            **_parameters(space, found[0]),
        }
        for c, (name, found) in enumerate(zip(names, done, strict=True))
    ]
    rows = [rows[place], *sorted(rows[:place] + rows[place + 1 :], key=lambda row: -row["mean"])]
    import pandas as pd

    with replacing(study.folder / "confirmation.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    missing = [repeats[0].of for repeats, found in zip(_candidates(study), runs, strict=True) if found not in whole]
    sentences = [_sentence(sure, names, place, costs)]
    sentences += [f"{name} was not confirmed: a run of it failed" for name in missing]
    if space.study.seeds == 1:
        sentences.append("with one seed each, what seeds alone change is not in these intervals and probabilities")
    study.set_attribute("confirmation", {"rows": rows, "sentences": sentences})
    middle = sorted(done[place], key=lambda run: run.score or 0.0)[(len(done[place]) - 1) // 2]
    config, weights = repeat_config(space, middle), weights_folder(repeat_folder(record, middle.number))
    return Winner(names[place], config, weights, middle.score or 0.0)


def choose(sure: Comparison, seconds_CS: list[list[float]]) -> int:
    """The configuration most likely to be the best, or the cheapest of those that are as good; its place."""
    leader = int(sure.p_best_C.argmax())
    others = [c for c in range(len(seconds_CS)) if c != leader and sure.eligible_C[c]]
    as_good = [c for c in others if sure.p_better(c, leader) >= TIE]
    mean_C = [sum(seconds) / len(seconds) for seconds in seconds_CS]
    # Times vary with what else a machine does: what is cheaper shows in every run.
    cheaper = [c for c in as_good if mean_C[c] <= CHEAPER * mean_C[leader] and max(seconds_CS[c]) <= mean_C[leader]]
    return min([leader, *cheaper], key=lambda c: mean_C[c])


def _parameters(space: SearchSpace, run: TrialRecord) -> dict[str, Any]:
    """The searched settings of a run, in the space's order."""
    return {p.name: run.notes["parameters"].get(p.name) for p in space.parameters}


def _candidates(study: Study) -> list[list[Repeat]]:
    """The runs of each candidate, the default last; a candidate that is the default is not run twice."""
    space, default = study.space, study.space.default()
    trials = [trial for trial in best_trials(study) if trial.state != "failed"]
    limits = _limits(study)
    trials = [trial for trial in trials if within(trial.costs, limits)] or trials
    top = [trial for trial in trials if {**default, **trial.parameters} != default][: space.study.top_k]
    if not space.study.top_k or not trials:
        return []
    chosen = [(f"trial {trial.number}", trial.parameters) for trial in top] + [(DEFAULT, default)]
    return [_with_seeds(space, name, parameters, space.study.seeds) for name, parameters in chosen]


def _limits(study: Study) -> dict[str, float]:
    """The costs that the winner may have."""
    return limits_of(study.trials(), study.space.study.pick)


def _with_seeds(space: SearchSpace, of: str, parameters: dict[str, Any], seeds: int) -> list[Repeat]:
    """New seeds follow the one that all trials have."""
    first = space.config(parameters).seed + 1
    return [Repeat(of, parameters, seed) for seed in range(first, first + seeds)]


def _best_trial(study: Study) -> Winner:
    best = best_trials(study)[0]
    config = study.space.config(best.parameters).changed(num_epochs=best.rung)
    name, weights = f"trial {best.number}", weights_folder(trial_folder(study, best.number))
    return Winner(name, config, weights, best.score or 0.0)


def _score_identities(record: Study, number: int, data: TrainingData, pixels: Pixels) -> dict[str, list[float]]:
    """Mean score of each validation identity's queries and their number, by the run's weights; on record from then."""
    import pandas as pd

    from reid_train.checkpoint_scores import validation_metrics
    from reid_train.measure.scores import query_figures

    folder = weights_folder(repeat_folder(record, number))
    assert folder is not None, f"the weights of run {number} are gone"
    metrics = validation_metrics(folder, data, pixels)
    figures = query_figures(metrics)[record.space.study.metric.removeprefix("val_")]
    grouped = pd.Series(figures.double().numpy()).groupby(metrics.identity.numpy())
    known = {"scores": [round(mean, 6) for mean in grouped.mean()], "queries": [int(n) for n in grouped.size()]}
    record.set_attribute(f"identities:{number}", known)
    return known


def _sentence(sure: Comparison, names: list[str], place: int, costs: list[dict[str, float]]) -> str:
    """What is to be thought of the winner, beside the default."""
    count = int(sure.eligible_C.sum())
    said = f"winner: {names[place]}, the best of {counted(count, 'configuration')} with probability"
    said += f" {sure.p_best_C[place]:.2f}"
    if count == 1:
        said = f"winner: {names[place]}, the only configuration that was confirmed within the limits of costs"
    if place != (leader := int(sure.p_best_C.argmax())):
        said += f", as good as {names[leader]} ({sure.p_best_C[leader]:.2f}) in less time"
    if DEFAULT not in names:
        return said
    if names[place] == DEFAULT:
        return f"{said}: nothing that was found is better than the default"
    default = names.index(DEFAULT)
    low, high = sure.interval(place, default)
    above = sure.means_C[place] - sure.means_C[default]
    difference = f"its mean is {above:+.3f} from the default's (95% interval {low:+.3f} to {high:+.3f})"
    for name, cost in costs[place].items():
        if cost != costs[default][name]:
            difference += f", {name} {show_value(cost)} instead of {show_value(costs[default][name])}"
    if not sure.eligible_C[default]:
        difference += "; the default exceeds the limits and could not win"
    better = sure.p_better(place, default)
    if better <= 1 - TOLD_APART:
        return f"{said}; worse than the default, which costs more than was picked: {difference}"
    if better < TOLD_APART:
        return f"{said}; it cannot be told from the default: {difference}"
    return f"{said}; better than the default: {difference}"
