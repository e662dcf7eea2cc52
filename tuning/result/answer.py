"""A study's result for programs: what `tuning.report --json` gives.

study_answer(Study("results/sample"))["winner"]["of"]  # "trial 7"
"""

from collections import Counter
from contextlib import suppress
from typing import Any

from data.system.commands import command
from data.system.errors import UserError
from data.system.files import read_json
from reid_train.inference.evaluation_count import read_test_metrics
from tuning.decide.pareto import best_trials
from tuning.decide.ranking import repeated_scores, standing_of
from tuning.record.folders import BEST, BEST_CONFIG, BEST_LABEL
from tuning.record.lock import process_in
from tuning.record.study import Study
from tuning.result.summary import headline, repeats_of


def study_answer(study: Study, top: int = 10) -> dict[str, Any]:
    """The study in plain values.

    `study`: its folder; `state`: searching, finished or unfinished; `metric`: what is maximised; `elapsed_s`; `trials`:
    how many are in which state; `best`: the `top` best while searching, each with `trial` (number), `state`, `epochs`
    (of its longest schedule), `score` at their end, `expected` (mean over seeds), `parameters`, `costs`;
    `confirmation`: the rows of confirmation.csv, the winner's first; `winner`: whose weights best/ holds, `of`,
    `epochs`, `seed`, `score`, and `checkpoint` and `config`, null while there is none; `untrained`: validation figures
    before training, null where they were not measured; `test`: test_metrics.json, with all looks at the test images;
    `headline`: the result in sentences; `next`: the command that goes on.
    """
    repeats = repeated_scores(study, repeats_of(study))
    expected, winner = standing_of(study, repeats).expected, _winner(study)
    best = [
        {
            "trial": trial.number,
            "state": trial.state,
            "epochs": trial.rung,
            "score": trial.score,
            "expected": expected.get(trial.number),
            "parameters": trial.parameters,
            "costs": trial.costs,
        }
        for trial in best_trials(study, most=top, repeats=repeats)
    ]
    going_on = study.facts.get("command", command("tuning.search"))
    return {
        "study": study.folder,
        "state": "searching" if process_in(study.folder) else "finished" if winner else "unfinished",
        "metric": study.space.study.metric,
        "elapsed_s": study.facts.get("elapsed_s", 0.0),
        "trials": dict(Counter(str(trial.state) for trial in study.trials())),
        "best": best,
        "confirmation": study.facts.get("confirmation", {}).get("rows", []),
        "winner": winner,
        "untrained": _read(study, "untrained.json"),
        "test": read_test_metrics(study.folder),
        "headline": headline(study),
        "next": command("tuning.retrain", str(study.folder)) if winner else going_on,
    }


def _winner(study: Study) -> dict[str, Any] | None:
    label = _read(study, f"{BEST}/{BEST_LABEL}")
    if label is None:
        return None
    return {**label, "checkpoint": study.folder / BEST, "config": study.folder / BEST_CONFIG}


def _read(study: Study, name: str) -> Any:
    """What a JSON file of the study holds; None where it is missing or damaged."""
    with suppress(FileNotFoundError, UserError):
        return read_json(study.folder / name)
    return None
