"""Warm starts: published recipes and the best of earlier studies, to try first.

An earlier study's scores are no scores of this one: the model takes them as another source, which may go along with it.

space, lines = warm_started(space, ["results/other"])
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.system.errors import UserError
from data.system.wording import counted, show_value
from reid_train.settings.config import TrainConfig, read_config
from tuning.decide.pareto import best_trials
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.space.read import NOT_SEARCHABLE
from tuning.space.space import EarlierScore, SearchSpace

RECIPES = Path(__file__).resolve().parents[2] / "search_spaces" / "recipes"
"""Published recipes, a file each: settings as reid_train.train takes them."""
MOST_EARLIER = 150
"""Scores of earlier studies that the model takes: the best."""
TAKEN = 3
"""Configurations that are taken from an earlier study: the best ones."""
NO_RECIPE = {*NOT_SEARCHABLE, "num_epochs", "num_workers", "seed", "device", "precision", "compile", "num_threads"}
"""Settings that are no part of a recipe: data, machine, and the epochs, which the rungs set."""


def warm_started(space: SearchSpace, folders: Sequence[str | Path]) -> tuple[SearchSpace, list[str]]:
    """The space with its recipes and the best of earlier studies in `folders`, and a line about each of them.

    Each becomes a first trial of the settings that this space searches; what is tried already is not tried twice.
    Raises UserError for a recipe that does not exist, and for a folder without a study.
    """
    sources = [(name, _recipe(space, number, name)) for number, name in enumerate(space.study.warm_start)]
    sources += [source for folder in folders for source in _best_of(Path(folder))]
    earlier = [score for folder in folders for score in _scores_of(space, Path(folder))]
    earlier = sorted(earlier, key=lambda one: -one.score)[:MOST_EARLIER]
    tried = [{p.name: trial[p.name] for p in space.counting(trial)} for trial in space.first_trials]
    starts: list[dict[str, Any]] = []
    lines = []
    for name, config in sources:
        values, remarks = _fitted(space, config)
        if values in [*tried, *starts]:
            remarks.append("the same as one before, tried once")
        elif values:
            starts.append(values)
        lines.append(f"warm start {name}: {'; '.join(remarks) or 'as it is'}")
    if earlier:
        lines.append(f"the model learns from {counted(len(earlier), 'score')} of earlier studies, as of another source")
    return replace(space, warm_starts=tuple(starts), earlier=tuple(earlier)), lines


def _recipe(space: SearchSpace, number: int, name: str) -> TrainConfig:
    names = sorted(file.stem for file in RECIPES.glob("*.yaml"))
    if name not in names:
        where = space.source.at("study", "warm_start", number)
        raise UserError(f"{where}: {name!r} is no recipe; there are {', '.join(names)}")
    return read_config(str(RECIPES / f"{name}.yaml"))


def _best_of(folder: Path) -> list[tuple[str, TrainConfig]]:
    study = Study(folder)
    best = [trial for trial in best_trials(study) if trial.state is not TrialState.FAILED][:TAKEN]
    if not best:
        raise UserError(f"{folder}: none of its trials ended a schedule well; there is nothing to start from")
    return [(f"{folder}, trial {t.number}", study.config(t.number).changed(num_epochs=t.rung)) for t in best]


def _scores_of(space: SearchSpace, folder: Path) -> list[EarlierScore]:
    """Scores of an earlier study whose configurations lie in this space, but for what they fix otherwise."""
    study, found = Study(folder), []
    for trial in study.trials():
        values, _ = _fitted(space, study.config(trial.number))
        searched = {parameter.name for parameter in space.counting(values)}
        if {name: trial.parameters.get(name, values[name]) for name in searched} != values:
            continue
        found += [EarlierScore(values, f"{folder}, {rung} epochs", score) for rung, score in trial.scores.items()]
    return found


def _fitted(space: SearchSpace, config: TrainConfig) -> tuple[dict[str, Any], list[str]]:
    """The recipe's values of the settings that are searched with it, and in words what differs here."""
    here, there = space.base_config().model_dump(), config.model_dump()
    values: dict[str, Any] = {}
    remarks = []
    for parameter in space.parameters:
        name = parameter.name
        if not parameter.applies({**here, **values}):
            continue
        value = show_value(there[name])
        if not (near := parameter.nearest(there[name])):
            remarks.append(f"{name} {value} is no choice here and left open")
            continue
        (values[name],) = near
        if near[0] != there[name]:
            remarks.append(f"{name} {value} becomes {show_value(near[0])}")
    fixed = [
        f"{name} {show_value(here[name])} instead of {show_value(value)}"
        for name, value in there.items()
        if name not in {*space.searched, *NO_RECIPE} and here[name] != value
    ]
    return values, [*remarks, *([f"fixed otherwise: {', '.join(fixed)}"] if fixed else [])]
