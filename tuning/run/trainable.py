"""The only bridge between Ray and training: a trial climbs its rungs, an epoch a step.

The process that steers the search imports this module, too: what loads torch is in tuning/run/worker.py, which is
imported when a trial begins.
"""

from collections.abc import Generator
from importlib import import_module
from typing import Any

from ray import tune

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from tuning.record.storage import Storage
from tuning.run.messages import Told, job_of, ray_result
from tuning.run.shared_pixels import SharedPixels


class ReIDTrainable(tune.Trainable):
    """Trains the TrialJob in its configuration; each result holds what the trial tells (tuning/run/messages.py).

    A trial that fails gives a result like any other, and no error of Ray's. The scheduler ends it in every case.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        data: TrainingData | None = None,
        pixels: Pixels | SharedPixels | None = None,
        storage: Storage | None = None,
    ) -> None:
        self._given = data, pixels, storage
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        worker = import_module("tuning.run.worker")
        self._telling: Generator[Told] = worker.train(job_of(config), *self._given)

    def step(self) -> dict[str, Any]:
        return ray_result(next(self._telling))

    def cleanup(self) -> None:
        self._telling.close()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._telling.close()
        self._begin(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save here: train_epochs keeps its own state in the trial's folder."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load here: train_epochs finds its own state in the trial's folder."""
