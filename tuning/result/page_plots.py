"""A study's pictures as SVG inside a page: text stays text, and colours follow the page's light or dark look.

in_page(study_figures(study))  # {"slices": Markup("<svg …"), …}
"""

import io
import re
from collections.abc import Mapping

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from tuning.result.plots import LOOK

MOST_BYTES = 120_000
"""A larger picture, of many trials, is named instead: the page stays below 1 MB."""
COLOURS = {
    "#000000": "ink", "#374151": "ink", "#6b7280": "soft", "#94a3b8": "faint", "#e5e7eb": "grid", "#ffffff": "card",
    "#2563eb": "blue", "#ea580c": "orange", "#16a34a": "green", "#7c3aed": "purple", "#dc2626": "red",
}  # fmt: skip
"""Colours that the page's style sheet has under a name."""
GROUP = re.compile(r' id="(?![mp][0-9a-f]{10}|image|C\d)[\w.]+_\d+"')
"""Names of groups, which nothing refers to."""
NUMBER = re.compile(r"(\d+\.\d\d)\d+")


def in_page(figures: Mapping[str, Figure]) -> dict[str, Markup]:
    """Each figure as an <svg> element."""
    return {name: _svg(figure, name) for name, figure in figures.items()}


def _svg(figure: Figure, name: str) -> Markup:
    written = io.StringIO()
    look = {**LOOK, "svg.fonttype": "none", "svg.hashsalt": name}  # one salt each: names differ between the pictures
    with matplotlib.rc_context(look):
        figure.savefig(written, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = re.sub(r"<(metadata|style)\b.*?</\1>|<!--.*?-->|<defs>\s*</defs>", "", written.getvalue(), flags=re.DOTALL)
    text = GROUP.sub("", text[text.index("<svg ") :])
    text = re.sub(r'style="[^"]*"', lambda style: _style(style[0]), text)
    text = re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda found: _shorter(found[0]), text)
    opening = rf'<svg viewBox="\1" role="img" aria-label="{name.replace("_", " ")}">'
    text = re.sub(r'^<svg .*?viewBox="([^"]*)".*?>', opening, text)
    text = re.sub(r">\s+<", "><", text)
    if len(text) > MOST_BYTES:
        return Markup('<p class="soft">{}: of so many trials in plots/{}.png</p>').format(name.replace("_", " "), name)
    return Markup(text)


def _style(text: str) -> str:
    for colour, name in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    return re.sub(r"font-family: [^;\"]*;? ?", "", text)


def _shorter(attribute: str) -> str:
    """Two digits behind the point are a hundredth of a pixel."""
    return NUMBER.sub(r"\1", attribute.replace("\n", ""))
