"""The only bridge between Ray and reid_train: a trial climbs its rungs, an epoch a step.

torch and what needs it are imported where they are used: the process that steers the search never loads them.
"""

import logging
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ray import tune

from data.pixels.cache import Pixels
from data.sets.splits import TrainingData
from data.system.errors import refused_write
from reid_train.config import make_config
from tuning.record.causes import failure_cause
from tuning.record.storage import Storage, trial_workspace
from tuning.run.climb import climb
from tuning.run.shared_pixels import SharedPixels

logger = logging.getLogger(__name__)


class ReIDTrainable(tune.Trainable):
    """Trains config["settings"] up config["rungs"] by config["promotion"], in config["folder"], one epoch a step.

    config["behind"] is the last rung that was decided upon, 0 for none. With a storage the folder is a place there.

    A result holds `rung` and the epoch's report, or `cause` when training failed: a trial that fails is a result
    like any other, not an error of Ray's. With a full disk it holds `refused`, the error's arguments. The scheduler
    ends the trial in every case.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        data: TrainingData | None = None,
        pixels: Pixels | SharedPixels | None = None,
        storage: Storage | None = None,
    ) -> None:
        assert data is not None and pixels is not None
        self.data, self.pixels, self.storage = data, pixels, storage
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        self._batch_size, self._epochs = config["settings"]["batch_size"], self._train(config)

    def _train(self, config: dict[str, Any]) -> Iterator[dict[str, Any]]:
        settings = make_config(config["settings"], "trial")
        way = config["rungs"], config["promotion"]
        pixels = self.pixels
        if isinstance(pixels, SharedPixels):
            pixels = pixels.at(settings.image_height, settings.image_width).here()
        options: dict[str, Any] = {"behind": config["behind"], "state_interval_s": config["state_interval_s"]}
        with trial_workspace(self.storage, config["folder"]) as (folder, keep):
            for rung, report in climb(settings, *way, self.data, pixels, folder, **options):
                keep()
                yield {"rung": rung, "report": asdict(report)}

    def step(self) -> dict[str, Any]:
        try:
            return next(self._epochs)
        except Exception as error:  # whatever it is, it is this trial's and not the search's
            if refused := refused_write(error):  # but for a full disk
                return {"refused": [refused.errno, refused.strerror, refused.filename]}
            cause = failure_cause(error, self._batch_size)
            if not cause.startswith(("diverged", "does not fit")):
                logger.exception("trial failed")
            return {"cause": cause}

    def cleanup(self) -> None:
        self._epochs.close()  # type: ignore[attr-defined]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._epochs.close()  # type: ignore[attr-defined]
        self._begin(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save here: train_epochs keeps its own state in the trial's folder."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load here: train_epochs finds its own state in the trial's folder."""
