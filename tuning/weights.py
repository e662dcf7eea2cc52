"""Where trials keep their weights on disk, which ones stay, and how the winner's become best/."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from data.atomic import read_json, write_json
from data.errors import UserError
from tuning.ranking import best_first
from tuning.study import Study

if TYPE_CHECKING:
    from tuning.confirm import Winner

KEPT_TRIALS = 3
"""Trials whose weights stay on disk: the best ones."""


def trial_folder(study: Study, number: int) -> Path:
    """Where a trial keeps its schedules."""
    return study.folder / "trials" / str(number)


def prune_weights(study: Study) -> None:
    """Removes the weights and states of trials that are not among the best few and do not need them to go on."""
    trials = study.trials()
    kept = {trial.number for trial in best_first(trials)[:KEPT_TRIALS]}
    going_on = {"running", "waiting"} | ({"paused"} if study.space.study.promotion != "restart" else set())
    kept |= {trial.number for trial in trials if trial.state in going_on}
    for folder in (study.folder / "trials").glob("*"):
        if folder.name.isdigit() and int(folder.name) not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def keep_best(folder: Path, best: "Winner") -> None:
    """Copies the winner's weights to the study's best/, unless they are there. Raises UserError when they are gone.

    There they are described by the trial's settings and all of its epochs, not by the last of its schedules alone.
    """
    from reid_train.checkpoint import load_checkpoint, save_checkpoint

    source, target, epochs = best.weights, folder / "best", best.config.num_epochs
    label = {"of": best.of, "epochs": epochs, "seed": best.config.seed, "score": best.score}
    with suppress(FileNotFoundError, UserError):  # what is damaged is copied again
        if read_json(target / "trial.json") == label and load_checkpoint(target).config == best.config:
            return
    if source is None:
        raise UserError(f"{folder}: the weights of {best.of}, the winner, are gone; train it again with tuning.retrain")
    unfinished = target.with_name(".best.tmp")
    for folder in (unfinished, target):
        shutil.rmtree(folder, ignore_errors=True)
    kept = load_checkpoint(source)
    metrics = {**kept.metrics, "epoch": epochs, "num_epochs": epochs}
    save_checkpoint(
        unfinished, kept.weights, config=best.config, epoch=epochs, metrics=metrics, identities=kept.identities
    )
    write_json(unfinished / "trial.json", label)
    unfinished.rename(target)
