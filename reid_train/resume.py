"""Going on from the training state that an interrupted run left.

epochs, report = restore({"model": model, "optimizer": optimizer}, config, seen, "results/one")
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.system.errors import UserError
from reid_train.checkpoint import STATE, DamagedFile, load_state
from reid_train.config import TrainConfig, difference
from reid_train.report import EpochReport

logger = logging.getLogger(__name__)


def training_state(
    parts: Mapping[str, Any], config: TrainConfig, seen: Mapping[str, Any], report: EpochReport
) -> dict[str, Any]:
    """What `restore` needs to go on after the epoch of this report; for `save_state`."""
    states = {name: part.state_dict() for name, part in parts.items()}
    return {"config": config.model_dump(mode="json"), "seen": dict(seen), "report": report.to_record(), **states}


def restore(
    parts: Mapping[str, Any], config: TrainConfig, seen: Mapping[str, Any], out_dir: str | Path
) -> tuple[int, EpochReport | None]:
    """Loads the training state in `out_dir`, if there is one, into `parts`; gives the epochs that it has behind it and
    the report of the last of them.

    `seen` is what the run learns from. Raises UserError for a state of other settings or images, DamagedFile.
    """
    state = load_state(out_dir)
    if state is None:
        return 0, None
    way_out = "choose another folder, or remove it to train from the beginning"
    try:
        if changed := difference(state["config"], config):
            raise UserError(f"{out_dir}: holds the state of another run: {changed}; {way_out}")
        if state["seen"] != seen:
            images = {**state["seen"], "teacher": None} != {**seen, "teacher": None}
            other = "on other training images" if images else "with other weights of its teacher"
            raise UserError(f"{out_dir}: holds the state of a run {other}; {way_out}")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        report = EpochReport.from_record(state["report"])
        if not 0 < report.epoch <= config.num_epochs:
            raise ValueError("epoch")
    except UserError:
        raise
    except Exception as error:  # what a file says may be anything
        raise DamagedFile(Path(out_dir) / STATE, f"damaged training state; {way_out}") from error
    logger.info("%s: going on after epoch %d", out_dir, report.epoch)
    return report.epoch, report
