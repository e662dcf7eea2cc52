"""Draws how many images each identity has.

plot_distribution(report, Path("results/images.png"))
"""

import statistics
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from data.checks.report import Report
from data.sets.listing import GALLERY, QUERY, TRAIN
from data.system.errors import UserError
from data.system.files import replacing
from data.system.wording import in_plot

NAMED_IDENTITIES = 30
"""Up to this many bars, each is labelled with its identity."""
LETTERS = 24
"""How much of an identity's name stands under its bar."""
LETTERS_ACROSS = 75
"""Up to this many letters, the labels under the bars are written across; more are turned by 90 degrees."""
SEPARATE_BARS = 150
"""Up to this many bars have gaps between them; with more, the gaps would be narrower than a dot."""
COLOURS = {TRAIN: "#3b6ea8", GALLERY: "#3d8f6e", QUERY: "#e0a83c"}


def plot_distribution(report: Report, file: Path) -> None:
    """Writes a picture with a bar for each identity, as high as its number of images, for training and for test.

    The ending of `file` is the format (png, pdf, svg); its folder is made. Raises UserError when the ending is no
    format or the file cannot be written.
    """
    images_of = {split.split: split.images_of for split in report.splits if split.images_of}
    names = {identity: name for split in report.splits for identity, name in split.names.items()}
    panels = [
        ("training", {split: images_of[split] for split in (TRAIN,) if split in images_of}),
        ("test", {split: images_of[split] for split in (GALLERY, QUERY) if split in images_of}),
    ]
    panels = [(title, stacks) for title, stacks in panels if stacks]
    figure = Figure(figsize=(10, 0.6 + 2.9 * max(1, len(panels))), dpi=120, layout="constrained")
    formats = figure.canvas.get_supported_filetypes()
    if file.suffix.lstrip(".").lower() not in formats:
        raise UserError(f"--plot {file}: the name must end in one of .{', .'.join(sorted(formats))}")
    figure.suptitle(f"Images per identity: {in_plot(report.title)}" + ("" if panels else " (none)"))
    for number, (title, stacks) in enumerate(panels, start=1):
        axes = figure.add_subplot(len(panels), 1, number)
        _draw_panel(axes, title, stacks, names)
        if title == "training":
            k = report.images_per_identity
            axes.axhline(
                k, color="#333333", linestyle="--", linewidth=1, label=f"K = {k} images per identity in a batch"
            )
            axes.set_ylim(0, max(axes.get_ylim()[1], 1.06 * k))
        axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    _save(figure, file)


def _draw_panel(axes: Axes, title: str, stacks: dict[str, dict[int, int]], names: Mapping[int, str]) -> None:
    """The bars of training or test. `stacks` is split -> identity -> images; a split's bars stand on those before."""
    total: Counter[int] = Counter()
    for images_of in stacks.values():
        total.update(images_of)
    identities = sorted(total, key=lambda identity: (-total[identity], identity))
    base = [0] * len(identities)
    for split, images_of in stacks.items():
        top = [low + images_of.get(identity, 0) for low, identity in zip(base, identities, strict=True)]
        if len(top) <= SEPARATE_BARS:
            heights = [high - low for low, high in zip(base, top, strict=True)]
            axes.bar(range(1, len(top) + 1), heights, 0.8, base, color=COLOURS[split], label=split)
        else:
            edges = [place + 0.5 for place in range(len(top) + 1)]
            axes.stairs(top, edges, baseline=base, fill=True, color=COLOURS[split], label=split)
        base = top
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(0.4, len(identities) + 0.6)
    axes.set_ylim(0, max(base) * 1.06)
    axes.set_ylabel("images")
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes.grid(axis="y", linewidth=0.5, alpha=0.5)
    axes.set_axisbelow(True)
    if len(identities) <= NAMED_IDENTITIES:
        labels = [names.get(identity, str(identity))[:LETTERS] for identity in identities]
        places = range(1, len(labels) + 1)
        letters = len(labels) * (1 + max(map(len, labels)))
        axes.set_xticks(places, labels, rotation=90 if letters > LETTERS_ACROSS else 0, parse_math=False)
        axes.set_xlabel("identity")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.set_xlabel("identities, those with most images first")
    counts = f"{len(identities):,} identities, {total.total():,} images, median {statistics.median(total.values()):g}"
    axes.set_title(f"{title}: {counts}", loc="left", fontsize=11)


def _save(figure: Figure, file: Path) -> None:
    try:
        with replacing(file) as temporary:
            figure.savefig(temporary, format=file.suffix.lstrip(".").lower())
    except OSError as error:
        raise UserError(f"--plot {file}: cannot be written ({error.strerror or error})") from error
