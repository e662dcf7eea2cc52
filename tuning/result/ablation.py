"""What each setting of the winner is worth: from the default to the winner, one parameter at a time.

    python -m tuning.retrain results/NAME --ablation

Every configuration trains one complete schedule on the trials' training images and is scored on the validation
identities; the test images are not touched. The result is ablation.json, and ablation.csv for people.
"""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

from data.pixels.bad_images import describe_left_out
from data.pixels.cache import open_pixels
from data.system.files import read_json, write_json
from data.system.wording import counted, in_spreadsheet, open_console
from reid_train.settings.config import TrainConfig, fit_defaults
from reid_train.training.check import check_start
from reid_train.training.folder import Diverged, log_to, train_into
from reid_train.training.history import read_history, write_history
from reid_train.training.images import read_training
from tuning.decide.pareto import best_trials
from tuning.decide.ranking import standing_of
from tuning.record.folders import BEST, BEST_LABEL
from tuning.record.old_studies import ablation_of
from tuning.record.study import Study
from tuning.result.plot_data import comparison_rung, importances
from tuning.result.tables import ablation_rows, plain_table
from tuning.space.space import SearchSpace

ABLATION = "ablation.json"
LIKELY = 1.96
"""Standard deviations of a difference that luck alone exceeds in 5 % of cases."""
ABLATION_HEADER = ("step", "changed", "from", "to", "val_mAP", "points")


class Ablation(TypedDict):
    """What ablation.json holds."""

    of: str
    """The winner that it belongs to: trial 7, or default."""
    epochs: NotRequired[int | None]
    """Its schedule's, as best/ has it; with a larger budget the same trial may win with a longer one."""
    rows: list[dict[str, Any]]
    """Those of ablation.csv; a score that is null is that of a run which diverged."""
    noise: str
    """Which differences may be luck, in a sentence."""


class Step(NamedTuple):
    """A configuration on the way from the default to the winner."""

    changed: str
    """The parameter in which it differs from the step before; "default" for the first."""
    before: Any
    after: Any
    config: TrainConfig


def plan_steps(winner: TrainConfig, space: SearchSpace, order: Sequence[str]) -> list[Step]:
    """The default, then a step a parameter: the first in `order` first, but none before those that its condition names.

    Raises UserError where a configuration on the way cannot be trained.
    """
    default = space.default_config()
    config = winner.changed(**{name: getattr(default, name) for name in space.searched})
    steps = [Step("default", None, None, config)]
    waiting = [name for name in order if getattr(config, name) != getattr(winner, name)]
    while waiting:
        name = next(name for name in waiting if not (space.deciding([name]) - {name}) & set(waiting))
        before, after = getattr(config, name), getattr(winner, name)
        config = config.changed(**{name: after})
        steps.append(Step(name, before, after, config))
        waiting.remove(name)
    return steps


def by_importance(study: Study) -> list[str]:
    """The searched settings, the most important first; in the space's order where the scores are too few to say."""
    found = importances(study.space, study.trials(), comparison_rung(study.trials()))
    if isinstance(found, str):
        return study.space.searched
    names = {parameter.key: parameter.name for parameter in study.space.parameters}
    return list(dict.fromkeys([*(names[key] for key in found), *study.space.searched]))


def ablate(folder: Path, winner: TrainConfig, seeds: int, cache: dict[str, Any]) -> None:
    """Trains every step with each seed in ablation/STEP/, unless it is finished; writes and prints the result."""
    study = Study(folder)
    steps = plan_steps(winner, study.space, by_importance(study))
    samples, data, left_out = read_training(winner, cache["cache_dir"])
    if left_out:
        print(describe_left_out(left_out, "training"), flush=True)
    log_to(folder / "ablation" / "ablation.log")
    runs_of = [
        _runs(folder / "ablation" / f"{number}-{step.changed}", step, seeds) for number, step in enumerate(steps)
    ]
    for step, runs in zip(steps, runs_of, strict=True):
        check_start(fit_defaults(step.config, data)[0], data, runs)
    scores: list[float | None] = []
    for number, step in enumerate(steps):
        config, place = step.config, runs_of[number][0].parent
        print(f"step {number} of {len(steps) - 1}, {counted(config.num_epochs, 'epoch')}: {place}", flush=True)
        pixels = open_pixels(samples, height=config.image_height, width=config.image_width, **cache)
        reached = []
        for seed, run in enumerate(runs_of[number]):
            try:
                train_into(config.changed(seed=seed), data, pixels, run)
                reached.append(read_history(run / "history.csv")[-1]["val_mAP"])
            except Diverged as error:  # one parameter alone may diverge: the others are worth knowing
                print(error)
        scores.append(statistics.fmean(reached) if len(reached) == seeds else None)
    rows = [_row(number, step, scores) for number, step in enumerate(steps)]
    of, epochs = winner_of(study)
    result: Ablation = {"of": of, "epochs": epochs, "rows": rows, "noise": _noise(folder, seeds)}
    write_json(folder / ABLATION, result)
    write_history(folder / "ablation.csv", [{name: in_spreadsheet(cell) for name, cell in row.items()} for row in rows])
    title = f"from the default to the winner: one schedule of {counted(winner.num_epochs, 'epoch')}, validation"
    open_console().print(plain_table(title, ABLATION_HEADER, ablation_rows(rows)))
    print(result["noise"])
    print(f"ablation.csv and summary.md are in {folder}")


def _runs(place: Path, step: Step, seeds: int) -> list[Path]:
    """The folders of a step's runs, one a seed."""
    return [place / f"{step.config.num_epochs}-epochs-seed-{seed}" for seed in range(seeds)]


def read_ablation(study: Study) -> Ablation | None:
    """The ablation of the study's winner; None where it was not run, or was run for an earlier winner."""
    file = study.folder / ABLATION
    if not file.is_file():
        old, best = ablation_of(study.facts), best_trials(study, most=1)
        return cast(Ablation, old) if old and best and old["of"] == f"trial {best[0].number}" else None
    found = cast(Ablation, read_json(file))
    of, epochs = winner_of(study)
    return found if (found["of"], found.get("epochs", epochs)) == (of, epochs) else None


def winner_of(study: Study) -> tuple[str, int | None]:
    """What best/ is made of, trial 7 or default, and the epochs of its schedule; None where best/ is not there."""
    label = study.folder / BEST / BEST_LABEL
    if not label.is_file():
        return f"trial {best_trials(study)[0].number}", None
    kept = read_json(label)
    return kept["of"], kept["epochs"]


def _row(number: int, step: Step, scores: Sequence[float | None]) -> dict[str, Any]:
    here, before = scores[number], scores[number - 1] if number else None
    return {
        "step": number,
        "changed": step.changed,
        "from": step.before,
        "to": step.after,
        "val_mAP": here,
        "difference": None if here is None or before is None else here - before,
    }


def _noise(folder: Path, seeds: int) -> str:
    """Which of these differences may be luck, in a sentence."""
    found = standing_of(Study(folder))
    sd = 100 * found.noise
    least = sd * LIKELY * math.sqrt(2 / seeds)
    alone = f"seeds alone change a score by {sd:.1f} points (standard deviation)"
    return f"{counted(seeds, 'seed')} a step; {alone}: a difference below {least:.1f} points may be luck"
