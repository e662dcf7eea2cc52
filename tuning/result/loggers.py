"""TensorBoard, W&B and MLflow: where a study's runs are written, each so that writing again adds nothing twice.

with LOGGERS["tensorboard"](study, Target(out=folder / "tensorboard")) as logger:
    logger.write(run, 0)
"""

import hashlib
import math
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol

from data.system.errors import UserError, in_one_line
from data.system.passwords import without_passwords
from tuning.record.folders import ENVIRONMENT
from tuning.record.study import Study
from tuning.result.published import Run, study_key


class Target(NamedTuple):
    """Where runs go."""

    out: Path
    """A folder: of event files, or of what W&B keeps on this machine."""
    project: str
    """W&B's project, or MLflow's experiment."""
    uri: str = ""
    """MLflow's tracking server or store."""
    shared: bool = False
    """Whether other studies may be written into `out`, too: each has a folder of event files there."""


class Logger(Protocol):
    """One way to publish."""

    place: str
    """Where it writes, in words: what is on record as published there is not written again."""

    def write(self, run: Run, behind: int) -> None:
        """Writes a run, of which so many epochs were written before."""


class TensorBoard:
    """A folder of event files for each run; what changed is written anew."""

    def __init__(self, study: Study, target: Target):
        self.out = target.out / study_key(study) if target.shared else target.out
        self.place = f"tensorboard {self.out.absolute()}"
        with suppress(OSError):
            self._began = (study.folder / ENVIRONMENT).stat().st_mtime
        self.metric = study.space.study.metric

    _began = 0.0
    """When the study began: epochs follow it by the time that they took, since the record has no times of day."""

    def write(self, run: Run, behind: int) -> None:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

        folder, unfinished = self.out / run.key, self.out / f".{run.key}.tmp"
        shutil.rmtree(unfinished, ignore_errors=True)
        with SummaryWriter(str(unfinished)) as writer:
            for part in hparams(run.settings, run.final):
                writer.file_writer.add_summary(part, walltime=self._began)
            for point in run.curve:
                for name, value in point.figures.items():
                    writer.add_scalar(name, value, point.epoch, walltime=self._began + point.seconds)
            for name, value in run.final.items():
                writer.add_scalar(name, value, len(run.curve), walltime=self._began + run.seconds)
            writer.add_text("state", f"{run.state}\n\n{run.note}".replace("\n", "  \n"), walltime=self._began)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)


class Wandb:
    """A run of W&B for each, by an id that stays the same: one that is there is gone on with."""

    def __init__(self, study: Study, target: Target):
        self.target, self.study = target, study_key(study)
        self.project = target.project
        self.place = f"wandb {os.environ.get('WANDB_MODE', 'online')} {target.project}"

    def write(self, run: Run, behind: int) -> None:
        wandb = import_module("wandb")
        self.target.out.mkdir(parents=True, exist_ok=True)
        try:
            begun = wandb.init(
                project=self.project,
                id=run_id(self.study, run.key),
                name=f"{self.study} {run.key}",
                group=self.study,
                job_type=run.key.partition("-")[0],
                tags=[run.state],
                notes=run.note,
                config=run.settings,
                resume="allow",
                dir=str(self.target.out),
                settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, save_code=False),
            )
        except Exception as error:
            raise UserError(f"W&B: {in_one_line(error)}") from error
        begun.config.update(run.settings, allow_val_change=True)
        for point in run.curve:
            if point.epoch >= max(begun.step, behind + 1):  # an offline run does not know what is there already
                begun.log(point.figures, step=point.epoch)
        begun.summary.update({**run.final, "state": run.state})
        begun.finish(exit_code=1 if run.state == "failed" else 0)


class MLflow:
    """A run of MLflow for each, found again by its tag."""

    TAG = "reid.run"

    def __init__(self, study: Study, target: Target):
        if target.uri.startswith("file:"):
            os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else it tells of its own tables
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # 7, its default, take minutes
        from mlflow import MlflowClient

        self.uri = without_passwords(target.uri)
        self.study, self.place = study_key(study), f"mlflow {self.uri} {target.project}"
        try:
            self.client = MlflowClient(tracking_uri=target.uri)
            found = self.client.get_experiment_by_name(target.project)
            self.experiment = found.experiment_id if found else self.client.create_experiment(target.project)
        except Exception as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> UserError:
        return UserError(f"--uri {self.uri}: {without_passwords(in_one_line(error))}")

    def write(self, run: Run, behind: int) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._write(run)
        except MlflowException as error:
            raise self._refusal(error) from error

    def _write(self, run: Run) -> None:
        from mlflow.entities import Metric, Param, RunTag

        name = run_id(self.study, run.key)  # MLflow's filters take no name with both kinds of quotes
        found = self.client.search_runs([self.experiment], f"tags.`{self.TAG}` = '{name}'")
        params = {key: str(value) for key, value in run.settings.items()}
        there = found[0] if found else None
        if there is not None and any(there.data.params.get(key, value) != value for key, value in params.items()):
            self.client.delete_run(there.info.run_id)  # another winner: MLflow keeps a run's settings for ever
            there = None
        if there is None:
            tags = {self.TAG: name, "reid.study": self.study}
            there = self.client.create_run(self.experiment, run_name=f"{self.study} {run.key}", tags=tags)
        number, metrics = there.info.run_id, list[Metric]()
        known = {key: {m.step for m in self.client.get_metric_history(number, key)} for key in there.data.metrics}
        for point in run.curve:
            for key, value in point.figures.items():
                if point.epoch not in known.get(key, ()):
                    metrics.append(Metric(key, value, int(1000 * point.seconds), point.epoch))
        for key, value in run.final.items():
            if not math.isclose(there.data.metrics.get(key, math.nan), value, rel_tol=1e-12):
                metrics.append(Metric(key, value, int(1000 * run.seconds), len(run.curve)))
        fresh = [Param(key, value) for key, value in params.items() if key not in there.data.params]
        states = [RunTag("reid.state", run.state), RunTag("mlflow.note.content", run.note)]
        for begin in range(0, len(fresh), 100):  # as many as a request may hold
            self.client.log_batch(number, params=fresh[begin : begin + 100])
        for begin in range(0, len(metrics), 1000):
            self.client.log_batch(number, metrics=metrics[begin : begin + 1000])
        self.client.log_batch(number, tags=states)
        ended = {"running": "RUNNING", "waiting": "SCHEDULED", "paused": "SCHEDULED", "failed": "FAILED"}
        self.client.set_terminated(number, ended.get(run.state, "FINISHED"))


LOGGERS: dict[str, Callable[[Study, Target], Logger]] = {"tensorboard": TensorBoard, "wandb": Wandb, "mlflow": MLflow}


def run_id(study: str, key: str) -> str:
    """An id of letters, digits, - and _ alone, another for each study and run."""
    return f"{re.sub(r'[^A-Za-z0-9_-]', '-', study)[:60]}-{hashlib.sha256(study.encode()).hexdigest()[:8]}-{key}"
