"""What follows the trials: the winner's weights, its one evaluation on the test images, tables, plots, the summary."""

import json
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from data.atomic import write_json, write_text
from data.cache import Pixels, usable_cpus
from data.datasets import find_dataset, read_test
from data.errors import UserError, python_command
from data.splits import TrainingData
from reid_train.checkpoint import build_model
from reid_train.evaluate import LABELS, evaluate_checkpoint, summary
from tuning.edges import edges
from tuning.plot_data import searched_parameters
from tuning.ranking import best_first
from tuning.rungs import agreements
from tuning.study import Study, TrialRecord
from tuning.tables import ABLATION_HEADER, ablation_rows, markdown_table, result_rows, results_table, write_tables
from tuning.weights import keep_best
from tuning.wording import clock, counted, open_console, show_parameters

NAMED_FAILURES = 5
"""Failed trials whose cause is printed."""


def conclude(study: Study, data: TrainingData, pixels: Pixels) -> None:
    """Writes all that a finished search leaves and prints it. Steps that are done already are not done again."""
    console = open_console()
    if not best_first(study.trials()):
        write_results(study)  # the causes are on record there
    best = best_trial(study)
    write_json(study.folder / "untrained.json", untrained_metrics(study, data, pixels))
    keep_best(study, best)
    write_best_config(study, best)
    test_once(study, cache_dir=pixels.file.parent if pixels.file else None)
    write_results(study)
    print_results(study, console)


def best_trial(study: Study) -> TrialRecord:
    """The best trial. Raises UserError, with the causes, when none completed a schedule."""
    trials = study.trials()
    ranked = best_first(trials)
    if not ranked:
        causes = sorted({trial.cause for trial in trials if trial.cause})
        raise UserError(
            f"{study.folder}: none of {len(trials)} trials completed a schedule"
            + (f"; causes: {'; '.join(causes[:3])}" if causes else "; raise --time-budget or --trials")
        )
    return ranked[0]


def write_best_config(study: Study, best: TrialRecord) -> None:
    """Writes best_config.yaml: all settings of the winner, as reid_train.train takes them."""
    config = study.space.config(best.parameters).changed(num_epochs=best.rung)
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    write_text(study.folder / "best_config.yaml", f"# trial {best.number} of {study.folder.name}\n{text}")


def test_once(study: Study, *, cache_dir: Path | None) -> None:
    """Evaluates best/ on query and gallery, unless that was done; writes test_metrics.json."""
    file = study.folder / "test_metrics.json"
    trial = json.loads((study.folder / "best" / "trial.json").read_text())
    recorded = _read_json(file)
    if recorded.get("trial") == trial["number"] and "mAP" in recorded:
        return
    config = study.space.base_config()
    try:
        query, gallery = read_test(config.data_dir, config.dataset)
        metrics = summary(
            evaluate_checkpoint(study.folder / "best", query, gallery, num_threads=usable_cpus(), cache_dir=cache_dir)
        )
    except UserError as error:  # a missing folder or a broken image: the search is not lost for it
        write_json(file, {"trial": trial["number"], "not_evaluated": str(error)})
        return
    name, _ = find_dataset(config.data_dir, config.dataset)
    write_json(file, {"trial": trial["number"], "dataset": name, **metrics})


def untrained_metrics(study: Study, data: TrainingData, pixels: Pixels) -> dict[str, float]:
    """Validation metrics of the network before training: what any score is to be compared with."""
    import torch

    from reid_train.checkpoint import load_pretrained
    from reid_train.device import choose_device
    from reid_train.validate import validate

    file = study.folder / "untrained.json"
    if file.is_file():
        recorded: dict[str, float] = json.loads(file.read_text())
        return recorded
    config = study.space.base_config()
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = build_model(config, len({sample.identity for sample in data.train}))
    load_pretrained(model, config.pretrained, config.backbone)
    torch.set_num_threads(usable_cpus())
    device = choose_device(config.device)
    held_out = data._replace(holdout=())
    return validate(model.to(device), config, held_out, pixels, {}, device=device, precision=torch.float32)


def write_results(study: Study) -> None:
    """Writes tables, plots and summary.md from the study's record."""
    from tuning.plots import plot_study

    write_tables(study)
    plot_study(study, study.folder / "plots")
    write_text(study.folder / "summary.md", summary_text(study))


