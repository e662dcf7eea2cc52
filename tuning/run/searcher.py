"""Ray's Searcher interface over the policy: which configuration to train next, and when there is none."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from tuning.confirm.repeats import Repeats
from tuning.decide.policy import Policy
from tuning.run.guard import stops_search


class StudySearcher(Searcher):
    """Hands Ray the trials that the policy picks. A trial that pauses ends for Ray and comes back as another of its."""

    def __init__(
        self,
        policy: Policy | Repeats,
        trial_config: Callable[[int], dict[str, Any]],
        room: Callable[[], int] | None = None,
    ):
        """`trial_config` gives what Ray hands the trainable, by the trial's number in the study; `room` says how many
        trials may run at once now, where that changes."""
        super().__init__()
        self.policy, self.trial_config, self.room = policy, trial_config, room

    @stops_search
    def suggest(self, trial_id: str) -> Any:
        if self.room is not None and len(self.policy.study.running_here()) >= self.room():
            return None
        with self.policy.study.exclusive():
            number = self.policy.next_trial()
        if number is not None:
            return self.trial_config(number)
        return None if self.policy.study.in_state("running") else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to do: the scheduler has told the study before Ray comes here."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the study is on disk."""
