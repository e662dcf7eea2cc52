"""The pictures of a study, drawn from its record alone.

plot_study(study, Path("results/sample/plots"))  # the files that it wrote
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from data.system.errors import UserError
from data.system.files import read_json
from data.system.wording import counted
from reid_train.training.plots import FOURTH, STYLE, THIRD, TRAIN, VALIDATION, history_figure, save_figure
from tuning.confirm.candidates import DEFAULT
from tuning.confirm.repeats import notes_of, repeats_of
from tuning.decide.pareto import best_trials, pareto_front
from tuning.decide.ranking import standing_of
from tuning.record.folders import BEST, BEST_LABEL
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState
from tuning.result.plot_data import (
    best_so_far,
    comparison_rung,
    importances,
    learning_curves,
    percent,
    place,
    ticks,
)
from tuning.space.parameter import Parameter
from tuning.space.space import SearchSpace

LOOK: dict[Any, Any] = {**STYLE, "axes.axisbelow": True}
COST_NAMES = {
    "latency_ms": "latency of one picture, ms",
    "parameters": "parameters",
    "embedding_width": "embedding width",
}
METRIC_NAMES = {"val_mAP": "mAP", "val_rank1": "rank 1", "val_rank5": "rank 5", "val_mINP": "mINP"}
"""Labels of metrics; another one's label is its name."""
STATE_LOOKS = {
    TrialState.COMPLETE: ("o", TRAIN),
    TrialState.PRUNED: ("v", "#6b7280"),
    TrialState.FAILED: ("x", "#dc2626"),
    TrialState.RUNNING: ("s", FOURTH),
    TrialState.WAITING: ("s", FOURTH),
    TrialState.PAUSED: ("s", "#6b7280"),
}
"""Marker and colour of a trial's state."""
PROMOTIONS = {
    "restart": "every schedule begins anew",
    "continue": "every schedule goes on from the weights of the last",
    "cut": "one long schedule",
}
"""What a trial's curve does after a rung."""
RUNG_COLOURS = ("#94a3b8", TRAIN, THIRD, FOURTH)
"""Colours of a trial's curve to its first, second, ... rung."""
COLOURS = matplotlib.colormaps["viridis_r"]
"""Dark is high: a good score, a late trial."""
BEST_COLOUR = VALIDATION
NO_SCORE = "no trial completed a schedule"


def plot_study(study: Study, folder: Path) -> list[Path]:
    """Draws the study's pictures into `folder` as PNG and gives their paths.

    A picture for which there is too little to draw (no trial, no score) says so in words.
    """
    return save_figures(study_figures(study), folder)


