"""Ray's Searcher interface over the study: which configuration to train next, and when there is none."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from tuning.study import Study


class StudySearcher(Searcher):
    """Asks the study for configurations until `may_start` says no."""

    def __init__(
        self, study: Study, *, trial_config: Callable[[int, Any], dict[str, Any]], may_start: Callable[[], bool]
    ):
        """`trial_config` turns a number and a TrainConfig into what Ray hands the trainable."""
        super().__init__()
        self.study, self.trial_config, self.may_start = study, trial_config, may_start

    def suggest(self, trial_id: str) -> Any:
        if not self.may_start():
            return Searcher.FINISHED
        return self.trial_config(*self.study.ask())

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to do: the scheduler has told the study before Ray comes here."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the study is on disk."""
