"""Ray's Searcher interface: which trial to train next, and when there is none."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from tuning.record.job import TrialJob
from tuning.record.trial import TrialState
from tuning.run.doubts import at_end
from tuning.run.guard import stops_search
from tuning.run.messages import ray_config
from tuning.run.work import Work


class StudySearcher(Searcher):
    """Hands Ray the trials that the work picks. A trial that pauses ends for Ray and comes back as another of Ray's."""

    def __init__(self, work: Work, job_of: Callable[[int], TrialJob], room: Callable[[], int] | None = None):
        """`job_of` gives what a process is handed, by the trial's number in the study; `room` says how many trials may
        run at once now, where that changes."""
        super().__init__()
        self.work, self.job_of, self.room = work, job_of, room

    @stops_search
    def suggest(self, trial_id: str) -> Any:
        study = self.work.study
        if self.room is not None and len(study.running_here()) >= self.room():
            return None
        with study.exclusive():
            number = self.work.next_trial()
            if number is None and not study.in_state(TrialState.RUNNING) and at_end(self.work):
                number = self.work.next_trial()  # those that waited had something of the budget
        if number is not None:
            return ray_config(self.job_of(number))
        return None if study.in_state(TrialState.RUNNING) else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to do: the scheduler has told the study before Ray comes here."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the study is on disk."""
