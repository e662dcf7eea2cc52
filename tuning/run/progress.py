"""What a search shows while it runs: a live panel on a terminal, plain lines elsewhere."""

import time
from typing import Any

from ray.tune import Callback
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from data.system.wording import clock, counted, open_console, show_parameters
from tuning.decide.stopping import chance_of_gain
from tuning.record.trial import TrialRecord, TrialState
from tuning.run.messages import EpochEnded, job_of, told_in
from tuning.run.panel import ends_at, panel, running
from tuning.run.resources import Resources
from tuning.run.work import Work

SILENT_S = 300.0
"""Where there is no panel, an epoch's end is told after so long without a line."""


class Progress(Callback):
    """A Ray callback that reads the study after each result; also a context in which the live panel is shown."""

    def __init__(self, work: Work, resources: Resources):
        self.work, self.study = work, work.study
        self.resources = resources
        self.console = open_console()
        self.chance: float | None = None
        self.last_epoch: dict[int, float] = {}
        """When each running trial began or last told of an epoch, by time.monotonic."""
        self.said_at = time.monotonic()
        self.live = Live(get_renderable=self._panel, console=self.console, refresh_per_second=2, transient=True)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its callbacks, and a display has nothing to keep."""
        return {}

    def __enter__(self) -> "Progress":
        threads = f"{self.resources.cpus} CPU{'s' * (self.resources.cpus > 1)}"
        gpus = f" and {self.resources.gpus:g} GPU" if self.resources.gpus else ""
        self.console.print(
            f"{self.study.folder}: {self.work.announcement}, {self.resources.concurrency} at once, "
            f"{threads}{gpus} each" + (f"; ends about {end}" if (end := ends_at(self.work.purse)) else ""),
            highlight=False,
            soft_wrap=True,
        )
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        job = job_of(trial.config)
        self.last_epoch[job.number] = time.monotonic()
        known = self.study.trial(job.number)
        if known.rung and not self.console.is_terminal:  # else its number says that it is new
            ahead = next((rung for rung in job.rungs if rung > known.rung), known.rung)
            anew = job.promotion == "restart" and not any(epoch.rung == ahead for epoch in known.reports)
            behind = counted(known.rung, "epoch")
            what = f"begins anew, for {counted(ahead, 'epoch')}" if anew else f"goes on from {behind}"
            self._print(f"{self.work.name(job.number)} {what}{_in_brackets(known.parameters)}")

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        number = job_of(trial.config).number
        if not self.study.is_running(number):
            self.last_epoch.pop(number, None)
            self._say(self.study.trial(number))
            if self.console.is_terminal:
                self.chance = chance_of_gain(self.study, None)
        elif result and isinstance(told_in(result), EpochEnded):
            self.last_epoch[number] = time.monotonic()
            if not self.console.is_terminal and time.monotonic() - self.said_at > SILENT_S:
                self._print("; ".join(map(str, running(self.work.purse))))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self.on_trial_result(iteration, trials, trial, {})

    def _say(self, trial: TrialRecord) -> None:
        """One line for a trial that ended."""
        metric = self.study.space.study.metric
        score = [f"{metric} {trial.score:.3f} at {counted(trial.rung, 'epoch')}"] if trial.score is not None else []
        why = [str(trial.cause)] if trial.state is TrialState.FAILED else []
        if trial.state is TrialState.WAITING:
            why = ["its process died; it goes on from its last state"]
            if doubted := self.study.doubted.get(trial.number):
                why = [f"{doubted.cause}; the next trial shows whether that is its own doing"]
        what = "; ".join([*why, *score])
        self._print(f"{self.work.name(trial.number)} {trial.state}: {what}{_in_brackets(trial.parameters)}")

    def _print(self, line: str) -> None:
        self.said_at = time.monotonic()
        text = Text(f"[{clock(self.study.elapsed_s)}] {line}")  # Text, since brackets in strings are markup
        self.console.print(text, soft_wrap=True)

    def _panel(self) -> Panel:
        now = time.monotonic()
        return panel(
            self.work.purse,
            width=self.console.width,
            plain=not self.console.encoding.startswith("utf"),
            chance=self.chance,
            since_s={number: now - then for number, then in list(self.last_epoch.items())},
        )


def _in_brackets(parameters: dict[str, Any]) -> str:
    return f"  ({show_parameters(parameters)})" if parameters else ""
