"""Which trials' weights stay on disk: those of the best few, and of trials that need them to go on.

prune_weights(study)  # after each trial: removes the others
"""

import shutil

from tuning.decide.pareto import best_trials
from tuning.record.study import Study
from tuning.record.trial import TrialState

KEPT_TRIALS = 5
"""Trials whose weights stay on disk: the best ones."""


def best_few(study: Study) -> set[int]:
    """The numbers of the trials whose weights the winner may have, and of the default, which it is compared with."""
    own = {trial.number for trial in study.trials() if trial.scores and study.space.is_default(trial.parameters)}
    return {trial.number for trial in best_trials(study, most=KEPT_TRIALS)} | own


def prune_weights(study: Study) -> None:
    """Removes the weights and states of trials that are neither among the best few nor going on from them."""
    going_on = {TrialState.RUNNING, TrialState.WAITING}
    if study.plan.promotion != "restart":
        going_on.add(TrialState.PAUSED)
    kept = best_few(study) | {trial.number for trial in study.trials() if trial.state in going_on}
    for folder in (study.folder / "trials").glob("*"):
        if folder.name.isdigit() and int(folder.name) not in kept:
            shutil.rmtree(folder, ignore_errors=True)
    if study.storage is not None:
        study.storage.keep_only("trials", kept)
