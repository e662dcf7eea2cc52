"""What each setting of the winner is worth: from the default to the winner, one parameter at a time.

python -m tuning.retrain results/NAME --ablation

Every configuration trains one complete schedule on the trials' training images and is scored on the validation
identities; the test images are not touched.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from data.pixels.bad_images import describe_left_out
from data.pixels.cache import open_pixels
from data.system.files import write_text
from data.system.wording import counted
from reid_train.config import TrainConfig, check_training
from reid_train.history import read_history, write_history
from reid_train.run_folder import Diverged, log_to, train_into
from reid_train.training_images import read_training
from tuning.confirm.winner import noise
from tuning.decide.pareto import best_trials
from tuning.record.study import Study
from tuning.result.conclude import summary_text
from tuning.result.plot_data import comparison_rung, importances
from tuning.result.tables import ABLATION_HEADER, ablation_rows, plain_table


class Step(NamedTuple):
    """A configuration on the way from the default to the winner."""

    changed: str
    """The parameter in which it differs from the step before; "default" for the first."""
    before: Any
    after: Any
    config: TrainConfig


def plan_steps(
    winner: TrainConfig, default: Mapping[str, Any], search: Mapping[str, Any], order: Sequence[str]
) -> list[Step]:
    """The default, then a step a parameter: the first in `order` first, but none before those that its condition names.

    `default` and `search` are those that the study recorded; a parameter that does not count with the default has
    TrainConfig's value there. Raises UserError where a configuration on the way is none.
    """
    config = winner.changed(**{name: default.get(name, TrainConfig.model_fields[name].default) for name in search})
    steps = [Step("default", None, None, config)]
    waiting = [name for name in order if getattr(config, name) != getattr(winner, name)]
    while waiting:
        name = next(name for name in waiting if not _conditions(search[name]) & set(waiting))
        before, after = getattr(config, name), getattr(winner, name)
        config = config.changed(**{name: after})
        steps.append(Step(name, before, after, config))
        waiting.remove(name)
    return steps


def _conditions(described: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> set[str]:
    """The parameters that decide whether, or in which range, a parameter is searched."""
    ranges = [described] if isinstance(described, Mapping) else described
    return {name for one in ranges for name in one.get("when", {})}


def by_importance(study: Study) -> list[str]:
    """The searched parameters, the most important first; in the space's order where the scores are too few to say."""
    found = importances(study.optuna_study.get_trials(deepcopy=False), comparison_rung(study.trials()))
    searched = list(study.attributes["space"]["search"])
    return [*found, *(name for name in searched if name not in found)] if isinstance(found, dict) else searched


def ablate(folder: Path, winner: TrainConfig, seeds: int, cache: dict[str, Any]) -> None:
    """Trains every step with each seed in ablation/STEP/, unless it is finished; writes and prints ablation.csv."""
    study = Study(folder)
    search = study.attributes["space"]["search"]
    steps = plan_steps(winner, study.attributes["default"], search, by_importance(study))
    samples, data, left_out = read_training(winner, cache["cache_dir"])
    if left_out:
        print(describe_left_out(left_out, "training"), flush=True)
    for step in steps:
        check_training(step.config, data)
    log_to(folder / "ablation" / "ablation.log")
    scores: list[float] = []
    for number, step in enumerate(steps):
        place = folder / "ablation" / f"{number}-{step.changed}"
        config = step.config
        print(f"step {number} of {len(steps) - 1}, {counted(config.num_epochs, 'epoch')}: {place}", flush=True)
        pixels = open_pixels(samples, height=config.image_height, width=config.image_width, **cache)
        runs = []
        for seed in range(seeds):
            run = place / f"{config.num_epochs}-epochs-seed-{seed}"
            try:
                train_into(config.changed(seed=seed), data, pixels, run)
                runs.append(read_history(run / "history.csv")[-1]["val_mAP"])
            except Diverged as error:  # of one parameter alone that may be: the others are worth knowing
                print(error)
        scores.append(statistics.fmean(runs) if len(runs) == seeds else math.nan)
    trial = best_trials(study)[0].number
    rows = [
        {
            "trial": trial,
            "step": number,
            "changed": step.changed,
            "from": step.before,
            "to": step.after,
            "val_mAP": scores[number],
            "difference": scores[number] - scores[number - 1] if number else None,
        }
        for number, step in enumerate(steps)
    ]
    study.set_attribute("ablation", rows)
    write_history(folder / "ablation.csv", rows)
    study.set_attribute("ablation_noise", _noise(folder, seeds))
    write_text(folder / "summary.md", summary_text(study))
    title = f"from the default to the winner: one schedule of {counted(winner.num_epochs, 'epoch')}, validation"
    Console().print(plain_table(title, ABLATION_HEADER, ablation_rows(study)))
    print(study.attributes["ablation_noise"])
    print(f"ablation.csv and summary.md are in {folder}")


def _noise(folder: Path, seeds: int) -> str:
    """What of these differences may be luck, in a sentence."""
    found = noise(Study(folder, name="repeats"))
    each = f"{counted(seeds, 'seed')} a step"
    if not found:
        return f"{each}: how much seeds alone change was not measured (study.noise_seeds)"
    alone = f"seeds alone change the default's score by {100 * found['sd']:.1f} points (standard deviation)"
    least = 100 * 2 * found["sd"] * math.sqrt(2 / seeds)
    return f"{each}; {alone}: a difference below {least:.1f} points may be luck"
