"""Failures that may be the machine's doing: a GPU that is gone, a disk that was unmounted, weights that were moved.

    failed(study, number, cause)  # the trial waits, unless its configuration is to blame
    trained(study, number)  # a trial that began later has trained: the machine works, those that wait have failed

Were each put on record at once, a broken machine would use up a search's trials within minutes.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, NoReturn

from data.system.errors import UserError
from reid_train.settings.config import ARCHITECTURE
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.run.work import Work

ALIKE = 3
"""Failures of one kind, while no trial began and trained, that stop a search."""
NUMBERS = re.compile(r"\b(0x)?[0-9a-f]*\d[0-9a-f]*\b")
"""Numbers and addresses: trials that fail alike have other ones in their times, say."""
PATHS = re.compile(r"\S*/\S*")
"""Files: of a disk that is gone each trial misses another image."""
DECIDES_MEMORY = (*ARCHITECTURE, "batch_size")
"""Settings that decide most of the memory that a trial takes."""


def failed(study: Study, number: int, cause: Cause) -> None:
    """Puts a failure on record where the configuration brought it about, else makes the trial wait.

    Raises UserError where ALIKE trials wait that failed alike, and no choice of a setting, or of two, sets them apart
    from others.
    """
    if _is_its_own(study, number, cause):
        study.finish(number, TrialState.FAILED, cause)
        return
    study.doubt(number, cause)
    alike = [other for other, doubt in study.doubted.items() if _key(doubt.cause) == _key(cause)]
    if len(alike) >= ALIKE and not _set_apart(study, alike):
        _stop(alike, cause)


def trained(study: Study, number: int) -> None:
    """A trial has trained an epoch. If it began after the last failure, those that wait have failed by themselves."""
    if study.doubted and number not in [*study.doubted.values()][-1].beside:
        convict(study)


def at_end(work: Work) -> bool:
    """To be asked when nothing else is to be run: puts what waits on record, and says whether there was any.

    Raises UserError where no trial of the search has trained at all: then nothing shows that the machine can.
    """
    doubted = work.study.doubted
    if doubted and not any(trial.epochs for trial in work.purse.study.trials()):
        _stop(list(doubted), [*doubted.values()][-1].cause)
    return convict(work.study)


def convict(study: Study) -> bool:
    """Puts the failures that wait on record; says whether there were any."""
    waiting = study.doubted.keys() & set(study.in_state(TrialState.WAITING))  # another driver may have taken one over
    for number in sorted(waiting):
        study.finish(number, TrialState.FAILED, study.doubted[number].cause)
    study.doubted.clear()
    return bool(waiting)


def _is_its_own(study: Study, number: int, cause: Cause) -> bool:
    """Whether the configuration brought it about. Memory that was enough for this trial, or for one as large, is
    missing because others use it, too."""
    if cause.kind is Kind.OUT_OF_MEMORY:
        size = _choices(study.trial(number).parameters, DECIDES_MEMORY)
        return size not in {_choices(trial.parameters, DECIDES_MEMORY) for trial in study.trials() if trial.epochs}
    return cause.shows_bad_region


def _set_apart(study: Study, numbers: Sequence[int]) -> bool:
    """Whether these trials share a choice of a setting, or of two, that no trial which has trained has."""
    others = [trial.parameters for trial in study.trials() if trial.epochs]
    searched = sorted({p.name for p in study.space.parameters if p.kind == "categorical" and len(p.choices) > 1})
    for names in (*combinations(searched, 1), *combinations(searched, 2)):
        shared = {_choices(study.trial(number).parameters, names) for number in numbers}
        if len(shared) == 1 and not shared & {_choices(parameters, names) for parameters in others}:
            return True
    return False


def _choices(parameters: Mapping[str, Any], names: Iterable[str]) -> str:
    return json.dumps([parameters.get(name) for name in names])


def _stop(numbers: Sequence[int], cause: Cause) -> NoReturn:
    how_many = f"{len(numbers)} trials failed alike" if len(numbers) > 1 else "a trial failed"
    raise UserError(
        f"{how_many} and none has trained since: {cause}; that says nothing about their settings, so they are not "
        "counted: mend the cause and give the same command, which goes on with them"
    )


def _key(cause: Cause) -> tuple[Kind, str]:
    """What failures that are alike share. Numbers count where they are those of settings."""
    text = PATHS.sub("", cause.text)
    return cause.kind, text if cause.kind is Kind.DOES_NOT_FIT else NUMBERS.sub("", text)
