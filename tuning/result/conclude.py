"""What follows the trials: the winner's weights, its evaluation on the test images, tables, plots, the summary."""

from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import yaml
from rich.console import Console

from data.pixels.bad_images import describe_left_out, usable_test
from data.pixels.cache import Pixels
from data.sets.readers import find_dataset
from data.sets.splits import TrainingData
from data.system.errors import UserError, python_command
from data.system.files import read_json, write_json, write_text
from data.system.threads import usable_cpus
from data.system.wording import clock, counted, open_console, show_parameters
from reid_train.checkpoint import build_model
from reid_train.checkpoint_scores import evaluate_checkpoint
from reid_train.config import read_config
from reid_train.evaluation_count import TEST_METRICS, describe_count, read_test_metrics, record_evaluation
from reid_train.measure.scores import LABELS, summary
from reid_train.model.settings import TIMM
from tuning.confirm.winner import Winner, confirm
from tuning.decide.pareto import best_trials, limits_of, pareto_front
from tuning.decide.ranking import within
from tuning.decide.rungs import agreements
from tuning.record.study import Study
from tuning.result.best import keep_best
from tuning.result.hints import edges
from tuning.result.plot_data import searched_parameters
from tuning.result.tables import (
    ABLATION_HEADER,
    ablation_rows,
    confirmation_rows,
    front_rows,
    markdown_table,
    print_table,
    result_rows,
    write_tables,
)

NAMED_FAILURES = 5
"""Failed trials whose cause is printed."""


def conclude(study: Study, record: Study, data: TrainingData, pixels: Pixels) -> None:
    """Writes all that a finished search leaves and prints it. Steps that are done already are not done again.

    `record` is that of the repeats.
    """
    console = open_console()
    if not best_trials(study):
        write_results(study)  # the causes are on record there
        raise_causes(study)
    best = confirm(study, record, data, pixels)
    write_json(study.folder / "untrained.json", untrained_metrics(study, data, pixels))
    keep_best(study.folder, best)
    write_best_config(study, best)
    test_once(study, cache_dir=pixels.file.parent if pixels.file else None)
    write_results(study)
    print_results(study, console)


def raise_causes(study: Study) -> NoReturn:
    """Raises UserError that tells why no trial completed a schedule."""
    trials = study.trials()
    causes = sorted({trial.cause for trial in trials if trial.cause})
    raise UserError(
        f"{study.folder}: none of {len(trials)} trials completed a schedule"
        + (f"; causes: {'; '.join(causes[:3])}" if causes else "; raise --time-budget or --trials")
    )


def write_best_config(study: Study, best: Winner) -> None:
    """Writes best_config.yaml: all settings of the winner, as reid_train.train takes them."""
    text = yaml.safe_dump(best.config.model_dump(mode="json"), sort_keys=False)
    write_text(study.folder / "best_config.yaml", f"# {best.of} of {study.folder.name}\n{text}")


def test_once(study: Study, *, cache_dir: Path | None) -> None:
    """Evaluates best/ on query and gallery, unless that was done; writes and counts it in test_metrics.json.

    Of several drivers of a study one does it for all.
    """
    best = read_json(study.folder / "best" / "trial.json")
    recorded = read_test_metrics(study.folder)
    if "mAP" in recorded and recorded.get("best") == best:
        return
    others = study.attributes.get("test_metrics", {})
    if others.get("best") == best:
        write_json(study.folder / TEST_METRICS, others)
        return
    config = study.space.base_config()
    try:
        query, gallery, left_out = usable_test(**config.images, cache_dir=cache_dir)
        metrics = summary(
            evaluate_checkpoint(study.folder / "best", query, gallery, num_threads=usable_cpus(), cache_dir=cache_dir)
        )
    except UserError as error:  # a missing folder or a broken image: the search is not lost for it
        record_evaluation(study.folder, None, {"best": best, "not_evaluated": str(error)})
        return
    name, _ = find_dataset(config.data_dir, config.dataset)
    left = {"images_left_out": [Path(path).name for path in left_out]} if left_out else {}
    record_evaluation(study.folder, f"search's end, {best['of']}", {"best": best, "dataset": name, **metrics, **left})
    if study.shared:
        study.set_attribute("test_metrics", read_test_metrics(study.folder))


