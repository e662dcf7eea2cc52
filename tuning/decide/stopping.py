"""Whether to go on: how likely it is that more searching would gain anything that shows, and why it ended.

    chance_of_gain(study, record)  # 0.3: the best that the space holds is above the choice by more than half the noise

By joint draws of the model over many configurations (Makarova et al. 2022, arXiv 2104.08166, stop likewise where the
regret that is left drowns in noise).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.system.wording import clock, counted
from tuning.decide.budget import SLACK, Purse
from tuning.decide.proposals import ANYWHERE, NEAR, distinct, drawn, draws_of, moved
from tuning.decide.ranking import Standing, repeated_scores, standing_of
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.space.space import key_of

OF_NOISE = 0.5
"""A gain that counts, in standard deviations of a run at the top."""
SETTLED = 0.1
"""Chance below which `stop: auto` ends the search."""
FEWEST_AT_TOP = 3
"""Runs at the top before the chance is told."""
DRAWS = 512


def chance_of_gain(study: Study, record: Study | None) -> float | None:
    """The probability that the space holds a configuration that is better than the best so far by more than half the
    standard deviation of seeds; None while too little is known, and where no other configuration is left to try."""
    repeats = repeated_scores(study, record)
    standing = standing_of(study, repeats)
    there = [trial for trial in standing.trials if trial.rung and trial.state is TrialState.COMPLETE]
    if len(there) + len(repeats) < FEWEST_AT_TOP or study.space.study.costs or not standing.tells_noise:
        return None
    return _chance(study, standing, [trial.parameters for trial in there])


def _chance(study: Study, standing: Standing, there: Sequence[Mapping[str, Any]]) -> float | None:
    rng, known = np.random.default_rng(len(standing.runs)), set(map(key_of, there))
    others = [
        *distinct(drawn(study.space, rng), known, ANYWHERE),
        *distinct(moved(study.space, there, rng), known, NEAR),
    ]
    if not others:
        return None
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


def early_end(purse: Purse) -> str | None:
    """A line that says why a search that is over has not used all of its budget; None where it has."""
    study, settings = purse.study, purse.settings
    left_s, left = purse.left_s(), purse.left()
    if left < purse.shortest or (settings.time_budget and left_s < SLACK * settings.time_budget):
        return None
    unused = clock(left_s) if settings.time_budget else counted(int(left), "epoch")
    if has_settled(study, purse.record):
        return f"{unused} of the budget stay unused: more searching would hardly gain anything"
    if purse.holds(purse.longest):
        return None  # all configurations that the space has, or that were asked for, were tried
    return f"{unused} of the budget stay unused: no schedule of {counted(purse.longest, 'epoch')} fits any more"