def _read_json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.is_file() else {}


def headline(study: Study) -> list[str]:
    """The result in a few lines."""
    trials = study.trials()
    ranked = best_first(trials)
    metric = study.attributes["space"]["metric"]
    untrained = _read_json(study.folder / "untrained.json")
    test = _read_json(study.folder / "test_metrics.json")
    counts = [f"{sum(t.state == s for t in trials)} {s}" for s in ("complete", "pruned", "failed")]
    counts += [f"{n} {s}" for s in ("paused", "waiting", "running") if (n := sum(t.state == s for t in trials))]
    lines = [
        f"{counted(len(trials), 'trial')} ({', '.join(counts)}) in {clock(float(study.attributes.get('elapsed_s', 0)))}"
    ]
    if ranked:
        best, scores = ranked[0], [trial.score or 0.0 for trial in ranked]
        lines.append(f"best: trial {best.number}, {metric} {best.score:.3f} after {counted(best.rung, 'epoch')}")
        lines.append(f"settings: {show_parameters(best.parameters)}")
        lines += edges(searched_parameters(study.attributes["space"]["search"], trials), best.parameters)
        lines.append(f"worst {metric}: {min(scores):.3f}; best minus worst: {max(scores) - min(scores):.3f}")
        if metric in untrained:
            ratio = (best.score or 0.0) / max(untrained[metric], 1e-9)
            lines.append(f"untrained network: {metric} {untrained[metric]:.3f}; the best is {ratio:.1f} times that")
    if paused := [trial for trial in ranked if trial.state == "paused"]:
        lines.append(
            f"paused: {counted(len(paused), 'trial')}, the best of them trial {paused[0].number} with {metric} "
            f"{paused[0].score:.3f} at {counted(paused[0].rung, 'epoch')}; with more trials or time it may go on"
        )
    lines += [found.describe() for found in agreements(trials, study.attributes.get("rungs", []))]
    if "mAP" in test:
        figures = ", ".join(
            f"{LABELS[key]} {test[key]:.1%}" for key in ("mAP", "mAP_trapezoid", "rank1", "mINP") if key in test
        )
        lines.append(f"test (query/gallery, evaluated once): {figures}")
    elif "not_evaluated" in test:
        lines.append(f"test: not evaluated: {test['not_evaluated']}; mend it and give the search's command again")
    failed = [trial for trial in trials if trial.state == "failed"]
    lines += [f"failed: trial {trial.number}: {trial.cause}" for trial in failed[:NAMED_FAILURES]]
    if len(failed) > NAMED_FAILURES:
        lines.append(f"and {len(failed) - NAMED_FAILURES} more failed: trials.csv has their causes")
    return lines


def summary_text(study: Study, top: int = 10) -> str:
    """summary.md."""
    header, rows = result_rows(study, top)
    lines = "\n".join(f"- {line}" for line in headline(study))
    files = sorted((study.folder / "plots").glob("*.png"))
    pictures = "\n\n".join(f"![{file.stem}](plots/{file.name})" for file in files)
    table = markdown_table(header, rows)
    steps = ablation_rows(study)
    ablation = f"\n\n## From the default to the winner\n\n{markdown_table(ABLATION_HEADER, steps)}" if steps else ""
    return f"# {study.folder.name}\n\n{lines}\n\n## Best trials\n\n{table}{ablation}\n\n## Plots\n\n{pictures}\n"


def print_results(study: Study, console: Console, top: int = 10) -> None:
    """The results table and the headline."""
    console.print(results_table(study, top))
    for line in headline(study):
        console.print(line, markup=False, soft_wrap=True)
    if (study.folder / "best").is_dir():
        print(f"\neverything is in {study.folder}: summary.md, trials.csv, plots/, best/")
        print(f"next: {python_command('tuning.retrain', str(study.folder))}")
    else:
        done = sum(trial.state in ("complete", "pruned", "failed") for trial in study.trials())
        print(f"\nunfinished: {done} of {study.attributes.get('trials', '?')} trials. To go on:")
        print(f"  {study.attributes.get('command', python_command('tuning.search'))}")