def untrained_metrics(study: Study, data: TrainingData, pixels: Pixels) -> dict[str, float]:
    """Validation metrics of the network before training: what any score is to be compared with."""
    import torch

    from reid_train.device import choose_device
    from reid_train.epoch_validation import validate
    from reid_train.inputs import Pictures
    from reid_train.pretrained import load_pretrained

    with suppress(FileNotFoundError, UserError):  # what is not there, or is damaged, is measured again
        recorded: dict[str, float] = read_json(study.folder / "untrained.json")
        return recorded
    config = study.space.config(study.space.default())
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = build_model(config, len({sample.identity for sample in data.train}))
    load_pretrained(model, config.pretrained)
    torch.set_num_threads(usable_cpus())
    device = choose_device(config.device)
    held_out = data._replace(holdout=())
    return validate(model.to(device), config, held_out, Pictures(pixels, device, torch.float32), {})


def write_results(study: Study) -> None:
    """Writes tables, plots and summary.md from the study's record."""
    from tuning.result.plots import plot_study

    write_tables(study)
    plot_study(study, study.folder / "plots")
    write_text(study.folder / "summary.md", summary_text(study))


def headline(study: Study) -> list[str]:
    """The result in a few lines."""
    trials = study.trials()
    ranked = best_trials(study)
    metric = study.attributes["space"]["metric"]
    untrained: dict[str, float] = {}
    with suppress(FileNotFoundError, UserError):
        untrained = read_json(study.folder / "untrained.json")
    test = read_test_metrics(study.folder)
    counts = [f"{sum(t.state == s for t in trials)} {s}" for s in ("complete", "pruned", "failed")]
    counts += [f"{n} {s}" for s in ("paused", "waiting", "running") if (n := sum(t.state == s for t in trials))]
    lines = [
        f"{counted(len(trials), 'trial')} ({', '.join(counts)}) in {clock(float(study.attributes.get('elapsed_s', 0)))}"
    ]
    if ranked:
        best, final = ranked[0], ranked[0].score or 0.0
        scores = [trial.scores[best.rung] for trial in ranked if best.rung in trial.scores]
        reached = f"trial {best.number}, {metric} {best.score:.3f} after {counted(best.rung, 'epoch')}"
        if best.costs:
            front, pick = pareto_front(trials), study.attributes.get("pick", "knee")
            rule = "the knee of the front" if pick == "knee" else f"the best with at most {show_parameters(pick)}"
            lines.append(f"Pareto front: {counted(len(front), 'trial')}; picked is {rule}")
            if not within(best.costs, limits_of(trials, pick)):
                lines[-1] += ", but no trial keeps that: the best of all is taken; with more trials one may be found"
            reached += f", {show_parameters(best.costs)}"
        best_parameters = best.parameters
        if confirmed := study.attributes.get("confirmation"):
            lines += [f"best while searching: {reached}", *confirmed["sentences"]]
            winner = confirmed["rows"][0]
            final = winner["mean"]
            best_parameters = {p: winner[p] for p in study.attributes["space"]["search"] if winner[p] is not None}
        else:
            lines.append(f"best: {reached}")
        lines.append(f"settings: {show_parameters(best_parameters)}")
        lines += edges(searched_parameters(study.attributes["space"]["search"], trials), best_parameters)
        lines.append(
            f"worst {metric} of {counted(len(scores), 'trial')} with {counted(best.rung, 'epoch')}: {min(scores):.3f}; "
            f"best minus worst: {max(scores) - min(scores):.3f}"
        )
        if metric in untrained:
            ratio = final / max(untrained[metric], 1e-9)
            lines.append(f"untrained default: {metric} {untrained[metric]:.3f}; the winner is {ratio:.1f} times that")
    if paused := [trial for trial in ranked if trial.state == "paused"]:
        lines.append(
            f"paused: {counted(len(paused), 'trial')}, the best of them trial {paused[0].number} with {metric} "
            f"{paused[0].score:.3f} at {counted(paused[0].rung, 'epoch')}; with more trials or time it may go on"
        )
    lines += [found.describe() for found in agreements(trials, study.attributes.get("rungs", []))]
    lines += filter(None, [describe_left_out(study.attributes.get("images_left_out", []), "training")])
    lines += test_lines(test)
    failed = [trial for trial in trials if trial.state == "failed"]
    lines += [f"failed: trial {trial.number}: {trial.cause}" for trial in failed[:NAMED_FAILURES]]
    if len(failed) > NAMED_FAILURES:
        lines.append(f"and {len(failed) - NAMED_FAILURES} more failed: trials.csv has their causes")
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
        lines += filter(None, [describe_left_out(test.get("images_left_out", []), "test")])
    elif "not_evaluated" in test:
        lines.append(f"test: not evaluated: {test['not_evaluated']}; mend it and give the search's command again")
    return lines


