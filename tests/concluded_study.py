"""A study whose search is over, made in a second: nothing is trained, but all that reads a study finds what it needs.

study = concluded_study(tmp_path / "one", best_rate=0.05)
"""

import json
import math
from pathlib import Path

from reid_train.settings.config import TrainConfig
from tests.reports import epoch_report
from tests.simulated_search import SimulatedSearch
from tuning.confirm.winner import confirm
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.result.conclude import write_best_config
from tuning.result.tables import write_tables
from tuning.space.read import read_space

SPACE = """\
fixed: {image_height: 32, image_width: 16, backbone: resnet18, pretrained: none, batch_size: 16, optimizer: sgd}
search:
  learning_rate: {low: 1.0e-4, high: 1.0, log: true}
  margin: [0.1, 0.3, soft]
study: {trials: 9, rungs: [2, 6]}
"""
TEST = {
    "mAP": 0.4, "mAP_trapezoid": 0.38, "rank1": 0.6, "rank5": 0.8, "rank10": 0.9, "mINP": 0.1, "queries": 8,
    "identities": 4, "gallery": 16,
    "intervals": {"mAP": [0.3, 0.5], "mAP_trapezoid": [0.28, 0.48], "rank1": [0.5, 0.7], "rank5": [0.7, 0.9],
                  "rank10": [0.8, 1.0], "mINP": [0.05, 0.2]},
    "evaluations": [{"for": "search's end, trial 1"}],
}  # fmt: skip


def concluded_study(
    folder: Path,
    *,
    best_rate: float = 0.05,
    level: float = 0.5,
    fingerprint: str = "a" * 64,
    space: str = SPACE,
    data_dir: Path | None = None,
) -> Study:
    """A study in `folder` whose scores are highest, at `level`, with the learning rate `best_rate`."""
    file = folder.parent / f"{folder.name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(space)

    def score(config: TrainConfig, rung: int) -> float | Cause:
        if config.learning_rate > 0.7:
            return Cause(Kind.DIVERGED, "loss is nan at step 3")
        away = math.log10(config.learning_rate / best_rate)
        jitter = 0.004 * math.sin(1000 * config.learning_rate + 7 * config.seed)
        return level * math.exp(-0.3 * away * away) * (0.7 if rung == 2 else 1.0) + jitter

    search = SimulatedSearch(read_space(file, None, data_dir and str(data_dir)), score, folder=folder)
    search.study.note(
        data_fingerprint=fingerprint,
        validation_split="4 identities, 8 queries, 0 images held out (0123456789ab)",
        storage={"place": "here", "folder": f"{folder.name}-12345678", "given": False},
        command="python -m tuning.search --space mine.yaml",
    )
    search.run()
    _repeat_best(search)
    search.study.note(finished={"trials": 9, "epochs": None, "time_budget": None}, elapsed_s=321.0)
    winner = confirm(search.study, search.record, None, None)  # type: ignore[arg-type]  # no weights: no pictures
    write_best_config(search.study, winner)
    best = {"of": winner.of, "epochs": winner.config.num_epochs, "seed": winner.config.seed, "score": winner.score}
    (folder / "best").mkdir()
    (folder / "best" / "trial.json").write_text(json.dumps(best))
    (folder / "test_metrics.json").write_text(json.dumps({"best": best, "dataset": "market1501", **TEST}))
    (folder / "environment.json").write_text(json.dumps({"versions": {"python": "3.11"}}))
    write_tables(search.study)
    return Study(folder)


def _repeat_best(search: SimulatedSearch) -> None:
    """Two repeats of the best: how much seeds change a score is then known."""
    best = max(search.study.trials(), key=lambda trial: (trial.rung, trial.score or 0.0))
    for seed in (101, 102):
        notes = {"of": f"trial {best.number}", "parameters": best.parameters, "seed": seed}
        number = search.record.add({}, notes)
        for epoch in range(1, best.rung + 1):
            score = best.scores[best.rung] * epoch / best.rung + 0.01 * (seed - 101.5)
            search.record.record(number, best.rung, epoch_report(epoch, num_epochs=best.rung, val_mAP=score))
        search.record.finish(number, TrialState.COMPLETE)
