"""The panel of a search, drawn from its record alone: while it runs, and by whoever looks on.

    console.print(panel(Purse(study, record, at_once=2), width=80))

Imports no Ray.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from data.system.wording import clock, counted, show_parameters
from tuning.decide.budget import Purse
from tuning.decide.forecast import forecast_of
from tuning.decide.pareto import best_trials
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState

BLOCKS, PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
"""Levels of a curve, low to high; the second for terminals that know ASCII alone."""
WIDEST = 100
SHOWN = 5
"""Best trials that the panel lists."""


class Running(NamedTuple):
    """What trains now."""

    name: str
    done: int
    """Epochs of the schedule that are behind it."""
    of: int
    left_s: float | None
    """Seconds to the schedule's end; None while nothing is known."""
    images_per_s: float

    def __str__(self) -> str:
        left = f", {clock(self.left_s)} left" if self.left_s is not None else ""
        return f"{self.name}: {self.done} of {counted(self.of, 'epoch')}{left}"


def running(purse: Purse, since_s: Mapping[int, float] | None = None) -> list[Running]:
    """Trials, or else repeats, that train now. `since_s`: seconds since each one's last epoch, where that is known."""
    now = [_running(purse, purse.study, trial, since_s or {}) for trial in _in_training(purse.study)]
    if purse.record is not None and not now:
        now = [_running(purse, purse.record, run, since_s or {}) for run in _in_training(purse.record)]
    return now


def _in_training(record: Study) -> list[TrialRecord]:
    return [trial for trial in record.trials() if trial.state is TrialState.RUNNING]


def _running(purse: Purse, record: Study, trial: TrialRecord, since_s: Mapping[int, float]) -> Running:
    to_come = max(0, purse.promised(trial.number, record))
    rungs = (purse.longest,) if record is purse.record else record.rungs(trial.number)
    of = next((rung for rung in rungs if rung > trial.rung), purse.longest)
    here = [epoch.report for epoch in trial.reports if epoch.rung == of]
    pace_s = sum(report.seconds for report in here) / len(here) if here else purse.pace_s()
    left_s = max(0.0, to_come * pace_s - since_s.get(trial.number, 0.0)) if pace_s else None
    name = f"{trial.notes['of']}, seed {trial.notes['seed']}" if record is purse.record else f"trial {trial.number}"
    return Running(name, of - to_come, of, left_s, here[-1].images_per_s if here else 0.0)


def curve(values: Sequence[float], width: int, *, plain: bool = False) -> str:
    """A line of blocks as high as the values, at most `width` of them: each stands for the last of its share."""
    blocks = PLAIN_BLOCKS if plain else BLOCKS
    if len(values) > width:
        values = [values[(place + 1) * len(values) // width - 1] for place in range(width)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = (high - low) or 1.0
    return "".join(blocks[round((value - low) / span * (len(blocks) - 1))] for value in values)


def highest_so_far(trials: Sequence[TrialRecord]) -> list[float]:
    """The highest score of any length up to each trial that has one."""
    found = list[float]()
    for trial in trials:
        if trial.score is not None:
            found.append(max([trial.score, *found[-1:]]))
    return found


def ends_at(purse: Purse, now_s: float | None = None) -> str:
    """The time of day when the search ends, as far as it is known, e.g. 14:23; with the day where that is another."""
    if (expected_s := purse.expected_s()) is None:
        return ""
    now_s = time.time() if now_s is None else now_s
    end = time.localtime(now_s + max(0.0, expected_s - purse.study.elapsed_s))
    same_day = time.strftime("%x", end) == time.strftime("%x", time.localtime(now_s))
    return time.strftime("%H:%M" if same_day else "%a %H:%M", end)


def panel(
    purse: Purse,
    *,
    width: int,
    plain: bool = False,
    chance: float | None = None,
    since_s: Mapping[int, float] | None = None,
) -> Panel:
    """The panel, `width` columns wide at most. `plain`: without letters beyond ASCII; `chance`: that of a gain."""
    study, width = purse.study, min(WIDEST, width)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, said in _lines(purse, width - 16, plain, chance, since_s):
        table.add_row(label, Text(said))  # Text, since brackets in names are markup
    return Panel(table, title=Text(f"search {study.folder.name}"), title_align="left", width=width)


def _lines(
    purse: Purse, width: int, plain: bool, chance: float | None, since_s: Mapping[int, float] | None
) -> list[tuple[str, str]]:
    """Labels and what stands beside them."""
    study, now = purse.study, running(purse, since_s)
    trials, metric = study.trials(), study.space.study.metric
    counts = Counter(trial.state for trial in trials)
    states = ", ".join(f"{counts[state]} {state}" for state in TrialState if counts[state])
    planned = max(len(trials), forecast_of(purse).trials[0])
    lines = [("trials", f"{len(trials)} of about {planned}" + (f": {states}" if states else ""))]
    if purse.record is not None and (runs := purse.record.trials()):
        done = sum(run.state is TrialState.COMPLETE for run in runs)
        lines.append(("repeats", f"{done} of about {len(runs) + max(0, int(purse.left() / purse.longest))}"))
    lines += [("now" if not place else "", str(one)) for place, one in enumerate(now)] or [("now", "between trials")]
    for place, best in enumerate(best_trials(study, most=SHOWN)):
        reached = f"{best.score:.3f} trial {best.number}, {counted(best.rung, 'epoch')}: "
        said = reached + show_parameters(best.parameters)
        cut = "..." if plain else "…"
        lines.append(("best" if not place else "", said if len(said) <= width else said[: width - len(cut)] + cut))
    if highest := highest_so_far(trials):
        ends = f" {highest[0]:.3f} to {highest[-1]:.3f} {metric}"
        lines.append(("highest", curve(highest, width - len(ends), plain=plain) + ends))
    if speed := sum(one.images_per_s for one in now):
        lines.append(("speed", f"{speed:.0f} images/s"))
    if chance is not None:
        lines.append(("to gain", f"more searching gains more than half the noise with probability {chance:.2f}"))
    expected_s = purse.expected_s()
    ends = f"; ends about {ends_at(purse)}" if expected_s else ""
    lines.append(("time", f"{clock(study.elapsed_s)} of about {clock(expected_s) if expected_s else '?'}{ends}"))
    return lines
