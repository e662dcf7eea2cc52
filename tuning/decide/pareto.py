"""Several metrics at once: which trials are not beaten on all of them, and which of those is picked.

A trial dominates another when it is at least as good in score and every cost, and better in one. The trials that none
dominates are the Pareto front. Higher scores and lower costs are better; costs are compared by their ratios. Scores are
those that are expected (tuning/decide/ranking.py).

    pareto_front(study)  # the best score first
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuning.decide.ranking import Run, best_first, standing_of
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState

# T trials, M metrics (the score first); as goods, more is always better


def pareto_front(study: Study, among: Sequence[TrialRecord] | None = None) -> list[TrialRecord]:
    """The trials that none dominates, by expected scores, the best score first; failed ones do not count.

    Of the trials `among` others, if given, else of all. Where trials are equal in everything, the earliest counts.
    """
    expected = standing_of(study).expected
    trials = study.trials() if among is None else among
    left = [t for t in trials if t.number in expected and t.state is not TrialState.FAILED]
    if not left:
        return []
    goods_TM = _goods([(expected[trial.number], trial.costs) for trial in left])
    front = [left[place] for place in np.flatnonzero(~_beats(goods_TM).any(axis=0))]
    return sorted(front, key=lambda trial: (-expected[trial.number], trial.number))


def best_trials(study: Study, *, most: int | None = None, repeats: Sequence[Run] = ()) -> list[TrialRecord]:
    """`best_first` by the study's `pick`: the first one is picked."""
    return best_first(study, limits_of(study), most=most, repeats=repeats)


def limits_of(study: Study) -> dict[str, float]:
    """The most that the picked trial may cost: the limits given or, for "knee", the costs of the front's knee.

    Pruned trials are left out of that front. Empty without costs.
    """
    trials, pick = study.trials(), study.space.study.pick
    if not trials or not trials[0].costs:  # all have some, or none
        return {}
    if not isinstance(pick, str):
        return dict(pick)
    left = [trial for trial in trials if trial.state is not TrialState.PRUNED]
    front = [trial for trial in pareto_front(study, left) if trial.costs]
    return dict(front[knee([_point(study, trial) for trial in front])].costs) if front else {}


def _point(study: Study, trial: TrialRecord) -> tuple[float, Mapping[str, float]]:
    return standing_of(study).expected[trial.number], trial.costs


def knee(front: Sequence[tuple[float, Mapping[str, float]]]) -> int:
    """The place of the front's point that lies farthest above the plane through its ends (Das 1999).

    A point is a score and costs. Every metric is put on a scale from the front's worst, 0, to its best, 1; then that
    point has the largest sum. Where sums are equal, the best score counts.
    """
    goods_TM = _unit(_goods(front))
    return int(goods_TM.sum(axis=1).round(9).argmax())


def spread_order(points: Sequence[tuple[float, Mapping[str, float]]]) -> list[int]:
    """Places of points, those to promote first: by score alone; with costs the Pareto front first, then the front of
    what is left, and so on.

    In a front the best score comes first, then always the point that is farthest from those before it, so that a few
    are spread over all of it (Schmucker et al. 2021, arXiv 2106.12639). The earlier comes first where points are equal.
    """
    by_score = sorted(range(len(points)), key=lambda place: (-points[place][0], place))
    if not points or not points[0][1]:
        return by_score
    goods_TM = _goods([points[place] for place in by_score])
    beats_TT, unit_TM = _beats(goods_TM), _unit(goods_TM)
    order: list[int] = []
    left = np.ones(len(points), dtype=bool)
    while left.any():
        front = np.flatnonzero(left & ~beats_TT[left].any(axis=0))
        order += [int(front[place]) for place in _spread(unit_TM[front])]
        left[front] = False
    return [by_score[place] for place in order]


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
