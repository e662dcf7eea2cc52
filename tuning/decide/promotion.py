"""Which paused trial goes on to its next rung: a function of the study's record.

    to_promote(study, trying=False)  # the number of a paused trial, or None
    newcomer(study, number)          # a new configuration that promises more than it, or None

To the top goes what is expected to exceed the best of those there by most; what trains to it now counts among them, so
that nothing follows that is almost the same. With costs, the trials are spread over the Pareto front instead.
"""

from typing import Any

import numpy as np

from tuning.decide.pareto import spread_order
from tuning.decide.proposals import expected_gains, untried
from tuning.decide.ranking import standing_of
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState

# B trials at the top, C candidates, S draws

DRAWS = 256


def to_promote(study: Study, *, trying: bool, default_first: bool = False) -> int | None:
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
        own = [trial for trial in candidates if study.space.is_default(trial.parameters)]
        if top and default_first and own:
            return own[0].number
        return _most_promising(study, candidates)
    return None


def newcomer(study: Study, rival: int | None) -> dict[str, Any] | None:
    """A new configuration to train at the top straight away: one that promises more there than the paused trial
    `rival`; None where none does, or nothing is known of the top."""
    standing, trials = standing_of(study), study.trials()
    there = [trial.parameters for trial in trials if goes_to_top(study, trial)]
    if not there:
        return None
    rng = np.random.default_rng([study.space.study.sampler_seed, len(trials), len(there)])
    new = untried(study.space, standing, rng)
    if not new:
        return None
    rivals = [] if rival is None else [study.trial(rival).parameters]
    best = int(expected_gains(standing, there, [*rivals, *new], rng, DRAWS).argmax())
    return None if best < len(rivals) else new[best - len(rivals)]


def goes_to_top(study: Study, trial: TrialRecord) -> bool:
    """Whether it is at the last rung, or trains to it now."""
    rungs = study.plan.rungs or (0,)
    on_the_way = trial.straight or (len(rungs) > 1 and trial.rung == rungs[-2])
    return trial.rung == rungs[-1] or (on_the_way and trial.state in (TrialState.RUNNING, TrialState.WAITING))


def _behind(study: Study, place: int) -> bool:
    """Whether a rung between has had fewer epochs than the first."""
    rungs = study.plan.rungs or ()
    spent = [sum(epoch.rung == rung for trial in study.trials() for epoch in trial.reports) for rung in rungs]
    running = sum(t.state is TrialState.RUNNING and t.rung == rungs[place - 1] for t in study.trials())
    return spent[place] + (running + 1) * study.plan.lengths()[place] <= spent[0]


def _most_promising(study: Study, candidates: list[TrialRecord]) -> int:
    standing, trials = standing_of(study), study.trials()
    if study.space.study.costs:
        scored = [trial for trial in trials if trial.number in standing.expected]
        order = spread_order([(standing.expected[trial.number], trial.costs) for trial in scored])
        numbers = {trial.number for trial in candidates}
        return next(scored[place].number for place in order if scored[place].number in numbers)
    there = [trial.parameters for trial in trials if goes_to_top(study, trial)]
    rng = np.random.default_rng(len(trials) + len(there))
    gains_C = expected_gains(standing, there, [trial.parameters for trial in candidates], rng, DRAWS)
    return candidates[int(gains_C.argmax())].number
