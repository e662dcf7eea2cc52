"""Which trials go on at a rung's end. Pure functions of the study's record: the same record gives the same decisions.

    promotable(study.trials(), study.plan.rungs_of(config), reduction=4)  # the number of a paused trial, or None

A trial that is not among the best 1 in `reduction` of its rung pauses. It is promoted later when it has come to be
among them, because more trials have reached the rung (asynchronous successive halving, Li et al. 2020, arXiv
1810.05934). It is pruned when it no longer can. Every n-th trial is audited: it goes to the top regardless of its
scores. The audited trials are a fair sample, which shows how well a rung's scores rank the scores at the top.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scipy.stats import kendalltau

from data.system.wording import counted
from tuning.decide.pareto import beaten_by, climbing_order, limits_of
from tuning.decide.ranking import best_first
from tuning.record.trial import UNFINISHED, TrialRecord, TrialState

FEWEST_PAIRS = 5
"""Trials of the fair sample that an interval needs."""
USEFUL_TAU = 0.4
"""A rung whose Kendall's tau is below this with 95 % certainty does not decide."""
Z = 1.645
"""Standard deviations on either side of a 90 % interval."""


class Agreement(NamedTuple):
    """How well a rung's scores rank the final scores: Kendall's tau-b over the fair sample, -1 to 1."""

    rung: int
    pairs: int
    """Trials that have both scores."""
    tau: float | None
    """None below 3 trials, or where all scores are equal."""
    low: float | None
    """Lower end of the 90 % interval; None below FEWEST_PAIRS trials."""
    high: float | None

    @property
    def too_low(self) -> bool:
        """Whether the rung is known to rank too badly to decide by."""
        return self.high is not None and self.high < USEFUL_TAU

    def describe(self) -> str:
        """One line for people."""
        what = f"rung of {counted(self.rung, 'epoch')}: rank correlation with the final score"
        if self.tau is None or self.low is None or self.high is None:
            return f"{what} not known yet: {self.pairs} of {FEWEST_PAIRS} trials of the fair sample finished"
        line = f"{what} {self.tau:.2f} (90% interval {self.low:.2f} to {self.high:.2f}, {self.pairs} trials)"
        return f"{line}: too low to decide by, so it prunes no more" if self.too_low else line


def agreement(trials: Sequence[TrialRecord], rung: int, top: int) -> Agreement:
    """How well scores at `rung` rank the scores at `top`, over the trials that reached it regardless of their scores.

    Promoted trials are left out: they were chosen by the very score that is judged. The interval is that of
    Fieller, Hartley and Pearson (1957): atanh(tau) has the variance 0.437 / (n - 4).
    """
    fair = [trial for trial in trials if top in trial.scores and rung in trial.scores and trial.fair]
    pairs = len(fair)
    if pairs < 3:
        return Agreement(rung, pairs, None, None, None)
    tau = float(kendalltau([t.scores[rung] for t in fair], [t.scores[top] for t in fair]).statistic)
    if math.isnan(tau):
        return Agreement(rung, pairs, None, None, None)
    if pairs < FEWEST_PAIRS:
        return Agreement(rung, pairs, tau, None, None)
    middle, spread = math.atanh(max(-0.999, min(0.999, tau))), Z * math.sqrt(0.437 / (pairs - 4))
    return Agreement(rung, pairs, tau, math.tanh(middle - spread), math.tanh(middle + spread))


def agreements(trials: Sequence[TrialRecord], rungs: Sequence[int]) -> list[Agreement]:
    """How well each rung but the last ranks."""
    return [agreement(trials, rung, rungs[-1]) for rung in rungs[:-1]]


def promotable(
    trials: Sequence[TrialRecord],
    rungs: Sequence[int],
    reduction: int,
    *,
    last: bool = False,
    pick: str | Mapping[str, float] = "knee",
) -> int | None:
    """The paused trial to promote now; None for none.

    Once a trial is complete, the trial that would be picked by its estimated final score comes first: a search never
    ends with its choice half trained. Then comes the highest rung that has a paused trial among its best 1 in
    `reduction`, and the best such trial there. `last` says that no more trials will come; then at least the best of
    each rung is promoted, so that one reaches the top.
    """
    if any(trial.state is TrialState.COMPLETE for trial in trials):
        (best,) = best_first(trials, limits_of(trials, pick), most=1)
        if best.state is TrialState.PAUSED:
            return best.number
    for rung in reversed(rungs[:-1]):
        ranked = climbing_order(trials, rung)
        places = max(len(ranked) // reduction, 1 if last else 0)
        for trial in ranked[:places]:
            if trial.state is TrialState.PAUSED and trial.rung == rung:
                return trial.number
    return None


def hopeless(trials: Sequence[TrialRecord], rungs: Sequence[int], reduction: int, to_come: int) -> list[int]:
    """Paused trials to give up: even if every trial that may still reach their rung scored worse than they did, they
    would not be among its best 1 in `reduction`.

    `to_come` is the number of trials that have not begun.
    """
    numbers = []
    for rung in rungs[:-1]:
        ranked, above = climbing_order(trials, rung), beaten_by(trials, rung)
        to_reach = sum(rung not in trial.scores and trial.state in UNFINISHED for trial in trials) + to_come
        places = max(1, (len(ranked) + to_reach) // reduction)
        numbers += [
            trial.number
            for trial in ranked[places:]
            if trial.state is TrialState.PAUSED
            and trial.rung == rung
            and (above[trial.number] >= places or not to_reach)
        ]
    return numbers
