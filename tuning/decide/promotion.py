"""Which paused trial goes on to its next rung: a function of the study's record.

    to_promote(study, purse, trying=False)  # the number of a paused trial, or None

To the top goes the trial that is expected to exceed the best of those there by most. The last that the budget holds is
the one of which most is expected. With costs, the trials are spread over the Pareto front instead.
"""

import numpy as np

from tuning.decide.budget import Purse
from tuning.decide.pareto import spread_order
from tuning.decide.proposals import draws_of
from tuning.decide.ranking import Standing, standing_of
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState

# B trials at the top, C candidates, S draws

DRAWS = 512


def to_promote(study: Study, purse: Purse, *, trying: bool, default_first: bool = False) -> int | None:
    """The trial to promote now. While configurations are still being tried (`trying`), only rungs between the first and
    the top get any, as many epochs each as the first. `default_first`: the default's trial goes to the top before
    others."""
    trials, rungs = study.trials(), study.plan.rungs or ()
    paused = [trial for trial in trials if trial.state is TrialState.PAUSED and trial.rung in rungs[:-1]]
    if not paused:
        return None
    for place in range(len(rungs) - 1, 0, -1):
        candidates = [trial for trial in paused if trial.rung == rungs[place - 1]]
        if not candidates:
            continue
        top = place == len(rungs) - 1
        if top and trying:
            continue
        if not top and trying and not _behind(study, place):
            continue
        default = study.space.default
        if top and default_first and (own := [t for t in candidates if {**default, **t.parameters} == default]):
            return own[0].number
        return _most_promising(study, candidates, last=top and purse.left() < 2 * rungs[-1])
    return None


def _behind(study: Study, place: int) -> bool:
    """Whether a rung between has had fewer epochs than the first."""
    rungs = study.plan.rungs or ()
    spent = [sum(epoch.rung == rung for trial in study.trials() for epoch in trial.reports) for rung in rungs]
    running = sum(t.state is TrialState.RUNNING and t.rung == rungs[place - 1] for t in study.trials())
    return spent[place] + (running + 1) * study.plan.lengths()[place] <= spent[0]


def _most_promising(study: Study, candidates: list[TrialRecord], last: bool) -> int:
    standing, trials = standing_of(study), study.trials()
    if study.space.study.costs:
        scored = [trial for trial in trials if trial.number in standing.expected]
        order = spread_order([(standing.expected[trial.number], trial.costs) for trial in scored])
        numbers = {trial.number for trial in candidates}
        return next(scored[place].number for place in order if scored[place].number in numbers)
    there = [trial for trial in trials if _is_or_goes_to_top(study, trial)]
    means_C, gains_C = _gains(standing, there, candidates, seed=len(trials) + len(there))
    order_C = means_C if last or not there else gains_C
    return candidates[int(order_C.argmax())].number


def _is_or_goes_to_top(study: Study, trial: TrialRecord) -> bool:
    rungs = study.plan.rungs or (0,)
    going = trial.state in (TrialState.RUNNING, TrialState.WAITING) and trial.rung == rungs[-2]
    return trial.rung == rungs[-1] or going


def _gains(
    standing: Standing, there: list[TrialRecord], candidates: list[TrialRecord], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """What is expected of each candidate at the top, and by how much it is expected to exceed the best there."""
    places = standing.places.of_all([trial.parameters for trial in (*there, *candidates)])
    mean, covariance = standing.belief.at_top(places)
    draws = draws_of(mean, covariance, DRAWS, np.random.default_rng(seed))
    best_S = draws[:, : len(there)].max(axis=1, initial=-np.inf)
    gains_C = np.maximum(draws[:, len(there) :] - best_S[:, None], 0.0).mean(axis=0)
    return mean[len(there) :], gains_C