def summary_text(study: Study, top: int = 10) -> str:
    """summary.md."""
    header, rows = result_rows(study, best_trials(study)[:top])
    lines = "\n".join(f"- {line}" for line in headline(study))
    files = sorted((study.folder / "plots").glob("*.png"))
    pictures = "\n\n".join(f"![{file.stem}](plots/{file.name})" for file in files)
    table = markdown_table(header, rows)
    confirmed, steps = confirmation_rows(study), ablation_rows(study)
    confirmation = f"## Confirmation\n\n{markdown_table(*confirmed)}\n\n" if confirmed else ""
    front = front_rows(study)
    pareto = f"## Pareto front\n\n{markdown_table(*front)}\n\n" if front else ""
    ablation = f"\n\n## From the default to the winner\n\n{markdown_table(ABLATION_HEADER, steps)}" if steps else ""
    ablation += f"\n\n{study.attributes.get('ablation_noise', '')}" if steps else ""
    return (
        f"# {study.folder.name}\n\n{lines}\n\n{confirmation}{pareto}## Best trials\n\n{table}{ablation}\n\n"
        f"## Plots\n\n{pictures}\n"
    )


def print_results(study: Study, console: Console, top: int = 10) -> None:
    """The results table and the headline."""
    best = best_trials(study)[:top]
    order = "what may be picked first, pruned last" if study.attributes["space"].get("costs") else "pruned last"
    title = f"{study.folder.name}: best {len(best)} of {len(study.trials())} trials, {order}; validation, in percent"
    print_table(console, title, *result_rows(study, best))
    if front := front_rows(study):
        print_table(console, "Pareto front: no trial is better in everything, the best score first", *front)
    if confirmed := confirmation_rows(study):
        print_table(console, "confirmation: new seeds, full length; the search's scores do not count", *confirmed)
    for line in headline(study):
        console.print(line, markup=False, soft_wrap=True)
    if (study.folder / "best").is_dir():
        print(f"\neverything is in {study.folder}: summary.md, trials.csv, plots/, best/")
        print(f"next: {python_command('tuning.retrain', str(study.folder))}")
        best_config = read_config(str(study.folder / "best_config.yaml"))
        if best_config.distills and not str(best_config.teacher).startswith(TIMM):
            print("      with --teacher DIR: one that was trained on all identities, as tuning.retrain leaves it")
    else:
        done = sum(trial.state in ("complete", "pruned", "failed") for trial in study.trials())
        print(f"\nunfinished: {done} of {study.attributes.get('trials', '?')} trials. To go on:")
        print(f"  {study.attributes.get('command', python_command('tuning.search'))}")
