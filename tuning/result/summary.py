"""The result of a study in words: the headline, summary.md, and what a search prints at its end.

for line in headline(study):
    print(line)
"""

import os
from collections import Counter
from contextlib import suppress
from typing import Any

from rich.console import Console

from data.pixels.bad_images import describe_left_out
from data.system.commands import command
from data.system.errors import UserError
from data.system.files import read_json, write_text
from data.system.wording import clock, counted, gigabytes, in_markdown, show_parameters
from reid_train.inference.evaluation_count import describe_count, read_test_metrics
from reid_train.measure.scores import LABELS
from reid_train.model.settings import TIMM
from reid_train.settings.config import read_config
from tuning.confirm.candidates import DEFAULT
from tuning.confirm.repeats import repeats_of
from tuning.decide.budget import Purse
from tuning.decide.pareto import best_trials, limits_of, pareto_front
from tuning.decide.ranking import repeated_scores, standing_of, within
from tuning.decide.stopping import chance_of_gain
from tuning.record.folders import BEST, BEST_CONFIG, REPORT
from tuning.record.lock import process_in
from tuning.record.study import Study
from tuning.record.trial import ENDED, TrialRecord, TrialState
from tuning.result.ablation import ABLATION_HEADER, read_ablation
from tuning.result.best import write_best_card
from tuning.result.effects import describe_effects, effects
from tuning.result.hints import edges, next_search
from tuning.result.page import write_page
from tuning.result.plots import save_figures, study_figures
from tuning.result.tables import (
    ablation_rows,
    confirmation_rows,
    front_rows,
    markdown_table,
    print_table,
    result_rows,
    write_tables,
)

SHOWN = 5
"""Configurations at full length that are printed, beside the default; confirmation.csv has all."""
FEWEST_PAIRS = 3
"""Trials with scores at two rungs from which on it is told how the rungs go along."""
NAMED_FAILURES = 5
"""Failed trials whose cause is printed."""


def write_results(study: Study, *, images: bool | None = None) -> None:
    """Writes tables, plots, summary.md, report.html and the winner's card from the study's record; `images` as to
    `write_page`."""
    write_best_card(study.folder)
    write_tables(study)
    figures = study_figures(study)
    save_figures(figures, study.folder / "plots")
    write_summary(study)
    write_page(study, images=images, figures=figures)


def write_summary(study: Study) -> None:
    """Writes summary.md."""
    write_text(study.folder / "summary.md", summary_text(study))


def headline(study: Study, *, brief: bool = False) -> list[str]:
    """The result in some lines; `brief`: in those alone that one acts on."""
    record = repeats_of(study)
    trials, ranked = study.trials(), best_trials(study, repeats=repeated_scores(study, record))
    counts = Counter(trial.state for trial in trials)
    shown = [f"{counts[state]} {state}" for state in TrialState if counts[state]]
    lines = [f"{counted(len(trials), 'trial')} ({', '.join(shown)}) in {clock(study.facts.get('elapsed_s', 0))}"]
    if ranked:
        lines += _of_best(study, record, ranked, brief)
        lines = _with_untrained(study, ranked[0], lines)
    if not brief and (paused := [trial for trial in ranked if trial.state is TrialState.PAUSED]):
        lines.append(
            f"paused: {counted(len(paused), 'trial')}; most is expected of trial {paused[0].number}, "
            f"{study.space.study.metric} {paused[0].score:.3f} at {counted(paused[0].rung, 'epoch')}; with a larger "
            "budget it may go on"
        )
    lines += _all_tried(study)
    lines += [] if brief else describe_rungs(study)
    lines += filter(None, [describe_left_out(study.facts.get("images_left_out", []), "training")])
    lines += _of_test(study)
    failed = [trial for trial in trials if trial.state is TrialState.FAILED]
    lines += [f"failed: trial {trial.number}: {trial.cause}" for trial in failed[:NAMED_FAILURES]]
    if len(failed) > NAMED_FAILURES:
        lines.append(f"and {len(failed) - NAMED_FAILURES} more failed: trials.csv has their causes")
    return lines


