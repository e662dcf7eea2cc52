"""A report of errors for people: tables, the thresholds in words, and a picture of rank lists.

print_errors(report, "results/sample/best")
plot_errors(report, "results/sample/best/errors.png")
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from data.pixels.gallery import Label
from data.system.errors import printable
from data.system.wording import counted, open_console
from reid_train.inference.gallery_search import Ranked, RankList, plot_rank_lists
from reid_train.inference.threshold import VALIDATION, Point, false_ones

SHOWN = 5
"""Rows of each table."""
DRAWN = {"worst": 6, "random": 2, "best": 2}
"""Rank lists in the picture."""


def print_errors(report: Mapping[str, Any], title: str) -> None:
    """Prints what is worst first: cameras, identities, confusions, queries; then the thresholds."""
    console = open_console()
    whose = "the identities held out for validation" if report["on"] == VALIDATION else "the test images"
    cameras = counted(report["cameras"], "camera") if report["cameras"] else "no cameras"
    console.print(
        printable(f"{title} on {whose}: mAP {_percent(report['mAP'])}, rank 1 {_percent(report['rank1'])}"),
        f"({report['queries']} queries of {report['identities']} identities, {cameras})",
        soft_wrap=True,
    )
    if report["cameras"] == 1:
        print("one camera took all images: only a query's own image is left out, where an evaluation leaves out all")
    for table in _tables(report):
        console.print()
        console.print(table)
    print()
    for line in threshold_lines(report["threshold"]):
        console.print(line, soft_wrap=True)


def threshold_lines(threshold: Mapping[str, Any] | None) -> list[str]:
    """The thresholds in words, a line each."""
    if threshold is None:
        return ["no threshold: that takes two images of one identity by two cameras, and another identity"]
    pairs = f"{threshold['pairs_same']:,} pairs of one identity, {threshold['pairs_different']:,} of two"
    lines = [f"From which similarity on it is the same ({threshold['identities']} identities, {pairs}):"]
    for each in threshold["at"]:
        point = Point(each["threshold"], each["false_positive_rate"], each["true_positive_rate"])
        found = f"finds {_percent(point.true_positive_rate)} of the pairs of one identity{_between(each)}"
        lines.append(f"  {point.threshold:.3f}  {false_ones(point)}; {found}")
    eer = threshold["eer"]
    rate = f"{_percent(eer['rate'])}{_between(eer)}"
    equal = f"equal error: of the pairs of one identity {rate} are missed, and as large a share of the others taken"
    lines.append(f"  {eer['threshold']:.3f}  {equal}")
    lines.append(f"Pairs: {threshold['pairs']}. In brackets: 95 % intervals over identities." if eer["low"] is not None
                 else f"Pairs: {threshold['pairs']}. There are too few identities for intervals.")  # fmt: skip
    return lines


def _tables(report: Mapping[str, Any]) -> list[Table]:
    pairs, people, wrong = report["camera_pairs"], report["by_identity"], report["confused"]
    tables = []
    if pairs:
        rows = [[p["query"], p["gallery"], str(p["queries"]), _percent(p["rank1"]), _percent(p["mAP"])] for p in pairs]
        header = ["query camera", "gallery camera", "queries", "rank 1", "mAP"]
        tables.append(_table(_title("camera pair", rows, " (few queries: later)"), header, rows))
    rows = [[p["identity"], _percent(p["mAP"]), str(p["queries"]), str(p["images"])] for p in people]
    tables.append(_table(_title("identit", rows), ["identity", "mAP", "queries", "images"], rows))
    if wrong:
        rows = [[w["identity"], w["with"], f"{w['queries']} of {w['of']}", "\n".join(w["example"])] for w in wrong]
        header = ["identity", "taken for", "queries", "example: query and rank 1"]
        tables.append(_table(_title("confusion", rows, ": another identity at rank 1"), header, rows))
    worst = [one for one in report["lists"] if one["kind"] == "worst"]
    rows = [[_percent(one["ap"]), *(one["query"][name] for name in ("identity", "camera", "path"))] for one in worst]
    tables.append(_table(f"The worst {len(rows[:SHOWN])} queries", ["AP", "identity", "camera", "image"], rows))
    return tables


def _title(noun: str, rows: Sequence[Any], more: str = "") -> str:
    """The worst 5 of 30 camera pairs."""
    plural = f"{noun}ies" if noun == "identit" else f"{noun}s"
    return f"The worst {min(len(rows), SHOWN)} of {len(rows)} {plural}{more}"


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in header:
        is_text = heading.startswith(("example", "taken")) or heading in ("identity", "camera", "image")
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for row in rows[:SHOWN]:
        table.add_row(*("\n".join(map(printable, cell.split("\n"))) for cell in row))
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _between(measured: Mapping[str, Any]) -> str:
    low, high = measured["low"], measured["high"]
    return "" if low is None else f" ({100 * low:.1f} to {100 * high:.1f})"


def plot_errors(report: Mapping[str, Any], file: str | Path) -> None:
    """Rank lists of the worst queries, of some at random and of the best, in this order."""
    lists, folder = [], Path(report["data_dir"])
    for kind, most in DRAWN.items():
        of_kind = [one for one in report["lists"] if one["kind"] == kind]
        for one in of_kind[:most]:
            title = f"{kind}: AP {100 * one['ap']:.0f} %\n{one['query']['identity']}"
            lists.append(RankList(folder / one["query"]["path"], title, [_ranked(r, folder) for r in one["ranked"]]))
    plot_rank_lists(lists, file)


def _ranked(image: Mapping[str, Any], folder: Path) -> Ranked:
    label = Label(0 if image["identity"] == "distractor" else 1, 0, "gallery", image["identity"], image["camera"])
    return Ranked(str(folder / image["path"]), image["similarity"], label, image["right"])
