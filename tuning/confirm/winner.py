"""The winner: the best configurations and the default are compared by their runs with new seeds, and one becomes best/.

    winner = confirm(study, record, data, pixels)  # writes confirmation.csv

The search's own scores are set aside: the best of many noisy scores is mostly luck.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from data.system.files import replacing
from data.system.wording import counted, show_value
from reid_train.inference.checkpoint_scores import validation_metrics
from reid_train.measure.scores import query_figures
from reid_train.settings.config import TrainConfig
from tuning.confirm.candidates import DEFAULT, TOLD_APART, candidates, cost_limits
from tuning.confirm.repeats import find, notes_of, repeat_config
from tuning.confirm.statistics import Comparison
from tuning.decide.pareto import best_trials
from tuning.decide.ranking import within
from tuning.record.facts import IdentityScores
from tuning.record.folders import repeat_folder, trial_folder, weights_folder
from tuning.record.old_studies import identity_scores_of
from tuning.record.prices import costs_of
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState

TIE = 0.4
"""A configuration is as good as the leader if it is better with at least this probability."""
CHEAPER = 0.9
"""Such a configuration wins if it needs at most this share of the leader's time, and none of its runs needs more."""


class Winner(NamedTuple):
    """What becomes best/."""

    of: str
    """trial 7, or default."""
    config: TrainConfig
    weights: Path | None
    """The folder of its checkpoint; None where it is gone."""
    score: float


class Confirmed(NamedTuple):
    """The candidates all of whose runs are complete, and how they compare. C of them."""

    names: list[str]
    runs: list[list[TrialRecord]]
    """By configuration, one for each seed."""
    costs: list[dict[str, float]]
    sure: Comparison

    @property
    def seconds_CS(self) -> list[list[float]]:
        """Training time of each run."""
        return [[run.seconds for run in runs] for runs in self.runs]


