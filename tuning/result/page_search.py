"""What the page's explorer shows of a search: its trials, axes and importances, as plain values for JSON.

explorer_data(study, best)["trials"][7]["score"]
"""

from collections.abc import Sequence
from typing import Any

from data.system.commands import command
from tuning.decide.pareto import pareto_front
from tuning.decide.ranking import standing_of
from tuning.record.folders import BEST_CONFIG
from tuning.record.study import Study
from tuning.record.trial import TrialRecord
from tuning.result.plot_data import comparison_rung, importances, learning_curves, place, ticks
from tuning.result.plots import COST_NAMES, label_of
from tuning.space.parameter import Parameter
from tuning.space.space import SearchSpace

MOST_POINTS = 40_000
"""Points of all learning curves together; with more, each curve keeps every second, third, ... point and its last."""


def explorer_data(study: Study, best: TrialRecord | None, *, weigh: bool = True) -> dict[str, Any]:
    """All that the explorer needs; `weigh`: with importances, which take a moment."""
    trials, space, settings = study.trials(), study.space, study.space.study
    rung, config = comparison_rung(trials), study.folder / BEST_CONFIG
    found = importances(space, trials, rung) if weigh and rung else "not worked out yet"
    every = 1 + sum(trial.epochs for trial in trials) // MOST_POINTS
    front = {trial.number for trial in pareto_front(study)} if settings.costs else set[int]()
    return {
        "name": study.folder.name,
        "metric": label_of(settings.metric),
        "rung": rung,
        "best": None if best is None else best.number,
        "train": command("reid_train.train", "--config", str(config)) if config.is_file() else None,
        "fixed": {name: value for name, value in study.space.fixed.items() if _is_plain(value)},
        "axes": [_axis(parameter) for parameter in space.parameters],
        "costs": [{"name": cost, "label": COST_NAMES[cost]} for cost in settings.costs],
        "importances": found
        if isinstance(found, str)
        else [[key, round(one.share, 4), round(min(one.by_chance, 1.0), 4)] for key, one in found.items()],
        "trials": _rows(study, trials, rung, every, front),
    }


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


def _axis(parameter: Parameter) -> dict[str, Any]:
    """A parameter's axis; its ticks are those of the plots."""
    return {
        "key": parameter.key,
        "name": parameter.name,
        "log": parameter.log,
        "choices": len(parameter.choices),
        "ticks": [[round(where, 5), label.replace(r"\$", "$")] for where, label in ticks(parameter)],
    }


def _rows(study: Study, trials: Sequence[TrialRecord], rung: int, every: int, front: set[int]) -> list[dict[str, Any]]:
    expected, rows, spent = standing_of(study).expected, list[dict[str, Any]](), 0
    joined = study.space.study.promotion != "restart"
    for trial in trials:
        spent += trial.epochs
        curves = learning_curves(trial, study.space.study.metric, joined=joined)
        rows.append(
            {
                "number": trial.number,
                "state": str(trial.state),
                "cause": "" if trial.cause is None else str(trial.cause),
                "rung": trial.rung,
                "epochs": trial.epochs,
                "spent": spent,
                "seconds": round(trial.seconds),
                "score": _short(trial.score),
                "here": _short(trial.scores.get(rung)),
                "expected": _short(expected.get(trial.number)),
                "default": study.space.is_default(trial.parameters),
                "front": trial.number in front,
                "costs": [trial.costs.get(cost) for cost in study.space.study.costs],
                **_values(study.space, trial),
                "curves": [_thinned(curve.epochs, curve.scores, every) for curve in curves],
            }
        )
    return rows


def _values(space: SearchSpace, trial: TrialRecord) -> dict[str, Any]:
    """The trial's value on each axis and where it lies there; None where the axis does not count."""
    counting = space.counting(trial.parameters)
    return {
        "values": [trial.parameters[p.name] if p in counting else None for p in space.parameters],
        "places": [round(place(p, trial), 4) if p in counting else None for p in space.parameters],
    }


def _short(score: float | None) -> float | None:
    return None if score is None else round(score, 5)


def _thinned(epochs: list[int], scores: list[float], every: int) -> list[list[float]]:
    kept = [at for at in range(len(epochs)) if (len(epochs) - 1 - at) % every == 0]
    return [[epochs[at] for at in kept], [round(scores[at], 4) for at in kept]]