def _of_best(study: Study, record: Study | None, ranked: list[TrialRecord], brief: bool) -> list[str]:
    """Which trial or confirmed configuration is the best, and how much that says."""
    best, metric, lines = ranked[0], study.space.study.metric, list[str]()
    scores = [trial.scores[best.rung] for trial in ranked if best.rung in trial.scores]
    reached = f"trial {best.number}, {metric} {best.score:.3f} after {counted(best.rung, 'epoch')}"
    if best.costs:
        lines.append(_of_front(study, best))
        reached += f", {show_parameters(best.costs)}"
    parameters = best.parameters
    if confirmed := study.facts.get("confirmation"):
        lines += [*([] if brief else [f"best while searching: {reached}"]), *confirmed["sentences"]]
        winner = confirmed["rows"][0]
        parameters = {name: winner[name] for name in study.space.searched if winner[name] is not None}
    else:
        lines.append(f"best: {reached}")
    found = effects(study, record, parameters)
    seen = {effect.key for effect in found if effect.seen}
    at_edges = edges(study.space, parameters, seen)
    lines += [f"settings: {show_parameters(parameters)}", *at_edges, *([next_search(study)] if at_edges else [])]
    if brief:
        return lines
    lines += describe_effects(found)
    if (chance := chance_of_gain(study, record)) is not None:
        lines.append(f"more searching would gain more than half the noise with probability {chance:.2f}")
    if len(scores) > 1:
        lines.append(
            f"worst {metric} of {len(scores)} trials with {counted(best.rung, 'epoch')}: {min(scores):.3f}; best "
            f"minus worst: {max(scores) - min(scores):.3f}"
        )
    return lines


def _all_tried(study: Study) -> list[str]:
    """A line where no other configuration is left to try."""
    there, asked = Purse(study, None).most_trials, study.space.study.most_trials
    if there is None or there == asked or len(study.trials()) < there:
        return []
    return [f"all {there} configurations of the space were tried: another space has more (--name begins its study)"]


def _with_untrained(study: Study, best: TrialRecord, lines: list[str]) -> list[str]:
    """These lines with one that compares the winner to the network before training: the first, where it is no better,
    else the last. Nothing is added where that was not measured."""
    metric, scores = study.space.study.metric, dict[str, float]()
    with suppress(FileNotFoundError, UserError):
        scores = read_json(study.folder / "untrained.json")
    if metric not in scores:
        return lines
    before, confirmed = scores[metric], study.facts.get("confirmation")
    after = confirmed["rows"][0]["mean"] if confirmed else best.score or 0.0
    if after > before:
        times = after / max(before, 1e-9)
        return [*lines, f"untrained default: {metric} {before:.3f}; the winner is {times:.1f} times that"]
    warning = (
        f"warning: training made nothing better: the winner's {metric} is {after:.3f}, the untrained default's "
        f"{before:.3f}; look at the images, the learning rate, the epochs"
    )
    return [warning, *lines]


def describe_rungs(study: Study) -> list[str]:
    """How well each rung ranks, as the model believes."""
    rungs, found = study.plan.rungs or (), standing_of(study)
    if not found.runs or sum(len(trial.scores) > 1 for trial in study.trials()) < FEWEST_PAIRS:
        return []
    pairs = zip(rungs[:-1], found.correlations, strict=False)
    return [
        f"rung of {counted(rung, 'epoch')}: scores go along with those at {rungs[-1]} with correlation {value:.2f}"
        for rung, value in pairs
    ]


def _of_front(study: Study, best: TrialRecord) -> str:
    """How many trials no other beats, and by which rule one was picked."""
    pick = study.space.study.pick
    rule = "the knee of the front" if isinstance(pick, str) else f"the best with at most {show_parameters(pick)}"
    line = f"Pareto front: {counted(len(pareto_front(study)), 'trial')}; picked is {rule}"
    if not within(best.costs, limits_of(study)):
        line += ", but no trial keeps that: the best of all is taken; with more trials one may be found"
    return line


def _of_test(study: Study) -> list[str]:
    """The winner's test figures, or how to come by them where the search left the test images alone."""
    test = read_test_metrics(study.folder)
    lines = test_lines(test)
    if study.facts.get("test_left_alone") and "mAP" not in test and (study.folder / BEST).is_dir():
        where = ("--checkpoint", str(study.folder / BEST), "--data-dir", study.space.base_config().data_dir)
        lines.append(f"test: left alone (--no-test); to evaluate the winner: {command('reid_train.evaluate', *where)}")
    return lines