def confirm(study: Study, record: Study, data: TrainingData, pixels: Pixels) -> Winner:
    """Compares the candidates by their repeats, records the result and writes confirmation.csv; gives the winner.

    Without a confirmation, or where no candidate's runs are all complete, the winner is the best trial.
    """
    wanted = candidates(study)
    found = [[find(record, repeat) for repeat in repeats] for repeats in wanted]
    done = [[r for r in runs if r is not None and r.state is TrialState.COMPLETE] for runs in found]
    whole = [runs for runs, repeats in zip(done, wanted, strict=True) if len(runs) == len(repeats)]
    if not whole:
        study.note(confirmation={})
        (study.folder / "confirmation.csv").unlink(missing_ok=True)
        return _best_trial(study)
    confirmed = _compare(study, record, whole, data, pixels)
    place = choose(confirmed.sure, confirmed.seconds_CS)
    rows = _table(study, confirmed, place)
    with replacing(study.folder / "confirmation.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    sentences = [_sentence(confirmed, place)]
    missing = [repeats[0].of for repeats, runs in zip(wanted, done, strict=True) if len(runs) < len(repeats)]
    sentences += [f"{name} was not confirmed: a run of it failed" for name in missing]
    if study.space.study.seeds == 1:
        sentences.append("with one seed each, what seeds alone change is not in these intervals and probabilities")
    study.note(confirmation={"rows": rows, "sentences": sentences})
    return _median_run(study, record, confirmed.names[place], confirmed.runs[place])


def choose(sure: Comparison, seconds_CS: list[list[float]]) -> int:
    """The configuration most likely to be the best, or the cheapest of those that are as good; its place."""
    leader = int(sure.p_best_C.argmax())
    others = [c for c in range(len(seconds_CS)) if c != leader and sure.eligible_C[c]]
    as_good = [c for c in others if sure.p_better(c, leader) >= TIE]
    mean_C = [sum(seconds) / len(seconds) for seconds in seconds_CS]
    # Times vary with what else a machine does: what is cheaper shows in every run.
    cheaper = [c for c in as_good if mean_C[c] <= CHEAPER * mean_C[leader] and max(seconds_CS[c]) <= mean_C[leader]]
    return min([leader, *cheaper], key=lambda c: mean_C[c])


def _compare(
    study: Study, record: Study, whole: list[list[TrialRecord]], data: TrainingData, pixels: Pixels
) -> Confirmed:
    known = [_identity_scores(record, run.number, data, pixels) for runs in whole for run in runs]
    queries = [int(count) for count in known[-1]["queries"]]
    scores_CSI = np.array([one["scores"] for one in known]).reshape(len(whole), len(whole[0]), len(queries))
    names = [notes_of(runs[0])["of"] for runs in whole]
    costs = [costs_of(study, notes_of(runs[0])["parameters"]) for runs in whole]
    limits = cost_limits(study)
    sure = Comparison(
        scores_CSI,
        queries,
        chosen=[name != DEFAULT for name in names],
        eligible=[name != DEFAULT or within(cost, limits) for name, cost in zip(names, costs, strict=True)],
    )
    return Confirmed(names, whole, costs, sure)


def _identity_scores(record: Study, number: int, data: TrainingData, pixels: Pixels) -> IdentityScores:
    """Mean score and number of each validation identity's queries, by the run's weights; recorded once measured."""
    of_all = record.facts.get("identity_scores") or identity_scores_of(record.facts)
    if str(number) in of_all:
        return of_all[str(number)]
    folder = weights_folder(repeat_folder(record.folder, number))
    assert folder is not None, f"the weights of run {number} are gone"
    metrics = validation_metrics(folder, data, pixels)
    figures = query_figures(metrics)[record.space.study.metric.removeprefix("val_")]
    grouped = pd.Series(figures.double().numpy()).groupby(metrics.identity.numpy())
    known: IdentityScores = {
        "scores": [round(mean, 6) for mean in grouped.mean()],
        "queries": [int(count) for count in grouped.size()],
    }
    record.note(identity_scores={**of_all, str(number): known})
    return known


def _table(study: Study, confirmed: Confirmed, place: int) -> list[dict[str, Any]]:
    """The rows of confirmation.csv: the winner's first, then by mean."""
    sure, rows = confirmed.sure, list[dict[str, Any]]()
    for c, (name, runs) in enumerate(zip(confirmed.names, confirmed.runs, strict=True)):
        low, high = sure.interval(c)
        parameters = notes_of(runs[0])["parameters"]
        rows.append(
            {
                "configuration": name,
                "mean": round(float(np.mean([run.score for run in runs])), 6),
                "low": round(low, 6),
                "high": round(high, 6),
                "p_best": round(float(sure.p_best_C[c]), 4) if sure.eligible_C[c] else None,
                **confirmed.costs[c],
                "minutes": round(float(np.mean(confirmed.seconds_CS[c])) / 60, 2),
                **{f"seed {notes_of(run)['seed']}": run.score for run in runs},
                **{parameter: parameters.get(parameter) for parameter in study.space.searched},
            }
        )
    return [rows[place], *sorted(rows[:place] + rows[place + 1 :], key=lambda row: -row["mean"])]


def _median_run(study: Study, record: Study, name: str, runs: list[TrialRecord]) -> Winner:
    """The winner by the run whose score is in the middle."""
    middle = sorted(runs, key=lambda run: run.score or 0.0)[(len(runs) - 1) // 2]
    weights = weights_folder(repeat_folder(record.folder, middle.number))
    return Winner(name, repeat_config(study.space, study.plan, middle), weights, middle.score or 0.0)


def _best_trial(study: Study) -> Winner:
    best = best_trials(study)[0]
    weights = weights_folder(trial_folder(study.folder, best.number))
    config = study.config(best.number).changed(num_epochs=best.rung)
    return Winner(f"trial {best.number}", config, weights, best.score or 0.0)


def _sentence(confirmed: Confirmed, place: int) -> str:
    """What can be said of the winner, compared with the default."""
    names, costs, sure = confirmed.names, confirmed.costs, confirmed.sure
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
