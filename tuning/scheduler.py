"""Decides at the ends of complete schedules which trials go on to the next, longer one.

A rung is a complete OneCycle schedule of its own length: runs in the middle of a learning-rate cycle are not
compared. The decision depends on the study's record alone, so a study that is opened again decides as before.
"""

import logging
import time
from typing import Any

from ray.tune.schedulers import TrialScheduler

from tuning.study import Study
from tuning.weights import prune_weights

logger = logging.getLogger(__name__)


def goes_on(score: float, others: list[float], reduction: int) -> bool:
    """Whether `score` is among the best 1 in `reduction` of all scores of its rung, its own included, at least 1."""
    place = sum(other > score for other in others) + 1
    return place <= max(1, (len(others) + 1) // reduction)


class RungScheduler(TrialScheduler):
    """Ray's scheduler interface over the study: records every report, then decides.

    Also the one place where a trial ends: complete after its last rung, pruned at a rung's end (or when the time
    budget has no room for the next rung), failed with its cause. The record is on disk before Ray acts on it.
    """

    def __init__(self, study: Study, time_budget_s: float | None):
        super().__init__()
        self.study = study
        self.time_budget_s = time_budget_s
        self.rung_scores: dict[int, dict[int, float]] = {}
        for trial in study.trials():
            for rung, score in trial.scores.items():
                self.rung_scores.setdefault(rung, {})[trial.number] = score

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision = self._record_and_decide(trial.config["number"], trial.config["rungs"], result)
        if decision == self.STOP:
            prune_weights(self.study)
        return decision

    def _record_and_decide(self, number: int, rungs: list[int], result: dict[str, Any]) -> str:
        if "cause" in result:
            self.study.finish(number, "failed", result["cause"])
            return self.STOP
        report = {key.removeprefix("report/"): value for key, value in result.items() if key.startswith("report/")}
        rung = result["rung"]
        self.study.record(number, rung, report)
        if report["epoch"] < rung:
            return self.CONTINUE
        score = report[self.study.space.study.metric]
        others = [other for key, other in self.rung_scores.setdefault(rung, {}).items() if key != number]
        self.rung_scores[rung][number] = score
        if rung == rungs[-1]:
            self.study.finish(number, "complete")
            return self.STOP
        following = rungs[rungs.index(rung) + 1]
        if not goes_on(score, others, self.study.space.study.reduction):
            self.study.finish(
                number, "pruned", f"not among the best 1 in {self.study.space.study.reduction} at {rung} epochs"
            )
            return self.STOP
        if not self.study.has_time_for(following, self.time_budget_s):
            self.study.finish(number, "pruned", f"no time left for {following} epochs")
            return self.STOP
        return self.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        number = trial.config["number"]
        if self.study.is_running(number):
            self.study.finish(number, "failed", _cause_of_death(trial))

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to note: the study knows the trial since it was asked for."""

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Nothing to do: trials end in on_trial_result."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to do: the study keeps a trial that was removed while it waited."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        waiting = [trial for trial in tune_controller.get_trials() if trial.status in ("PENDING", "PAUSED")]
        return waiting[0] if waiting else None

    def debug_string(self) -> str:
        return "rungs: " + ", ".join(f"{rung} epochs: {len(scores)}" for rung, scores in self.rung_scores.items())


def _cause_of_death(trial: Any) -> str:
    """One line for a trial whose process died or whose code raised where nobody catches."""
    error = trial.get_pickled_error() or trial.get_error()
    lines = [line.strip() for line in str(error or "its process died").splitlines() if line.strip()]
    return f"worker died at {time.strftime('%H:%M:%S')}: {lines[-1][:200]}"
