"""Studies side by side: what was found, what it took, and whether their difference may be chance.

compared = compare([Path("results/a"), Path("results/b")])
compared["differences"][0]["said"]  # "a is above b by +0.021 (95% interval -0.004 to +0.046): it may be chance"
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from scipy import stats

from data.system.errors import UserError
from data.system.wording import clock, show_value
from reid_train.inference.evaluation_count import read_test_metrics
from tuning.confirm.candidates import DEFAULT, LEVEL, candidates
from tuning.confirm.statistics import identities_sd
from tuning.confirm.verdict import TOLD_APART
from tuning.decide.ranking import repeated_scores, standing_of
from tuning.record.copied import copied_study
from tuning.record.study import Study
from tuning.record.trial import TrialRecord
from tuning.record.unchanged import NAMES
from tuning.result.summary import repeats_of
from tuning.result.tables import print_table

SAME = ("data_fingerprint", "validation_split")
"""Facts in which studies must agree to be compared."""
TEST = ("mAP", "rank1", "mINP")
PLACE_SETTINGS = {"data_dir", "device", "num_threads", "num_workers"}
"""Settings that say where a study ran, not what it tried."""


class Side(NamedTuple):
    """A study to be compared, read from a copy."""

    folder: Path
    name: str
    """What tells it from the others."""
    study: Study
    record: Study | None
    """Of its repeats."""

    @property
    def winner(self) -> dict[str, Any]:
        """The winner's row of confirmation.csv."""
        row: dict[str, Any] = self.study.facts["confirmation"]["rows"][0]
        return row

    @property
    def mean(self) -> float:
        """The score that is expected of the winner."""
        return float(self.winner["mean"])

    @property
    def sd(self) -> float:
        """How much that mean over seeds may be another."""
        return float((self.winner["high"] - self.winner["low"]) / 2 / stats.norm.ppf((1 + LEVEL) / 2))

    @property
    def tells_noise(self) -> bool:
        """Whether it is known how much seeds change a score."""
        return standing_of(self.study, repeated_scores(self.study, self.record)).tells_noise


def compare(folders: Sequence[Path]) -> dict[str, Any]:
    """The studies, and each of the others beside the first, in values that JSON holds.

    Raises UserError where one has no winner yet, and where they are of other images, another split or another metric:
    then their scores cannot be compared.
    """
    with ExitStack() as copies:
        sides = [
            _side(folder, name, copies.enter_context(copied_study(folder)).folder)
            for folder, name in zip(folders, names_of(folders), strict=True)
        ]
        for other in sides[1:]:
            check_same(sides[0], other)
        return {
            "metric": sides[0].study.space.study.metric,
            "studies": [_described(side) for side in sides],
            "settings": _differing([_winner_settings(side) for side in sides]),
            "searches": _differing([_search_settings(side) for side in sides]),
            "differences": [_difference(sides[0], other) for other in sides[1:]],
        }


