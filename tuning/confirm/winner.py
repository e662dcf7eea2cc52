"""The winner: of the configurations that were trained to the top, the one of which most is expected becomes best/.

    winner = confirm(study, record, data, pixels)  # writes confirmation.csv

What is expected is the mean over seeds, by the model and all runs: the best of many noisy scores is mostly luck.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from data.system.files import replacing
from data.system.wording import in_spreadsheet
from reid_train.inference.checkpoint_scores import validation_metrics
from reid_train.measure.scores import query_figures
from reid_train.settings.config import TrainConfig
from tuning.confirm.candidates import DEFAULT, Candidate, Comparison, TopRun, candidates
from tuning.confirm.statistics import identities_sd
from tuning.confirm.verdict import verdict
from tuning.decide.pareto import best_trials
from tuning.record.facts import IdentityScores
from tuning.record.prices import costs_of
from tuning.record.study import Study


class Winner(NamedTuple):
    """What becomes best/."""

    of: str
    """trial 7, or default."""
    config: TrainConfig
    weights: Path | None
    """The folder of its checkpoint; None where it is gone."""
    score: float


def confirm(study: Study, record: Study, data: TrainingData, pixels: Pixels) -> Winner:
    """Compares the configurations at the top, records the result and writes confirmation.csv; gives the winner.

    Where every trial failed after its first rung, the winner is the best of them all the same.
    """
    found = candidates(study, record)
    if not found:
        best = best_trials(study)[0]
        config = study.config(best.number).changed(num_epochs=best.rung)
        return Winner(f"trial {best.number}", config, None, best.score or 0.0)
    default = next((place for place, one in enumerate(found) if one.of == DEFAULT), None)
    if default is None:  # compared with all the same, by what its shorter schedules tell
        parameters = study.space.default
        found.append(Candidate(DEFAULT, parameters, [], costs_of(study, parameters), False))
        default = len(found) - 1
    compared = Comparison(study, record, found)
    place = choose(found, compared)
    own = _own_sd(study, found[place], found[default], data, pixels)
    said = verdict(study, found, compared, winner=place, default=default, own_sd=own)
    rows = _table(study, found, compared, place)
    with replacing(study.folder / "confirmation.csv") as temporary:
        pd.DataFrame(rows).map(in_spreadsheet).to_csv(temporary, index=False)
    study.note(confirmation={"rows": rows, "sentences": [said]})
    run = median_run(found[place])
    config = study.space.config(found[place].parameters)
    length = config.num_epochs if study.space.searches_length else max(t.rung for t in study.trials())
    return Winner(found[place].of, config.changed(num_epochs=length, seed=run.seed), run.weights, run.score)


def choose(found: list[Candidate], compared: Comparison) -> int:
    """The place of the candidate of which most is expected, among those that may win and whose weights are kept."""
    may_win = [place for place, one in enumerate(found) if one.runs and one.eligible]
    kept = [place for place in may_win if any(run.weights is not None for run in found[place].runs)]
    return max(kept or may_win, key=lambda place: compared.mean_C[place])


def median_run(winner: Candidate) -> TopRun:
    """The run whose score is in the middle; where its weights are gone, the nearest one whose weights are kept."""
    ranked = sorted(winner.runs, key=lambda run: run.score)
    kept = [rank for rank, run in enumerate(ranked) if run.weights is not None] or range(len(ranked))
    return ranked[min(kept, key=lambda rank: abs(rank - (len(ranked) - 1) // 2))]


def _own_sd(study: Study, winner: Candidate, default: Candidate, data: TrainingData, pixels: Pixels) -> float:
    """How much their difference may be another on other validation identities; 0 where the winner's weights are gone,
    and more than it is where the default's are, or it was not trained to the top."""
    if winner is default or median_run(winner).weights is None:
        return 0.0
    own = _identity_scores(study, median_run(winner), data, pixels)
    if not default.runs or median_run(default).weights is None:
        return identities_sd(own["scores"], None, own["queries"])
    other = _identity_scores(study, median_run(default), data, pixels)
    return identities_sd(own["scores"], other["scores"], own["queries"])


def _identity_scores(study: Study, run: TopRun, data: TrainingData, pixels: Pixels) -> IdentityScores:
    """Mean score and number of each validation identity's queries, by the run's weights; recorded once measured."""
    of_all, key = study.facts.get("identity_scores", {}), f"{run.folder.parent.name}/{run.folder.name}"
    if key in of_all:
        return of_all[key]
    assert run.weights is not None, f"the weights of {key} are gone"
    metrics = validation_metrics(run.weights, data, pixels)
    figures = query_figures(metrics)[study.space.study.metric.removeprefix("val_")]
    grouped = pd.Series(figures.double().numpy()).groupby(metrics.identity.numpy())
    known: IdentityScores = {
        "scores": [round(mean, 6) for mean in grouped.mean()],
        "queries": [int(count) for count in grouped.size()],
    }
    study.note(identity_scores={**of_all, key: known})
    return known


def _table(study: Study, found: list[Candidate], compared: Comparison, winner: int) -> list[dict[str, Any]]:
    """The rows of confirmation.csv: the winner's first, then by what is expected."""
    rows = list[dict[str, Any]]()
    for place, one in enumerate(found):
        low, high = compared.interval(place)
        rows.append(
            {
                "configuration": one.of,
                "mean": round(float(compared.mean_C[place]), 6),
                "low": round(low, 6),
                "high": round(high, 6),
                "p_best": round(float(compared.p_best_C[place]), 4) if one.eligible and compared.tells_noise else None,
                **one.costs,
                "runs": len(one.runs),
                "scores": " ".join(f"{run.score:.6f}" for run in one.runs),
                "minutes": round(float(np.mean([run.seconds for run in one.runs])) / 60, 2) if one.runs else None,
                **{name: one.parameters.get(name) for name in study.space.searched},
            }
        )
    return [rows[winner], *sorted(rows[:winner] + rows[winner + 1 :], key=lambda row: -row["mean"])]
