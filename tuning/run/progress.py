"""What a search shows while it runs: a live panel on a terminal, plain lines elsewhere."""

from collections import Counter
from typing import Any

from ray.tune import Callback
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from data.system.wording import clock, counted, open_console, show_parameters
from tuning.decide.pareto import best_trials
from tuning.decide.stopping import chance_of_gain
from tuning.record.trial import TrialRecord, TrialState
from tuning.run.messages import EpochEnded, job_of, told_in
from tuning.run.resources import Resources
from tuning.run.work import Work


class Progress(Callback):
    """A Ray callback that reads the study after each result; also a context in which the live panel is shown."""

    def __init__(self, work: Work, resources: Resources):
        self.work, self.study = work, work.study
        self.resources = resources
        self.console = open_console()
        self.trials: list[TrialRecord] = self.study.trials()
        self.current: dict[int, str] = {}
        self.chance: float | None = None
        self.live = Live(get_renderable=self._panel, console=self.console, refresh_per_second=2, transient=True)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its callbacks, and a display has nothing to keep."""
        return {}

    def __enter__(self) -> "Progress":
        threads = f"{self.resources.cpus} CPU{'s' * (self.resources.cpus > 1)}"
        gpus = f" and {self.resources.gpus:g} GPU" if self.resources.gpus else ""
        self.console.print(
            f"{self.study.folder}: {self.work.announcement}, {self.resources.concurrency} at once, "
            f"{threads}{gpus} each",
            highlight=False,
        )
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self.trials = self.study.trials()
        job = job_of(trial.config)
        self.current[job.number] = "starting"
        if not self.console.is_terminal:
            known, what = self.study.trial(job.number), "begins"
            if known.rung:
                ahead = next((rung for rung in job.rungs if rung > known.rung), known.rung)
                anew = job.promotion == "restart" and not any(epoch.rung == ahead for epoch in known.reports)
                behind = counted(known.rung, "epoch")
                what = f"begins anew, for {counted(ahead, 'epoch')}" if anew else f"goes on from {behind}"
            self._print(f"{self.work.name(job.number)} {what}{_in_brackets(known.parameters)}")

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        number = job_of(trial.config).number
        self.trials = self.study.trials()
        if not self.study.is_running(number):
            self.current.pop(number, None)
            self._say(self.study.trial(number))
            if self.console.is_terminal:
                self.chance = chance_of_gain(self.study, None)
        elif result and isinstance(told := told_in(result), EpochEnded):
            self.current[number] = f"epoch {told.report.epoch} of {told.rung}"

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
        text = Text(f"[{clock(self.study.elapsed_s)}] {line}")  # Text, since brackets in strings are markup
        self.console.print(text, soft_wrap=True)

    def counts(self) -> Counter[TrialState]:
        """Trials by state."""
        return Counter(trial.state for trial in self.trials)

    def _panel(self) -> Panel:
        counts, expected = self.counts(), self.work.purse.expected_s()
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column()
        shown = ", ".join(f"{counts[state]} {state}" for state in TrialState if counts[state])
        table.add_row("trials", f"{len(self.trials)} of about {self.work.planned}" + (f": {shown}" if shown else ""))
        running = ", ".join(f"{self.work.name(number)}: {where}" for number, where in sorted(self.current.items()))
        table.add_row("now", running or "between trials")
        for best in best_trials(self.study, most=1):
            reached = f"{best.score:.3f} {self.study.space.study.metric} after {counted(best.rung, 'epoch')}"
            table.add_row("best so far", f"{self.work.name(best.number)}, {reached}")
            table.add_row("", show_parameters(best.parameters))
        if self.chance is not None:
            table.add_row("more searching", f"gains more than half the noise with probability {self.chance:.2f}")
        table.add_row("time", f"{clock(self.study.elapsed_s)} of about {clock(expected) if expected else '?'}")
        return Panel(
            table,
            title=Text(f"search {self.study.folder.name}"),
            title_align="left",
            width=min(100, self.console.width),
        )


def _in_brackets(parameters: dict[str, Any]) -> str:
    return f"  ({show_parameters(parameters)})" if parameters else ""
