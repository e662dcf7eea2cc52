"""Several metrics at once: which trials are not beaten on all of them, and which of those is picked.

A trial dominates another when it is at least as good in score and every cost, and better in one. The trials that none
dominates are the Pareto front. Higher scores and lower costs are better; costs are compared by their ratios.

    pareto_front(study.trials())  # the best score first
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuning.decide.ranking import best_first, by_score, estimated_finals
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState

# T trials, M metrics (the score first); as goods, more is always better


def pareto_front(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials that none dominates, by estimated final scores, the best score first; failed ones do not count.

    Where trials are equal in everything, the earliest counts.
    """
    estimates = estimated_finals(trials)
    left = [t for t in trials if t.number in estimates and t.state is not TrialState.FAILED]
    if not left:
        return []
    goods_TM = _goods([(estimates[trial.number], trial.costs) for trial in left])
    front = [left[place] for place in np.flatnonzero(~_beats(goods_TM).any(axis=0))]
    return sorted(front, key=lambda trial: (-estimates[trial.number], trial.number))


def best_trials(study: Study, *, most: int | None = None) -> list[TrialRecord]:
    """`best_first` by the study's `pick`: the first one is picked."""
    trials = study.trials()
    return best_first(trials, limits_of(trials, study.space.study.pick), most=most)


def limits_of(trials: Sequence[TrialRecord], pick: str | Mapping[str, float]) -> dict[str, float]:
    """The most that the picked trial may cost: the limits given or, for "knee", the costs of the front's knee.

    Pruned trials are left out of that front. Empty without costs.
    """
    if not trials or not trials[0].costs:  # all have some, or none
        return {}
    if not isinstance(pick, str):
        return dict(pick)
    front = [trial for trial in pareto_front([t for t in trials if t.state is not TrialState.PRUNED]) if trial.costs]
    return dict(front[knee(front, trials)].costs) if front else {}


def knee(front: Sequence[TrialRecord], trials: Sequence[TrialRecord]) -> int:
    """The place of the front's point that lies farthest above the plane through its ends (Das 1999).

    Every metric is put on a scale from the front's worst, 0, to its best, 1; then that point has the largest sum. Where
    sums are equal, the best score counts.
    """
    estimates = estimated_finals(trials)
    goods_TM = _unit(_goods([(estimates[trial.number], trial.costs) for trial in front]))
    return int(goods_TM.sum(axis=1).round(9).argmax())


def climbing_order(trials: Sequence[TrialRecord], rung: int) -> list[TrialRecord]:
    """Trials that have a score at the rung, those to promote first.

    By score alone; with costs the Pareto front first, then the front of what is left, and so on. In a front the best
    score comes first, then always the trial that is farthest from those before it, so that few trials are spread over
    all of it (Schmucker et al. 2021, arXiv 2106.12639). The earlier comes first where trials are equal.
    """
    ranked = by_score(trials, rung)
    if not ranked or not ranked[0].costs:
        return ranked
    goods_TM = _goods([(trial.scores[rung], trial.costs) for trial in ranked])
    beats_TT, unit_TM = _beats(goods_TM), _unit(goods_TM)
    order: list[int] = []
    left = np.ones(len(ranked), dtype=bool)
    while left.any():
        front = np.flatnonzero(left & ~beats_TT[left].any(axis=0))
        order += [int(front[place]) for place in _spread(unit_TM[front])]
        left[front] = False
    return [ranked[place] for place in order]


def beaten_by(trials: Sequence[TrialRecord], rung: int) -> dict[int, int]:
    """Number of each trial with a score at the rung -> how many will rank above it whatever still comes."""
    ranked = by_score(trials, rung)
    if not ranked or not ranked[0].costs:
        return {trial.number: place for place, trial in enumerate(ranked)}
    beats_TT = _beats(_goods([(trial.scores[rung], trial.costs) for trial in ranked]))
    return {trial.number: int(count) for trial, count in zip(ranked, beats_TT.sum(axis=0), strict=True)}


def _goods(points: Sequence[tuple[float, Mapping[str, Any]]]) -> np.ndarray:
    """T x M."""
    return np.array([[score, *(-math.log(cost) for cost in costs.values())] for score, costs in points])


def _beats(goods_TM: np.ndarray) -> np.ndarray:
    """T x T: whether the first dominates the second, or is its equal and comes before it."""
    no_worse_TT = (goods_TM[:, None] >= goods_TM[None]).all(axis=2)
    equal_TT = no_worse_TT & no_worse_TT.T
    earlier_TT = np.triu(np.ones_like(equal_TT), k=1)
    beats_TT: np.ndarray = (no_worse_TT & ~equal_TT) | (equal_TT & earlier_TT)
    return beats_TT


def _unit(goods_TM: np.ndarray) -> np.ndarray:
    """Each metric from 0, the worst, to 1, the best; 0 where all are equal."""
    low_M, high_M = goods_TM.min(axis=0), goods_TM.max(axis=0)
    unit_TM: np.ndarray = (goods_TM - low_M) / np.where(high_M > low_M, high_M - low_M, 1.0)
    return unit_TM


def _spread(points_TM: np.ndarray) -> list[int]:
    """The first point, then always the one that is farthest from all before it."""
    order, nearest_T = [0], np.linalg.norm(points_TM - points_TM[0], axis=1)
    while len(order) < len(points_TM):
        nearest_T[order] = -1.0
        order.append(int(nearest_T.argmax()))
        nearest_T = np.minimum(nearest_T, np.linalg.norm(points_TM - points_TM[order[-1]], axis=1))
    return order
