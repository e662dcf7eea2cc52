"""report.html: a study on one page that needs nothing else, neither a network nor a server.

write_page(study)  # results/NAME/report.html

The page is made from the record and the files beside it, by the templates in tuning/result/template. Whatever is in
them is escaped. Its Content-Security-Policy lets it load nothing. The same record gives the same bytes.
"""

import json
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from matplotlib.figure import Figure

from data.system.commands import command
from data.system.files import write_text
from reid_train.errors import ERRORS
from tuning.confirm.repeats import repeats_of
from tuning.decide.pareto import best_trials
from tuning.decide.ranking import repeated_scores
from tuning.record.folders import REPORT
from tuning.record.study import Study
from tuning.result.ablation import ABLATION_HEADER, read_ablation
from tuning.result.page_errors import Errors, errors_in_page, histogram_paths, read_errors
from tuning.result.page_facts import cost_facts, cost_rows, data_facts, retrained, texts, versions
from tuning.result.page_plots import in_page
from tuning.result.page_search import explorer_data
from tuning.result.page_verdict import digits, percent, test_rows, unfinished, verdict_of
from tuning.result.plots import best_of, kept_in, study_figures
from tuning.result.tables import ablation_rows, confirmation_rows, front_rows, result_rows

logger = logging.getLogger(__name__)

TEMPLATES = Path(__file__).with_name("template")
SCRIPTS = ("charts.js", "search_charts.js", "explorer.js", "page.js")
RELOAD_S = 15
"""Seconds after which a browser reads the page of a running search again."""
LISTED = 50
"""Trials in the table that needs no JavaScript."""


def write_page(
    study: Study, *, images: bool | None = None, figures: Mapping[str, Figure] | None = None, running: bool = False
) -> Path:
    """Writes the study's page and gives its path.

    `images`: whether with pictures of the data set; None: as the search was told, else only where the project drew them
    itself. `figures` are `study_figures`, if they are drawn already. `running`: the browser reads the page again after
    RELOAD_S; what takes long, pictures that need no JavaScript and importances, is left out.
    """
    if figures is None:
        figures = {} if running else study_figures(study)
    if images is None:
        images = study.facts.get("report_images", study.space.sample_data is not None)
    text = _page(study, pictures=images, figures=figures, running=running)
    file = study.folder / REPORT
    write_text(file, text.encode("utf-8", "backslashreplace").decode())  # names of files may be no UTF-8
    return file


def _page(study: Study, *, pictures: bool, figures: Mapping[str, Figure], running: bool) -> str:
    record = repeats_of(study)
    shown, of_errors = _errors(study.folder, pictures)
    repeats = repeated_scores(study, record)
    content = {
        "name": study.folder.name,
        "running": running,
        "reload_s": RELOAD_S,
        "unfinished": unfinished(study),
        "trials": len(study.trials()),
        "metric": study.space.study.metric,
        "verdict": verdict_of(study, record),
        "test": test_rows(study),
        "figures": in_page(figures),
        "listed": result_rows(study, best_trials(study, most=LISTED, repeats=repeats), repeats),
        "front": front_rows(study),
        "confirmation": confirmation_rows(study),
        "ablation": _ablation(study),
        "retrained": retrained(study.folder),
        "errors": shown,
        "of_errors": of_errors,
        "pictures": pictures,
        "data": data_facts(study),
        "cost": cost_rows(study, record),
        "cost_facts": cost_facts(study),
        "versions": versions(study),
        "texts": texts(study.folder),
        "commands": _commands(study),
        "json": as_json({**explorer_data(study, best_of(study, kept_in(study.folder)), weigh=not running),
                         **_for_scripts(shown)}),
    }  # fmt: skip
    return _environment().get_template("report.html.j2").render(content)


def _errors(folder: Path, pictures: bool) -> tuple[Errors | None, Markup]:
    """errors.json and its sections; nothing where there is none, or one that is not as it should be."""
    raw = read_errors(folder)
    try:
        if raw is not None:
            shown = errors_in_page(raw, images=pictures)
            return shown, Markup(_environment().get_template("errors.html.j2").render(errors=shown))
    except Exception as error:  # whatever a file that was changed by hand may cause: the rest of the page is shown
        logger.warning("%s: not shown: %s", folder / ERRORS, error)
    return None, Markup()


def _ablation(study: Study) -> tuple[tuple[str, ...], list[list[str]], str] | None:
    steps = read_ablation(study)
    return (ABLATION_HEADER, ablation_rows(steps["rows"]), steps["noise"]) if steps else None


def _commands(study: Study) -> list[tuple[str, str]]:
    """What each of the study's commands does."""
    return [
        ("the search; the same command goes on, or prints the result", study.facts.get("command", "")),
        ("this page, tables and plots anew", command("tuning.report", str(study.folder))),
    ]


def _for_scripts(shown: Errors | None) -> dict[str, Any]:
    """What the scripts need of errors.json: the threshold's curve, and the map's points."""
    if shown is None:
        return {"threshold": None, "map": []}
    threshold, points = shown.threshold, [[p.identity, p.camera, p.path, p.thumb] for p in shown.points]
    kept = ("curve", "pairs_same", "pairs_different", "eer")
    return {"threshold": threshold and {name: threshold.get(name) for name in kept}, "map": points}


def as_json(value: Any) -> Markup:
    """JSON inside <script>: no `<`, so that no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(text.replace("&", "\\u0026"))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )  # fmt: skip
    made.globals |= {
        "style": Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        "scripts": [Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in SCRIPTS],
        "histogram_paths": histogram_paths,
    }
    made.filters |= {"percent": percent, "digits": digits}
    return made
