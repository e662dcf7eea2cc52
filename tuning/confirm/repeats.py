"""Configurations that are trained again with other seeds, at full length: before a search to see how much seeds change
its scores, after it to confirm its best. They are a record of their own beside the study's trials, in the same file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.system.wording import counted
from reid_train.config import TrainConfig
from tuning.record.study import Study
from tuning.record.trial import TrialRecord
from tuning.space.space import SearchSpace


class Repeat(NamedTuple):
    """One such run."""

    of: str
    """What is trained again: default, or trial 7."""
    parameters: dict[str, Any]
    """Of the searched settings."""
    seed: int


class Repeats:
    """What is to be run, in the form in which Policy tells Ray of a search's trials."""

    def __init__(self, record: Study, wanted: Sequence[Repeat], purpose: str):
        """`record` is open_record's; what it holds already is not run again. `purpose` is for people."""
        self.study, self.settings, self.wanted = record, record.space.study, wanted
        self.purpose = purpose
        self.rungs: tuple[int, ...] = ()

    @property
    def planned(self) -> int:
        """Runs that are to be, with those that are done."""
        return len(self.study.trials()) + len(self._missing())

    @property
    def announcement(self) -> str:
        """What is to be done, in a few words."""
        return f"{self.purpose}, {counted(len(self._missing()) + len(self._waiting()), 'run')}"

    def name(self, number: int) -> str:
        """What a run is called."""
        notes = self.study.trial(number).notes
        return f"{notes['of']}, seed {notes['seed']}"

    def training(self, number: int) -> dict[str, Any]:
        """What ReIDTrainable is given: one complete schedule of full length."""
        config = repeat_config(self.study.space, self.study.trial(number))
        return {
            "number": number,
            "settings": config,
            "rungs": [config.num_epochs],
            "promotion": "restart",
            "behind": 0,
            "folder": str(repeat_folder(self.study, number).absolute()),
            "state_interval_s": self.settings.state_interval,
        }

    def tidy(self) -> None:
        """Nothing: the winner is not known before the last run."""

    def has_work(self) -> bool:
        """Whether `next_trial` would give one."""
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
        """The only rung is the last."""
        self.study.finish(number, "complete")
        return False

    def _waiting(self) -> list[int]:
        """Runs that were interrupted and are still wanted."""
        runs = (find(self.study, repeat) for repeat in self.wanted)
        return [run.number for run in runs if run is not None and run.state == "waiting"]

    def _missing(self) -> list[Repeat]:
        return [repeat for repeat in self.wanted if find(self.study, repeat) is None]


def open_record(folder: Path, space: SearchSpace, server: tuple[str, str] | None = None) -> Study:
    """The record of a study's repeats, as Study's; what was interrupted waits to go on."""
    record = Study(folder, space, name="repeats", server=server)
    record.settle()
    return record


def find(record: Study, repeat: Repeat) -> TrialRecord | None:
    """The run of this configuration and seed, under whatever name it was asked for, if there is one."""
    wanted = {"parameters": repeat.parameters, "seed": repeat.seed}
    return next((t for t in record.trials() if {key: t.notes[key] for key in wanted} == wanted), None)


def repeat_config(space: SearchSpace, run: TrialRecord) -> TrainConfig:
    """All settings of a run."""
    config = space.config(run.notes["parameters"])
    return config.changed(num_epochs=space.rungs(config)[-1], seed=run.notes["seed"])


def repeat_folder(record: Study, number: int) -> Path:
    """Where a run keeps its state and weights."""
    return record.folder / "repeats" / str(number)
