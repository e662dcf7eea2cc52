"""Repeats: configurations that are trained again with new seeds, at full length.

Before the search they show how much seeds change the default's score, after it they confirm the best. They have a
record of their own beside the study's trials, in the same file.

    Repeats(record, study.plan, confirmation_runs(study), "confirmation")  # Work for run_trials
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

from data.system.wording import counted
from reid_train.settings.config import TrainConfig
from tuning.record.folders import repeat_folder
from tuning.record.job import TrialJob
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState
from tuning.space.plan import Plan
from tuning.space.space import SearchSpace


class Repeat(NamedTuple):
    """One repeat that is wanted."""

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
    """The repeats that are wanted, as Work: for them what Policy is for a search's trials."""

    def __init__(self, record: Study, plan: Plan, wanted: Sequence[Repeat], purpose: str):
        """`record` is open_record's; what it holds is not run again. `plan` is the study's; `purpose` is for people."""
        self.study, self.settings, self.plan, self.wanted = record, record.space.study, plan, wanted
        self.purpose = purpose

    @property
    def planned(self) -> int:
        """Number of runs in all, with those that are done."""
        return len(self.study.trials()) + len(self._missing())

    @property
    def announcement(self) -> str:
        """What is to be done, in a few words."""
        return f"{self.purpose}, {counted(len(self._missing()) + len(self._waiting()), 'run')}"

    def name(self, number: int) -> str:
        """What a run is called."""
        notes = notes_of(self.study.trial(number))
        return f"{notes['of']}, seed {notes['seed']}"

    def job(self, number: int) -> TrialJob:
        """One complete schedule of full length."""
        config = repeat_config(self.study.space, self.plan, self.study.trial(number))
        return TrialJob(
            number=number,
            config=config,
            rungs=(config.num_epochs,),
            promotion="restart",
            behind=0,
            folder=str(repeat_folder(self.study.folder, number).absolute()),
            state_interval_s=self.settings.state_interval,
        )

    def tidy(self) -> None:
        """Nothing: the winner is not known before the last run."""

    def has_work(self) -> bool:
        """Whether `next_trial` would give a run."""
        return bool(self._waiting() or self._missing())

    def next_trial(self) -> int | None:
        """The run to train now; None for none."""
        for number in self._waiting():
            self.study.go_on(number)
            return number
        for repeat in self._missing():
            return self.study.add({}, repeat._asdict())
        return None

    def at_rung_end(self, number: int, rung: int) -> bool:
        """Ends the run: its only rung is the last."""
        self.study.finish(number, TrialState.COMPLETE)
        return False

    def _waiting(self) -> list[int]:
        """Runs that were interrupted and are still wanted."""
        runs = (find(self.study, repeat) for repeat in self.wanted)
        return [run.number for run in runs if run is not None and run.state is TrialState.WAITING]

    def _missing(self) -> list[Repeat]:
        return [repeat for repeat in self.wanted if find(self.study, repeat) is None]


def open_record(folder: Path, space: SearchSpace, server: tuple[str, str] | None = None) -> Study:
    """The record of a study's repeats, as Study's; what was interrupted waits to go on."""
    record = Study(folder, space, name="repeats", server=server)
    record.keep_space()
    record.settle()
    return record


def notes_of(run: TrialRecord) -> RepeatNotes:
    """What a run repeats."""
    return cast(RepeatNotes, run.notes)


def find(record: Study, repeat: Repeat) -> TrialRecord | None:
    """The run of this configuration and seed, whatever it was made for; None without one."""
    wanted = repeat.parameters, repeat.seed
    return next((t for t in record.trials() if (notes_of(t)["parameters"], notes_of(t)["seed"]) == wanted), None)


def repeat_config(space: SearchSpace, plan: Plan, run: TrialRecord) -> TrainConfig:
    """All settings of a run."""
    config = space.config(notes_of(run)["parameters"])
    return config.changed(num_epochs=plan.rungs_of(config)[-1], seed=notes_of(run)["seed"])
