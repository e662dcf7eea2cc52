"""Ray's Searcher interface over the study: which configuration to train next, and when there is none."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from tuning.study import Study


class StudySearcher(Searcher):
    """Asks the study for configurations until `trials` were started or `may_start` says no."""

    def __init__(
        self,
        study: Study,
        *,
        trials: int,
        trial_config: Callable[[int, Any], dict[str, Any]],
        may_start: Callable[[int], bool],
    ):
        """`trial_config` turns a number and a TrainConfig into what Ray hands the trainable.

        `may_start` is asked with the number of epochs of a trial's first schedule.
        """
        super().__init__()
        self.study, self.trials, self.trial_config, self.may_start = study, trials, trial_config, may_start

    def suggest(self, trial_id: str) -> Any:
        base = self.study.space.base_config()
        if self.study.started() >= self.trials or not self.may_start(min(self.study.space.rungs(base))):
            return Searcher.FINISHED
        number, config = self.study.ask()
        return self.trial_config(number, config)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to do: the scheduler has told the study before Ray comes here."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the study is on disk."""
