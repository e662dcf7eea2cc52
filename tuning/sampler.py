"""Which configuration to try next: a pure function of the trials so far.

Optuna's samplers learn from trials that were told a final value. Most trials of a search with rungs never get one,
so each is shown with an estimate of it: its last score, and what the trials that went on from there gained on average.
"""

import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuning.space import SamplerName, SearchSpace
from tuning.study import TrialRecord, distribution


class _QMCSampler(optuna.samplers.QMCSampler):
    """Optuna's, with the place in the sequence that follows from the record instead of a counter in the storage."""

    def __init__(self, place: int, **options: Any):
        super().__init__(**options)
        self._place = place

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, Any]) -> int:
        return self._place


def startup_trials(trials: int) -> int:
    """Trials before the sampler models anything: a third of those planned, 4 to 10."""
    return max(4, min(10, trials // 3))


def _tpe(seed: int, startup: int, number: int) -> BaseSampler:
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True
    )


SAMPLERS: dict[SamplerName, Callable[[int, int, int], BaseSampler]] = {
    "tpe": _tpe,
    "gp": lambda seed, startup, number: optuna.samplers.GPSampler(
        seed=seed, n_startup_trials=startup, deterministic_objective=False
    ),
    "cmaes": lambda seed, startup, number: optuna.samplers.CmaEsSampler(
        seed=seed, n_startup_trials=startup, warn_independent_sampling=False
    ),
    "random": lambda seed, startup, number: optuna.samplers.RandomSampler(seed=seed),
    "qmc": lambda seed, startup, number: _QMCSampler(number, seed=seed, scramble=True),
    "nsga2": lambda seed, startup, number: optuna.samplers.NSGAIISampler(seed=seed, population_size=max(startup, 8)),
}
"""By name: from a seed, the number of startup trials and the number of the trial to propose."""


def propose(space: SearchSpace, trials: Sequence[TrialRecord], number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of trial `number`, and what the sampler wants to find noted with it the next time.

    The same trials give the same proposal. The space's first trials come first; what they leave open is sampled.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = space.study.sampler
    # The points of one sequence belong to one seed; the others would propose the same points again and again.
    seeds = [space.study.sampler_seed] if name == "qmc" else [space.study.sampler_seed, number]
    seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = SAMPLERS[name](seed, startup_trials(space.study.trials), number)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(_as_the_sampler_sees_them(space, trials))
        if number < len(space.first_trials):
            study.enqueue_trial(space.first_trials[number])
        trial = study.ask()
        chosen: dict[str, Any] = {}
        settings = space.base_config().model_dump()
        for parameter in space.parameters:
            if parameter.applies({**settings, **chosen}):
                chosen[parameter.name] = trial._suggest(parameter.name, distribution(parameter))
    asked = study.get_trials(deepcopy=False)[-1]
    return chosen, {key: value for key, value in asked.system_attrs.items() if key != "fixed_params"}


def _as_the_sampler_sees_them(space: SearchSpace, trials: Sequence[TrialRecord]) -> list[FrozenTrial]:
    """Trials with an estimated final value, running ones without; failed ones are left out."""
    gains = mean_gains(trials)
    distributions = {parameter.name: distribution(parameter) for parameter in space.parameters}
    seen = []
    for trial in trials:
        if trial.state == "failed" or (trial.score is None and trial.state == "pruned"):
            continue
        value = None if trial.score is None else trial.score + gains[trial.rung]
        seen.append(
            create_trial(
                state=TrialState.RUNNING if value is None else TrialState.COMPLETE,
                value=value,
                params=trial.parameters,
                distributions={name: distributions[name] for name in trial.parameters},
                system_attrs=trial.notes,
            )
        )
    return seen


def mean_gains(trials: Sequence[TrialRecord]) -> dict[int, float]:
    """By rung: what is to be added to its score to compare it with one at the longest schedule.

    The mean gain from each rung to the next, over the trials that have both scores, added up; 0 where none has.
    """
    rungs = sorted({rung for trial in trials for rung in trial.scores})
    gains = dict.fromkeys(rungs, 0.0)
    for rung, following in reversed(list(itertools.pairwise(rungs))):
        both = [t.scores[following] - t.scores[rung] for t in trials if rung in t.scores and following in t.scores]
        gains[rung] = gains[following] + (sum(both) / len(both) if both else 0.0)
    return gains
