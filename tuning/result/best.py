"""Where trials keep their weights on disk, which ones stay, and how the winner's become best/."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from data.system.errors import UserError
from data.system.files import read_json, write_json
from data.system.passwords import without_passwords
from tuning.confirm.repeats import repeat_folder
from tuning.decide.pareto import best_trials
from tuning.record.study import Study

if TYPE_CHECKING:
    from tuning.confirm.winner import Winner

KEPT_TRIALS = 3
"""Trials whose weights stay on disk: the best ones."""


def trial_folder(study: Study, number: int) -> Path:
    """Where a trial keeps its schedules."""
    return study.folder / "trials" / str(number)


def prune_weights(study: Study) -> None:
    """Removes the weights and states of trials that are not among the best few and do not need them to go on."""
    trials = study.trials()
    kept = _best_few(study)
    going_on = {"running", "waiting"} | ({"paused"} if study.space.study.promotion != "restart" else set())
    kept |= {trial.number for trial in trials if trial.state in going_on}
    for folder in (study.folder / "trials").glob("*"):
        if folder.name.isdigit() and int(folder.name) not in kept:
            shutil.rmtree(folder, ignore_errors=True)
    if study.storage is not None:
        study.storage.keep_only("trials", kept)


def bring_back(study: Study, record: Study) -> None:
    """Copies what a winner may be made of from the storage into the study's folder; `record` is the repeats'.

    Raises UserError when the storage does not answer.
    """
    if study.storage is None:
        return
    places = [trial_folder(study, number) for number in sorted(_best_few(study))]
    runs = [repeat_folder(record, run.number) for run in record.trials() if run.state == "complete"]
    places += [folder for folder in runs if not folder.is_dir()]  # one that is complete changes no more
    try:
        for folder in places:
            study.storage.load(folder.relative_to(study.folder).as_posix(), folder)
    except OSError as error:
        reason = without_passwords(str(error)).splitlines()[0]
        raise UserError(
            f"--storage {study.storage}: the winner's weights do not come back: {reason}; give the same command again"
        ) from error


def _best_few(study: Study) -> set[int]:
    return {trial.number for trial in best_trials(study)[:KEPT_TRIALS]}


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
