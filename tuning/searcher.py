"""Ray's Searcher interface over the policy: which configuration to train next, and when there is none."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from tuning.guard import stops_search
from tuning.policy import Policy
from tuning.repeats import Repeats


class StudySearcher(Searcher):
    """Hands Ray the trials that the policy picks. A trial that pauses ends for Ray and comes back as another of its."""

    def __init__(self, policy: Policy | Repeats, trial_config: Callable[[int], dict[str, Any]]):
        """`trial_config` gives what Ray hands the trainable, by the trial's number in the study."""
        super().__init__()
        self.policy, self.trial_config = policy, trial_config

    @stops_search
    def suggest(self, trial_id: str) -> Any:
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