def test_lines(test: dict[str, Any]) -> list[str]:
    """The winner's test figures with their intervals, and how often the test images were looked at for this study."""
    lines = []
    if test.get("evaluations"):
        lines.append(f"test (query/gallery), {describe_count(test['evaluations'])}")
    if "mAP" in test:
        intervals = test.get("intervals") or {}
        figures = []
        for key in ("mAP", "mAP_trapezoid", "rank1", "mINP"):
            interval = " to ".join(f"{100 * bound:.1f}" for bound in intervals.get(key, ()))
            figures.append(f"{LABELS[key]} {test[key]:.1%}" + (f" ({interval})" if interval else ""))
        over = f"; in brackets: 95 % intervals over {test['identities']} identities" if intervals else ""
        lines[-1] += f": {', '.join(figures)}{over}"
        for name, of_test in test.get("test_sets", {}).items():
            shown = ", ".join(f"{LABELS[key]} {of_test[key]:.1%}" for key in ("mAP", "rank1", "rank5"))
            lines.append(f"test set {name}: {shown}")
        lines += [f"test protocol: {test['protocol']}"] if "protocol" in test else []
        lines += filter(None, [describe_left_out(test.get("images_left_out", []), "test")])
    elif "not_evaluated" in test:
        lines.append(f"test: not evaluated: {test['not_evaluated']}; mend it and give the search's command again")
    return lines


def summary_text(study: Study, top: int = 10) -> str:
    """summary.md."""
    repeats = repeated_scores(study, repeats_of(study))
    header, rows = result_rows(study, best_trials(study, most=top, repeats=repeats), repeats)
    lines = "\n".join(f"- {in_markdown(line)}" for line in headline(study))
    files = sorted((study.folder / "plots").glob("*.png"))
    pictures = "\n\n".join(f"![{file.stem}](plots/{file.name})" for file in files)
    table = markdown_table(header, rows)
    confirmed, steps = confirmation_rows(study), read_ablation(study)
    confirmation = f"## Confirmation\n\n{markdown_table(*confirmed)}\n\n" if confirmed else ""
    front = front_rows(study)
    pareto = f"## Pareto front\n\n{markdown_table(*front)}\n\n" if front else ""
    ablation = ""
    if steps:
        cells = markdown_table(ABLATION_HEADER, ablation_rows(steps["rows"]))
        ablation = f"\n\n## From the default to the winner\n\n{cells}\n\n{steps['noise']}"
    return (
        f"# {in_markdown(study.folder.name)}\n\n{lines}\n\n{confirmation}{pareto}"
        f"## Best trials\n\n{table}{ablation}\n\n## Plots\n\n{pictures}\n"
    )


def print_results(study: Study, console: Console, top: int = 10, *, brief: bool = True) -> None:
    """The results table, the headline, `brief` as at a search's end, and what to do next."""
    repeats, trials = repeated_scores(study, repeats_of(study)), study.trials()
    best = best_trials(study, most=top, repeats=repeats)
    order = ", what may be picked first" if study.space.study.costs else ""
    title = f"{study.folder.name}: best {len(best)} of {len(trials)} trials{order}; validation, in percent"
    print_table(console, title, *result_rows(study, best, repeats))
    if front := front_rows(study):
        print_table(console, "Pareto front: no trial is better in everything, the best score first", *front)
    if confirmed := confirmation_rows(study):
        header, rows = confirmed
        shown = [row for place, row in enumerate(rows) if place < SHOWN or row[0] == DEFAULT]
        print_table(console, "the best of those that were trained longest, by all of their runs", header, shown)
    for line in headline(study, brief=brief):
        console.print(line, soft_wrap=True)
    process = process_in(study.folder)
    if process is not None and process != str(os.getpid()):
        print(f"\nprocess {process} is searching here; its results are told when it ends")
    elif (study.folder / BEST).is_dir():
        size = gigabytes(study.folder)
        print(f"\neverything is in {study.folder} ({size}): summary.md, trials.csv, plots/, best/")
        print_page(study)
        print(f"next: {_next_command(study)}")
    else:
        done = sum(trial.state in ENDED for trial in trials)
        print()
        print_page(study)
        print(f"unfinished: {counted(done, 'trial')} ended. To go on:")
        print(f"  {study.facts.get('command', command('tuning.search'))}")


def print_page(study: Study) -> None:
    """Where the study's page is, if there is one."""
    if (file := study.folder / REPORT).is_file():
        print(f"all on one page: {file}")


def _next_command(study: Study) -> str:
    """What trains the winner on all identities."""
    config, retrain = read_config(str(study.folder / BEST_CONFIG)), ["tuning.retrain", str(study.folder)]
    if config.distills and not str(config.teacher).startswith(TIMM):
        return command(*retrain, "--teacher", "DIR") + "  (DIR: a teacher that was trained on all identities)"
    return command(*retrain)
