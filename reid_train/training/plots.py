"""The look of all of the project's pictures, and those of a training run, drawn from its history table.

plot_history(read_history("results/one/history.csv"), "results/one/history.png")
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from data.system.files import replacing
from data.system.wording import in_plot
from reid_train.training.history import flat

TRAIN, VALIDATION, THIRD, FOURTH = "#2563eb", "#ea580c", "#16a34a", "#7c3aed"
STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "axes.edgecolor": "#6b7280",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "font.size": 9,
}


def save_figure(figure: Figure, file: str | Path) -> None:
    """Writes the figure as PNG, atomically."""
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight", facecolor="white")


def _lines(axes: Axes, rows: Sequence[dict[str, Any]], curves: Sequence[tuple[str, str, str]]) -> bool:
    """Draws the curves (key, label, colour) that the rows have values for; says whether there were any."""
    drawn = False
    # Points are worth showing while they can be told apart.
    marker = "o" if len(rows) <= 25 else ""
    for key, label, colour in curves:
        points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, label=label, marker=marker, markersize=3, linewidth=1.6)
            drawn = True
    if drawn and 1 < len(curves) <= NAMED_EXPERTS:
        # Beside the title, where it hides no curve.
        axes.legend(
            loc="lower right", bbox_to_anchor=(1, 0.99), ncols=8, handlelength=1, columnspacing=1, borderaxespad=0.2
        )
    return drawn


HELD_OUT = "held-out images"
PANELS = (
    ("Cross-entropy", "loss", (("ce_loss", "train", TRAIN), ("val_ce_loss", HELD_OUT, VALIDATION))),
    ("Identity accuracy", "%", (("accuracy", "train", TRAIN), ("val_accuracy", HELD_OUT, VALIDATION))),
    ("Metric loss", "loss", (("metric_loss", "train", TRAIN), ("val_metric_loss", "validation", VALIDATION))),
    (
        "Validation",
        "%",
        (
            ("val_mAP", "mAP", TRAIN),
            ("val_rank1", "rank 1", VALIDATION),
            ("val_rank5", "rank 5", THIRD),
            ("val_mINP", "mINP", FOURTH),
        ),
    ),
    ("Learning rate", "", (("learning_rate", "learning rate", TRAIN),)),
    ("Active triplets", "%", (("active_triplets", "share with a loss", TRAIN),)),
)
"""Title, unit and curves (key, label, colour) of each panel."""
EXTRA_PANELS = (
    ("Distillation loss", "loss", (("kd_loss", "train", TRAIN),)),
    ("Gate entropy", "nats", (("gate_entropy", "gate entropy", TRAIN),)),
)
"""Panels that only some runs have; "Expert usage" is another."""
NAMED_EXPERTS = 8
"""With more experts than this, no legend tells their curves apart."""


def _panels(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, tuple[tuple[str, str, str], ...]]]:
    """PANELS, and the extra panels that the rows have values for."""
    measured = {key: None for row in rows for key, value in row.items() if value is not None}
    extra = [panel for panel in EXTRA_PANELS if any(key in measured for key, _, _ in panel[2])]
    experts = [key for key in measured if key.startswith("expert_usage_")]
    colours = matplotlib.colormaps["turbo"]
    curves = tuple(
        (key, key.rpartition("_")[2], to_hex(colours((place + 0.5) / len(experts))))
        for place, key in enumerate(experts)
    )
    return [*PANELS, *extra, *([("Expert usage", "%", curves)] if curves else [])]


def plot_history(rows: Sequence[dict[str, Any]], file: str | Path, title: str = "Training history") -> None:
    """Writes `history_figure` as PNG."""
    figure = history_figure(rows, title)
    with matplotlib.rc_context(STYLE):
        save_figure(figure, file)


def history_figure(rows: Sequence[dict[str, Any]], title: str) -> Figure:
    """Six panels over the epochs: losses and accuracy of training and validation, retrieval, learning rate; and what
    only some runs have: distillation's loss, the experts' usage, the router's certainty."""
    rows = [flat(row) for row in rows]
    panels = _panels(rows)
    lines = -(-len(panels) // 3)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(13, 3.5 * lines), layout="constrained")
        axes = figure.subplots(lines, 3)
        for unused in axes.flat[len(panels) :]:
            unused.remove()
        for panel, (name, unit, curves) in zip(axes.flat, panels, strict=False):
            panel.set_title(name, loc="left")
            if _lines(panel, rows, curves):
                panel.set_ylim(0, 1.05 * panel.dataLim.y1 or 1)  # room above a level curve, too
            else:
                panel.text(
                    0.5, 0.5, "not measured in this run", transform=panel.transAxes, ha="center", color="#9ca3af"
                )
                panel.grid(False)
            if unit == "%":
                panel.yaxis.set_major_formatter(PercentFormatter(1.0))
            panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
            panel.set_xlabel("epoch")
        figure.suptitle(in_plot(title), fontsize=13, fontweight="bold", x=0.01, ha="left")
    return figure