def save_figures(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Writes each figure as NAME.png."""
    with matplotlib.rc_context(LOOK):
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in figures]


def study_figures(study: Study) -> dict[str, Figure]:
    """The study's pictures by their names."""
    trials, space, settings = study.trials(), study.space, study.space.study
    metric = label_of(settings.metric)
    kept = kept_in(study.folder)
    best = best_of(study, kept)
    rung = comparison_rung(trials)
    with matplotlib.rc_context(LOOK):
        figures = {
            "optimization_history": _optimization_history(trials, metric, best),
            "parameter_importance": _parameter_importance(space, trials, rung, metric),
            "parallel_coordinates": _parallel_coordinates(space, trials, rung, metric, best),
            "slices": _slices(space, trials, rung, metric, best),
            "learning_curves": _learning_curves(trials, settings.metric, settings.promotion, best),
        }
        if settings.costs:
            figures["pareto_front"] = _pareto_front(study, metric, best)
        if best is None:
            figures["best_training_history"] = _words("Best trial's training history", NO_SCORE)
    if best is not None:
        figures["best_training_history"] = history_figure(*_kept_run(study, best, kept))
    return figures


def label_of(metric: str) -> str:
    """What a metric is called in pictures."""
    return METRIC_NAMES.get(metric, metric.removeprefix("val_"))


def _best_label(best: TrialRecord, rung: int | None = None) -> str:
    """`rung`: the one whose scores the picture shows, where these are not the last ones."""
    here = f"{best.scores[rung]:.1%} here, " if rung in best.scores and rung != best.rung else ""
    return f"best: trial {best.number}, {here}{best.score:.1%} at {counted(best.rung, 'epoch')}"


def kept_in(folder: Path) -> dict[str, Any]:
    """The label of best/; empty where there is none, or none that can be read."""
    with suppress(FileNotFoundError, UserError):
        label: dict[str, Any] = read_json(folder / BEST / BEST_LABEL)
        return label
    return {}


def best_of(study: Study, kept: dict[str, Any]) -> TrialRecord | None:
    """The trial that best/ is made of; where it is made of none, that of which most is expected."""
    ranked = best_trials(study)
    names = [DEFAULT if study.space.is_default(trial.parameters) else f"trial {trial.number}" for trial in ranked]
    place = names.index(kept["of"]) if kept.get("of") in names else 0
    return ranked[place] if ranked else None


def _kept_run(study: Study, best: TrialRecord, kept: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """All epochs behind the weights in best/, a repeat's or the best trial's, and a title."""
    record = repeats_of(study)
    if kept and study.facts.get("confirmation") and record is not None:
        for run in record.trials():
            if (notes_of(run)["of"], notes_of(run)["seed"]) == (kept["of"], kept["seed"]):
                title = f"The winner, {kept['of']}, confirmed with seed {kept['seed']}: {counted(run.rung, 'epoch')}"
                return [epoch.to_record() for epoch in run.reports], title
    restarts = study.space.study.promotion == "restart"
    rows = [epoch.to_record() for epoch in best.reports if not restarts or epoch.rung == best.rung]
    what = "its complete schedule of" if restarts else "all of its"
    return rows, f"Trial {best.number}, the best: {what} {counted(best.rung, 'epoch')}"


def _paler(colour: str, strength: float) -> list[float]:
    """The colour mixed with white; with strength 0 it is white."""
    return [1 - strength * (1 - part) for part in to_rgb(colour)]


def _title(figure: Figure, text: str, rung: int, metric: str, trials: int) -> None:
    text = f"{text}: validation {metric} at {counted(rung, 'epoch')} of {counted(trials, 'trial')}"
    figure.suptitle(text, fontsize=11, fontweight="bold", x=0.01, ha="left")


def _words(title: str, text: str) -> Figure:
    """A picture that says why there is nothing to see."""
    figure = Figure(figsize=(7, 2.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#6b7280", fontsize=11)
    axes.set_axis_off()
    return figure


def _optimization_history(trials: Sequence[TrialRecord], metric: str, best: TrialRecord | None) -> Figure:
    title = f"Validation {metric} of each trial, at the end of its last complete schedule"
    if not trials:
        return _words(title, "no trials yet")
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="trial", ylabel=f"validation {metric}")
    axes.set_title(title, loc="left")
    axes.margins(y=0.1)
    rungs = sorted({trial.rung for trial in trials if trial.scores})
    for state, rung in sorted({(t.state, t.rung) for t in trials if t.scores}, key=lambda key: (-key[1], key[0])):
        marker, colour = STATE_LOOKS[state]
        epochs = counted(rung, "epoch") if len(rungs) <= 4 or rung == rungs[-1] else "fewer epochs"
        axes.plot(
            *zip(*[(t.number, t.score) for t in trials if (t.state, t.rung) == (state, rung)], strict=True),
            linestyle="none",
            marker=marker,
            color=colour,
            markerfacecolor=_paler(colour, 1 if rung == rungs[-1] else rungs.index(rung) / len(rungs)),
            markersize=6.5 if rung == rungs[-1] else 5,
            label=f"{state}, {epochs}" if len(rungs) <= 4 or rung in rungs[-2:] else None,
        )
    if failed := [trial.number for trial in trials if trial.state is TrialState.FAILED]:
        marks: dict[str, Any] = {"marker": "|", "markersize": 10, "mew": 1.8, "linestyle": "none"}
        marks["transform"] = axes.get_xaxis_transform()
        axes.plot(failed, [0.02] * len(failed), color="#dc2626", label="failed", **marks)
    if best is not None and best.score is not None:
        numbers, scores = best_so_far(trials)
        label = f"highest so far at {counted(rungs[-1], 'epoch')}: {scores[-1]:.1%}"
        axes.step(numbers, scores, where="post", color=BEST_COLOUR, linewidth=1.8, label=label, zorder=1)
        ring: dict[str, Any] = {"markersize": 13, "markerfacecolor": "none", "mew": 1.8, "linestyle": "none"}
        axes.plot(
            [best.number],
            [best.scores[best.rung]],
            marker="o",
            color=BEST_COLOUR,
            label=_best_label(best),
            zorder=3,
            **ring,
        )
        axes.yaxis.set_major_formatter(percent)
    else:
        axes.text(0.5, 0.5, NO_SCORE, transform=axes.transAxes, ha="center", color="#6b7280")
        axes.set_yticks([])
    axes.set_xlim(-0.03 * len(trials) - 0.5, 1.03 * trials[-1].number + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=5)
    return figure


def _parameter_importance(space: SearchSpace, trials: Sequence[TrialRecord], rung: int, metric: str) -> Figure:
    title = "Parameter importance"
    if not rung:
        return _words(title, NO_SCORE)
    found = importances(space, trials, rung)
    if isinstance(found, str):
        return _words(title, found)
    count = sum(rung in trial.scores for trial in trials)
    figure = Figure(figsize=(9, 1.6 + 0.38 * len(found)), layout="constrained")
    axes = figure.add_subplot(xlabel="share of all importance")
    title = f"{title} (PED-ANOVA) for validation {metric} at {counted(rung, 'epoch')}, {count} trials"
    axes.set_title(title, loc="left")
    shares = [importance.share for importance in found.values()]
    axes.barh(list(found), shares, color=TRAIN, height=0.62)
    for row, share in enumerate(shares):
        axes.text(1.01, row, f"{share:.0%}", transform=axes.get_yaxis_transform(), va="center")
    chance = [min(importance.by_chance, 1.0) for importance in found.values()]  # a share of 50 would leave no bars
    label = "exceeded in 1 of 10 random orders of the scores: a shorter bar may be chance (100%: so may all of them)"
    axes.plot(chance, list(found), "|", color=BEST_COLOUR, markersize=15, markeredgewidth=2.2, label=label)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlim(0, 1.05 * max(*shares, *chance))
    axes.grid(False, axis="y")
    figure.legend(loc="outside lower center")
    return figure


NOT_USED = -0.12
"""Height of trials that do not have a conditional parameter."""


def _parallel_coordinates(
    space: SearchSpace, trials: Sequence[TrialRecord], rung: int, metric: str, best: TrialRecord | None
) -> Figure:
    parameters = space.parameters
    title = "Searched parameters and score"
    scored = sorted((trial for trial in trials if rung in trial.scores), key=lambda trial: trial.scores[rung])
    if not scored or not parameters:
        return _words(title, NO_SCORE if parameters else "nothing is searched")
    scores = [trial.scores[rung] for trial in scored]
    half = 0.0 if scores[-1] > scores[0] else 0.005  # of a range for scores that are all the same
    norm = Normalize(scores[0] - half, scores[-1] + half)
    # The worst tenth has one colour: it would leave few to the others.
    shade = Normalize(scores[len(scored) // 10], norm.vmax, clip=True)
    figure = Figure(figsize=(max(7, 2 + 1.35 * len(parameters)), 6), layout="constrained")
    axes = figure.add_subplot()
    _title(figure, f"{title} (dark is high)", rung, metric, len(scored))
    width = 1.3 if len(scored) <= 50 else 0.7
    for trial in scored:
        heights = [place(p, trial) if p in space.counting(trial.parameters) else NOT_USED for p in parameters]
        line = [*heights, float(norm(trial.scores[rung]))]
        colour = COLOURS(0.1 + 0.9 * float(shade(trial.scores[rung])))
        axes.plot(range(len(line)), line, color=colour, linewidth=width, alpha=0.8)
        if best is trial:
            outline = [patheffects.withStroke(linewidth=5, foreground="white")]
            axes.plot(range(len(line)), line, color=BEST_COLOUR, linewidth=2.6, zorder=5, path_effects=outline)
            label = _best_label(best, rung)
            figure.legend([Line2D([], [], color=BEST_COLOUR, linewidth=2.6)], [label], loc="outside lower center")
    for column, parameter in enumerate(parameters):
        labels = ticks(parameter)
        if not all(parameter in space.counting(trial.parameters) for trial in scored):
            labels = [(NOT_USED, "not used"), *labels]
        _upright(axes, column, f"{parameter.key}{' (log)' if parameter.log else ''}", labels)
    values = [float(value) for value in MaxNLocator(5).tick_values(scores[0], scores[-1])]
    inside = [(float(norm(value)), percent(value)) for value in values if 0 <= norm(value) <= 1]
    _upright(axes, len(parameters), f"validation {metric}", inside)
    axes.set_xlim(-0.1, len(parameters) + 0.5)
    axes.set_axis_off()
    return figure


def _upright(axes: Axes, column: int, name: str, labels: Sequence[tuple[float, str]]) -> None:
    """A vertical axis with its name above and labels to its right."""
    look: dict[str, Any] = {"color": "#374151", "linewidth": 1.2, "zorder": 6}
    axes.plot([column, column], [0, 1], **look)
    heading = "\n".join(textwrap.wrap(name.replace("_", " "), 12, break_long_words=False))
    axes.text(column, 1.04, heading, ha="center", va="bottom", fontweight="bold", fontsize=8)
    for height, label in labels:
        axes.plot([column, column + 0.03], [height, height], **look)
        box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
        axes.text(column + 0.05, height, label, va="center", fontsize=8, zorder=7, bbox=box)


def _slices(
    space: SearchSpace, trials: Sequence[TrialRecord], rung: int, metric: str, best: TrialRecord | None
) -> Figure:
    parameters = space.parameters
    scored = [trial for trial in trials if rung in trial.scores]
    title = "Score against each parameter"
    if not scored or not parameters:
        return _words(title, NO_SCORE if parameters else "nothing is searched")
    columns = min(4, len(parameters))
    rows = math.ceil(len(parameters) / columns)
    figure = Figure(figsize=(3.3 * columns + 1, 2.9 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    norm = Normalize(0, max(1, trials[-1].number))
    ring: dict[str, Any] = {"marker": "o", "markersize": 10, "markerfacecolor": "none", "color": BEST_COLOUR, "mew": 2}
    for panel, parameter in zip(panels.flat, parameters, strict=False):
        points = [(t, place(parameter, t)) for t in scored if parameter in space.counting(t.parameters)]
        colours = [COLOURS(0.1 + 0.9 * float(norm(trial.number))) for trial, _ in points]
        heights = [trial.scores[rung] for trial, _ in points]
        panel.scatter([x for _, x in points], heights, c=colours, s=28 if len(scored) <= 50 else 12, linewidths=0)
        for trial, x in points:
            if trial is best:
                panel.plot(x, trial.scores[rung], **ring)
        _across(panel, parameter)
    for panel in panels.flat[len(parameters) :]:
        panel.set_axis_off()
    for panel in panels[:, 0]:
        panel.set_ylabel(f"validation {metric}")
        panel.yaxis.set_major_formatter(percent)
    _title(figure, title, rung, metric, len(scored))
    whole = MaxNLocator(integer=True)
    figure.colorbar(ScalarMappable(norm, COLOURS), ax=panels, label="trial", aspect=12 + 14 * rows, ticks=whole)
    if best is not None:
        figure.legend([Line2D([], [], linestyle="none", **ring)], [_best_label(best, rung)], loc="outside lower center")
    return figure


def _across(panel: Axes, parameter: Parameter) -> None:
    """The parameter along the horizontal axis."""
    places, labels = zip(*ticks(parameter), strict=True)
    crowded = sum(map(len, labels)) > 30
    panel.set_xlim(-0.04, 1.04)
    panel.set_xticks(places, labels, rotation=25 if crowded else 0, ha="right" if crowded else "center")
    panel.set_xlabel(f"{parameter.key}{' (log)' if parameter.log else ''}")


def _pareto_front(study: Study, metric: str, best: TrialRecord | None) -> Figure:
    """The score against each cost; the trials of the front with their numbers."""
    if best is None:
        return _words("Pareto front", NO_SCORE)
    trials, costs = study.trials(), study.space.study.costs
    estimates, front = standing_of(study).expected, {trial.number for trial in pareto_front(study)}
    figure = Figure(figsize=(max(7, 5.2 * len(costs)), 5), layout="constrained")
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    shown = [trial for trial in trials if trial.number in estimates and trial.state is not TrialState.FAILED]
    for panel, cost in zip(panels, costs, strict=True):
        for of_front, colour, label in ((False, "#94a3b8", "another trial"), (True, TRAIN, "of the Pareto front")):
            points = [(t.costs[cost], estimates[t.number]) for t in shown if (t.number in front) == of_front]
            if points:
                panel.plot(
                    *zip(*points, strict=True), "o", color=colour, label=label, markersize=6 if of_front else 4.5
                )
        members = sorted((t.costs[cost], estimates[t.number], t.number) for t in shown if t.number in front)
        if len(costs) == 1:  # with more, a trial may be on the front for a cost that the panel does not show
            panel.step(*zip(*[m[:2] for m in members], strict=True), where="post", color=TRAIN, linewidth=1, alpha=0.6)
        for value, score, number in members:
            panel.annotate(f" {number}", (value, score), xytext=(3, 4), textcoords="offset points", fontsize=8)
        ring: dict[str, Any] = {
            "marker": "o",
            "markersize": 12,
            "markerfacecolor": "none",
            "color": BEST_COLOUR,
            "mew": 2,
        }
        picked = f"picked: trial {best.number}"
        panel.plot(best.costs[cost], estimates[best.number], linestyle="none", label=picked, **ring)
        panel.set_xlabel(COST_NAMES[cost])
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.margins(0.08)
    panels[0].set_ylabel(f"validation {metric}, expected at full length")
    panels[0].yaxis.set_major_formatter(percent)
    title = f"Validation {metric} against what the model costs: towards the upper left is better"
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    handles = {h.get_label(): h for h in panels[0].get_legend_handles_labels()[0]}
    figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=len(handles))
    return figure


def _learning_curves(trials: Sequence[TrialRecord], metric: str, promotion: str, best: TrialRecord | None) -> Figure:
    title = f"Validation {label_of(metric)} over the epochs of each trial; {PROMOTIONS[promotion]}"
    curves = {trial.number: learning_curves(trial, metric, joined=promotion != "restart") for trial in trials}
    if not any(curves.values()):
        return _words(title, "no epoch was trained")
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    axes = figure.add_subplot(xlabel="epochs trained")
    axes.set_title(title, loc="left")
    rungs = sorted({curve.rung for of_trial in curves.values() for curve in of_trial})
    many, best_number = len(trials) > 50, best.number if best is not None else None
    for number, of_trial in sorted(curves.items(), key=lambda item: item[0] == best_number):
        is_best = number == best_number
        for curve in of_trial:
            colour = BEST_COLOUR if is_best else RUNG_COLOURS[min(rungs.index(curve.rung), 3) if len(rungs) <= 4 else 1]
            width, alpha = (2.6, 1.0) if is_best else (0.7, 0.45) if many else (1.2, 0.8)
            axes.plot(curve.epochs, curve.scores, color=colour, linewidth=width, alpha=alpha)
            if curve.complete:
                size = 6 if is_best else 2.5 if many else 4.5
                axes.plot(curve.epochs[-1], curve.scores[-1], "o", color=colour, markersize=size, alpha=alpha)
    labels = [f"to the rung of {counted(rung, 'epoch')}" for rung in rungs]
    pairs = zip(labels, RUNG_COLOURS, strict=False) if len(rungs) <= 4 else [("to a rung", TRAIN)]
    handles = [Line2D([], [], color=colour, label=label) for label, colour in pairs]
    handles.append(Line2D([], [], color="#374151", marker="o", linestyle="none", markersize=4.5, label="the rung"))
    if best is not None:
        handles.append(Line2D([], [], color=BEST_COLOUR, linewidth=2.6, label=_best_label(best)))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(f"validation {label_of(metric)}")
    axes.yaxis.set_major_formatter(percent)
    return figure