def names_of(folders: Sequence[Path]) -> list[str]:
    """The studies' names; where two have the same name, their folders as they were given."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else list(map(str, folders))


def _side(folder: Path, name: str, copy: Path) -> Side:
    study = Study(copy)
    if not study.facts.get("confirmation", {}).get("rows"):
        raise UserError(f"{folder}: its search has no winner yet; finish it first: {study.facts.get('command', '')}")
    return Side(folder, name, study, repeats_of(study))


def check_same(one: Side, other: Side) -> None:
    """Raises UserError where scores of the two studies mean different things."""
    for name in SAME:
        here, there = one.study.facts.get(name), other.study.facts.get(name)
        if here is None or there is None:
            raise UserError(f"{(one if here is None else other).folder}: {NAMES[name]} is not on record there")
        if here != there:
            shown = [str(value)[:12] if len(str(value)) == 64 else str(value) for value in (here, there)]
            raise UserError(
                f"{one.folder} and {other.folder} cannot be compared: {NAMES[name]} is {shown[0]} in the first and "
                f"{shown[1]} in the second; evaluate both models on one test set: reid_train.evaluate"
            )
    metrics = [side.study.space.study.metric for side in (one, other)]
    if metrics[0] != metrics[1]:
        raise UserError(f"{one.folder} searched by {metrics[0]}, {other.folder} by {metrics[1]}: no common score")


def _described(side: Side) -> dict[str, Any]:
    """What was found, and what it took."""
    study, winner, trials = side.study, side.winner, side.study.trials()
    repeats = side.record.trials() if side.record is not None else []
    test = read_test_metrics(study.folder)
    epochs, scores = best_by_epochs(trials)
    return {
        "study": str(side.folder),
        "winner": winner["configuration"],
        "mean": side.mean,
        "interval": [winner["low"], winner["high"]],
        "runs": winner["runs"],
        "p_best": winner["p_best"],
        "parameters": {name: winner[name] for name in study.space.searched if winner[name] is not None},
        "trials": len(trials),
        "repeats": len(repeats),
        "epochs": sum(trial.epochs for trial in (*trials, *repeats)),
        "seconds": study.facts.get("elapsed_s", 0.0),
        "test": {name: test[name] for name in (*TEST, "intervals", "queries", "identities") if name in test},
        "looks_at_test": len(test.get("evaluations", [])),
        "best_so_far": {"epochs": epochs, "scores": scores},
    }


def best_by_epochs(trials: Sequence[TrialRecord]) -> tuple[list[int], list[float]]:
    """Each new best score at the top, and the epochs that all trials up to it took, in the order of their numbers."""
    top, spent = max((trial.rung for trial in trials), default=0), 0
    epochs, scores = list[int](), list[float]()
    for trial in trials:
        spent += trial.epochs
        if trial.score is not None and trial.rung == top and trial.score > max(scores, default=-1.0):
            epochs.append(spent)
            scores.append(trial.score)
    return epochs, scores


def _winner_settings(side: Side) -> dict[str, Any]:
    parameters = {name: side.winner[name] for name in side.study.space.searched if side.winner[name] is not None}
    config = side.study.space.config(parameters).model_dump(mode="json", exclude={"seed", *PLACE_SETTINGS})
    length = max((trial.rung for trial in side.study.trials()), default=0)
    return config if side.study.space.searches_length else {**config, "num_epochs": length}


def _search_settings(side: Side) -> dict[str, Any]:
    """Study settings, rungs, and what was searched in which range."""
    space = side.study.space
    settings = {f"study.{name}": value for name, value in space.study.model_dump(mode="json").items()}
    settings["study.rungs"] = list(side.study.plan.rungs or ())
    ranges = {
        f"search.{parameter.name}": list(parameter.choices) or [parameter.low, parameter.high]
        for parameter in space.parameters
    }
    code = {NAMES["training_code"]: (side.study.facts.get("training_code") or "")[:12]}
    return {**settings, **ranges, **code}


def _differing(settings: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The values of each setting that is not the same everywhere; None where a study has it not."""
    names = dict.fromkeys(name for one in settings for name in one)
    values = {name: [one.get(name) for one in settings] for name in names}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def _difference(one: Side, other: Side) -> dict[str, Any]:
    """How far the first winner is above the other, and whether that may be chance.

    Both are means over seeds, each as sure as its study made it; the same validation identities were ranked by both,
    which are resampled together where the scores of each are on record.
    """
    above = one.mean - other.mean
    scores, others = _identity_scores(one), _identity_scores(other)
    identities = scores is not None and others is not None and len(scores["scores"]) == len(others["scores"])
    own = identities_sd(scores["scores"], others["scores"], scores["queries"]) if identities else 0.0
    sd = float(np.sqrt(one.sd**2 + other.sd**2 + own**2))
    half = float(stats.norm.ppf(TOLD_APART)) * sd
    better = float(stats.norm.cdf(above / sd)) if sd else float(above > 0)
    known = one.tells_noise and other.tells_noise
    apart = known and not 1 - TOLD_APART < better < TOLD_APART
    names = [one.name, other.name]
    said = f"{names[0]} minus {names[1]}: {above:+.3f} (95% interval {above - half:+.3f} to {above + half:+.3f}): "
    if not known:
        said += "whether that is chance cannot be told: one of them trained no configuration twice"
    else:
        said += f"{names[0 if above > 0 else 1]} is better" if apart else "it cannot be told from chance"
    if known and not identities:
        said += "; for other validation identities than these it is less sure"
    return {
        "one": str(one.folder),
        "other": str(other.folder),
        "difference": above,
        "interval": [above - half, above + half],
        "p_better": better if known else None,
        "told_apart": apart,
        "identities_counted": identities,
        "said": said,
    }


def _identity_scores(side: Side) -> Any:
    """The winner's score on each validation identity; None where that was not measured."""
    measured, winner = side.study.facts.get("identity_scores", {}), side.winner["configuration"]
    for one in candidates(side.study, side.record):
        if one.of == winner or (winner == DEFAULT and side.study.space.is_default(one.parameters)):
            keys = [
                f"{run.folder.parent.name}/{run.folder.name}" for run in sorted(one.runs, key=lambda run: run.score)
            ]
            return next((measured[key] for key in keys if key in measured), None)
    return None


def print_comparison(compared: dict[str, Any], console: Console) -> None:
    """Tables and sentences for a terminal."""
    studies, metric = compared["studies"], compared["metric"].removeprefix("val_")
    names = names_of([Path(one["study"]) for one in studies])
    header = ["study", "winner", f"expected {metric}", "interval", "runs", "test mAP", "test rank 1", "looks", "trials"]
    header += ["epochs", "time"]
    rows = [[name, *_cells(one)] for name, one in zip(names, studies, strict=True)]
    print_table(console, f"the winners of {len(studies)} studies, in percent", header, rows)
    for title, found in (("the winners' settings", compared["settings"]), ("the searches", compared["searches"])):
        if found:
            cells = [
                [name, *("" if value is None else show_value(value) for value in values)]
                for name, values in found.items()
            ]
            print_table(console, f"{title}, where they differ", ["setting", *names], cells)
    for name, one in zip(names, studies, strict=True):
        steps = zip(one["best_so_far"]["epochs"], one["best_so_far"]["scores"], strict=True)
        console.print(f"{name}: best so far " + ", ".join(f"{score:.3f} by epoch {epoch}" for epoch, score in steps))
    for difference in compared["differences"]:
        console.print(difference["said"], soft_wrap=True)


def _cells(one: dict[str, Any]) -> list[str]:
    test = one["test"]
    low, high = one["interval"]
    figures = [f"{100 * test[name]:.1f}" if name in test else "" for name in ("mAP", "rank1")]
    return [
        one["winner"],
        f"{100 * one['mean']:.1f}",
        f"{100 * low:.1f} to {100 * high:.1f}",
        str(one["runs"]),
        *figures,
        str(one["looks_at_test"]),
        str(one["trials"]),
        str(one["epochs"]),
        clock(one["seconds"]),
    ]
