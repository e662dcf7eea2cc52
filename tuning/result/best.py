"""best/: the winner's checkpoint in the study's folder.

bring_back(study, record)  # from a storage that several machines share
keep_best(study.folder, winner)
write_best_card(study.folder)  # best/README.md
"""

import logging
import shutil
from contextlib import suppress
from pathlib import Path

from data.system.commands import command
from data.system.errors import UserError
from data.system.files import read_json, write_json
from data.system.passwords import without_passwords
from reid_train.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from reid_train.inference.card import write_card
from tuning.confirm.candidates import candidates
from tuning.confirm.winner import Winner, median_run
from tuning.decide.keep import best_few
from tuning.record.folders import BEST, BEST_LABEL, repeat_folder, trial_folder
from tuning.record.study import Study
from tuning.record.trial import ENDED, TrialState

logger = logging.getLogger(__name__)


def bring_back(study: Study, record: Study) -> None:
    """Copies what a winner may be made of from the storage into the study's folder; `record` is the repeats'.

    Raises UserError when the storage does not answer.
    """
    if study.storage is None:
        return
    places = [trial_folder(study.folder, number) for number in sorted(best_few(study))]
    complete = [run.number for run in record.trials() if run.state is TrialState.COMPLETE]
    runs = [repeat_folder(study.folder, number) for number in complete]
    places += [folder for folder in runs if not folder.is_dir()]  # one that is complete changes no more
    try:
        for folder in places:
            study.storage.load(folder.relative_to(study.folder).as_posix(), folder)
    except OSError as error:
        reason = without_passwords(str(error)).splitlines()[0]
        raise UserError(
            f"--storage {study.storage}: the winner's weights do not come back: {reason}; give the same command again"
        ) from error


def drop_repeats(study: Study, record: Study) -> None:
    """Removes the weights of repeats that nothing needs any more: one run's are kept of each configuration.

    That is the run in the middle, of which best/ would be made; the scores of all runs stay on record.
    """
    kept = {median_run(one).folder for one in candidates(study, record) if one.runs}
    ended = {run.number for run in record.trials() if run.state in ENDED}
    dropped = {number for number in ended if repeat_folder(study.folder, number) not in kept}
    for number in dropped:
        shutil.rmtree(repeat_folder(study.folder, number), ignore_errors=True)
    if study.storage is not None:
        study.storage.keep_only("repeats", {run.number for run in record.trials()} - dropped)


def keep_best(folder: Path, best: Winner) -> None:
    """Copies the winner's weights to the study's best/, unless they are there. Raises UserError when they are gone.

    The copy is described by the trial's settings and all of its epochs, not by its last schedule alone.
    """
    source, target, epochs = best.weights, folder / BEST, best.config.num_epochs
    label = {"of": best.of, "epochs": epochs, "seed": best.config.seed, "score": best.score}
    with suppress(FileNotFoundError, UserError):  # what is damaged is copied again
        if read_json(target / BEST_LABEL) == label and load_checkpoint(target).config == best.config:
            return
    if source is None:
        raise UserError(
            f"{folder}: the weights of {best.of}, the winner, are gone; train it again: "
            f"{command('tuning.retrain', str(folder))}"
        )
    unfinished = target.with_name(".best.tmp")
    for old in (unfinished, target):
        shutil.rmtree(old, ignore_errors=True)
    kept = load_checkpoint(source)
    metrics = {**kept.metrics, "epoch": epochs, "num_epochs": epochs}
    save_checkpoint(
        unfinished, kept.weights, config=best.config, epoch=epochs, metrics=metrics, identities=kept.identities
    )
    write_json(unfinished / BEST_LABEL, label)
    unfinished.rename(target)


def write_best_card(folder: Path) -> None:
    """Writes best/README.md anew, where there is a winner: the test images may have been looked at again."""
    if (folder / BEST).is_dir():
        card_or_warning(folder / BEST)


def card_or_warning(folder: Path) -> None:
    """Writes the model card of a checkpoint's folder. Where it cannot be written, a warning says so: results are not
    lost for it."""
    try:
        write_card(folder)
    except UserError as error:
        logger.warning("the model card was not written: %s", error)
