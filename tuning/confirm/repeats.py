"""Repeats: configurations at the top that are trained again with new seeds, one run at a time.

Which one follows from all that is known so far: the leader, or the one most likely to be better than it, whichever has
fewer runs. The runs have a record of their own beside the study's trials, in the same file.

    Repeats(record, study, purse)  # Work for run_trials
"""

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

from data.system.errors import UserError
from data.system.wording import counted
from reid_train.settings.config import TrainConfig
from tuning.confirm.candidates import DEFAULT, Candidate, Comparison, candidates
from tuning.decide.budget import LENGTHS_FOR_DEFAULT, Purse
from tuning.decide.stopping import has_settled
from tuning.record.folders import repeat_folder
from tuning.record.job import TrialJob
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState
from tuning.space.plan import Plan
from tuning.space.space import SearchSpace


class Repeat(NamedTuple):
    """One repeat."""

    of: str
    """What is trained again: default, or trial 7."""
    parameters: dict[str, Any]
    """Values of the searched settings."""
    seed: int


class RepeatNotes(TypedDict):
    """A Repeat as its row keeps it: the row's own parameters are empty."""

    of: str
    parameters: dict[str, Any]
    seed: int


class Repeats:
    """What is left of the budget, spent on repeats: for them what Policy is for a search's trials."""

    def __init__(self, record: Study, search: Study, purse: Purse):
        """`record` is open_record's, `search` has the trials."""
        self.study, self.search, self.purse = record, search, purse
        self.settings, self.plan = search.space.study, search.plan

    @property
    def planned(self) -> int:
        """Number of runs in all, with those that are done."""
        return len(self.study.trials()) + max(0, int(self.purse.left() / self.purse.longest))

    @property
    def announcement(self) -> str:
        """What is to be done, in a few words."""
        return f"repeats of the best, {counted(self.planned, 'run')} at most"

    def name(self, number: int) -> str:
        """What a run is called."""
        notes = notes_of(self.study.trial(number))
        return f"{notes['of']}, seed {notes['seed']}"

    def job(self, number: int) -> TrialJob:
        """The way to the top, as trials went it, but without a stop between."""
        config = repeat_config(self.search.space, self.plan, self.study.trial(number))
        rungs = self.plan.rungs_of(config)
        return TrialJob(
            number=number,
            config=config,
            rungs=rungs if self.plan.promotion == "continue" else rungs[-1:],
            promotion=self.plan.promotion,
            behind=0,
            folder=str(repeat_folder(self.study.folder, number).absolute()),
            state_interval_s=self.settings.state_interval,
        )

    def is_over(self) -> bool:
        """Whether time is up."""
        return self.purse.is_over()

    def tidy(self) -> None:
        """Nothing: the winner is not known before the last run."""

    def has_work(self) -> bool:
        """Whether `next_trial` would give a run."""
        return self._interrupted() is not None or self._next() is not None

    def next_trial(self) -> int | None:
        """The run to train now; None for none."""
        if (number := self._interrupted()) is not None:
            self.study.go_on(number)
            return number
        repeat = self._next()
        return None if repeat is None else self.study.add({}, repeat._asdict())

    def at_rung_end(self, number: int, rung: int) -> bool:
        """Ends the run at its last rung."""
        if rung < self.job(number).rungs[-1]:
            return True
        self.study.finish(number, TrialState.COMPLETE)
        return False

    def _interrupted(self) -> int | None:
        """A run that was interrupted and would still end in time."""
        waiting = self.study.waiting()
        return next((number for number in waiting if self.purse.holds_promised(number, self.study)), None)

    def _next(self) -> Repeat | None:
        if self.search.space.searches_length or not self.purse.holds(self.purse.longest):
            return None
        if (repeat := self._default()) is not None:
            return repeat
        return None if has_settled(self.search, self.study) else next_repeat(self.search, self.study)

    def _default(self) -> Repeat | None:
        """The default, where it could not be a trial, and the budget has room for more than it."""
        space = self.search.space
        if not space.outside(space.default) or self.purse.total() / self.purse.longest < LENGTHS_FOR_DEFAULT:
            return None
        if any(notes_of(run)["of"] == DEFAULT for run in self.study.trials()):
            return None
        return Repeat(DEFAULT, space.default, space.default_config().seed + 1)


def next_repeat(study: Study, record: Study) -> Repeat | None:
    """The leader, or the one most likely to be better than it, whichever has fewer runs; None without a candidate."""
    found = [one for one in candidates(study, record) if one.eligible]
    if not found:
        return None
    compared = Comparison(study, record, found)
    leader = int(compared.mean_C.argmax())
    chosen = found[leader]
    if len(found) > 1:
        better = [compared.p_better(place, leader) if place != leader else -1.0 for place in range(len(found))]
        challenger = found[better.index(max(better))]
        chosen = challenger if _runs(record, challenger) < _runs(record, chosen) else chosen
    return Repeat(chosen.of, chosen.parameters, _new_seed(study, record, chosen))


def _runs(record: Study, candidate: Candidate) -> int:
    """Its runs, with those that still run and those that failed."""
    return 1 + sum(notes_of(run)["parameters"] == candidate.parameters for run in record.trials())


def _new_seed(study: Study, record: Study, candidate: Candidate) -> int:
    """The first seed that the configuration was not trained with; the same for all, so that runs pair."""
    used = {run.seed for run in candidate.runs}
    used |= {notes_of(run)["seed"] for run in record.trials() if notes_of(run)["parameters"] == candidate.parameters}
    seed = study.space.config(candidate.parameters).seed + 1
    while seed in used:
        seed += 1
    return seed


def repeats_of(study: Study) -> Study | None:
    """The record of a study's repeats; None where it is in memory alone, or has none."""
    with suppress(UserError):  # an old study may have none
        return Study(study.folder, name="repeats")
    return None


def open_record(folder: Path, space: SearchSpace, server: tuple[str, str] | None = None) -> Study:
    """The record of a study's repeats, as Study's; what was interrupted waits to go on."""
    record = Study(folder, space, name="repeats", server=server)
    record.keep_space()
    record.settle()
    return record


def notes_of(run: TrialRecord) -> RepeatNotes:
    """What a run repeats."""
    return cast(RepeatNotes, run.notes)


def repeat_config(space: SearchSpace, plan: Plan, run: TrialRecord) -> TrainConfig:
    """All settings of a run."""
    config = space.config(notes_of(run)["parameters"])
    return config.changed(num_epochs=plan.rungs_of(config)[-1], seed=notes_of(run)["seed"])
