"""Whether to go on: how likely it is that more searching would gain anything that shows.

    chance_of_gain(study, record)  # 0.3: the best that the space holds is above the choice by more than half the noise

By joint draws of the model over many configurations (Makarova et al. 2022, arXiv 2104.08166, stop likewise where the
regret that is left drowns in noise).
"""

import numpy as np

from tuning.decide.proposals import ANYWHERE, distinct, drawn, draws_of, moved
from tuning.decide.ranking import Run, Standing, standing_of
from tuning.record.study import Study
from tuning.record.trial import TrialState

OF_NOISE = 0.5
"""A gain that counts, in standard deviations of a run at the top."""
SETTLED = 0.1
"""Chance below which `stop: auto` ends the search."""
FEWEST_AT_TOP = 3
"""Runs at the top before the chance is told."""
DRAWS = 512


def chance_of_gain(study: Study, record: Study | None) -> float | None:
    """The probability that the space holds a configuration that is better than the best so far by more than half the
    standard deviation of seeds; None while too little is known."""
    repeats = [
        Run(run.notes["parameters"], max(len(study.plan.rungs or ()) - 1, 0), run.score or 0.0)
        for run in (record.trials() if record is not None else ())
        if run.state is TrialState.COMPLETE
    ]
    standing = standing_of(study, repeats)
    there = [trial for trial in standing.trials if trial.rung and trial.state is TrialState.COMPLETE]
    if len(there) + len(repeats) < FEWEST_AT_TOP or study.space.study.costs:
        return None
    return _chance(study, standing)


def _chance(study: Study, standing: Standing) -> float:
    there = [trial.parameters for trial in standing.trials if trial.state is TrialState.COMPLETE]
    rng = np.random.default_rng(len(standing.runs))
    others = [
        *distinct(drawn(study.space, rng), set(), ANYWHERE),
        *distinct(moved(study.space, there, rng), set(), 200),
    ]
    # Whatever is untried may be good for itself alone, which no search can look for.
    mean, covariance = standing.belief.at_top(standing.places.of_all([*there, *others]), alone=False)
    draws = draws_of(mean, covariance, DRAWS, rng)
    choice = int(mean[: len(there)].argmax())
    gains = draws.max(axis=1) - draws[:, choice]
    return float((gains > OF_NOISE * standing.noise).mean())


def has_settled(study: Study, record: Study | None) -> bool:
    """Whether `stop: auto` ends the search here."""
    if study.space.study.stop != "auto":
        return False
    chance = chance_of_gain(study, record)
    return chance is not None and chance < SETTLED
