"""Which configuration to try next: a pure function of the trials so far.

Optuna's samplers learn from trials that were told a final value. Most trials of a search with rungs never get one,
so each is shown with an estimate of it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from tuning.decide.ranking import estimated_finals
from tuning.record.causes import shows_bad_region
from tuning.record.trial import TrialRecord, distribution
from tuning.space.settings import SamplerName
from tuning.space.space import SearchSpace


class _QMCSampler(optuna.samplers.QMCSampler):
    """Optuna's, with the place in the sequence that follows from the record instead of a counter in the storage."""

    def __init__(self, place: int, **options: Any):
        super().__init__(**options)
        self._place = place

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, Any]) -> int:
        return self._place


def startup_trials(trials: int) -> int:
    """Trials before the sampler models anything: a third of those planned, 4 or 5."""
    return max(4, min(5, trials // 3))


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


class Sampler:
    """Proposes configurations. The same trials give the same proposal, whoever asked for the ones before."""

    def __init__(self, space: SearchSpace):
        self.space = space
        self._distributions = {parameter.key: distribution(parameter) for parameter in space.parameters}
        directions = [StudyDirection.MAXIMIZE, *(StudyDirection.MINIMIZE for _ in space.study.costs)]
        self._seen = optuna.create_study(directions=directions)
        """The trials as Optuna's sampler is shown them: in memory, by number."""

    def propose(self, trials: Sequence[TrialRecord]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The next trial's parameters, and what Optuna's sampler wants to find noted with it the next time.

        `trials` are all so far, by number. The space's first trials and warm starts come first; what they leave
        open is sampled.
        """
        number = len(trials)
        self._show(trials)
        first = (*self.space.first_trials, *self.space.warm_starts)
        if number < len(first):
            own = [p for p in self.space.parameters if p.name in first[number] and p.contains(first[number][p.name])]
            self._seen.enqueue_trial({parameter.key: first[number][parameter.name] for parameter in own})
        self._seen.sampler = self._optunas(number)
        trial = self._seen.ask()
        chosen: dict[str, Any] = {}
        for parameter in self.space.parameters:
            if parameter.applies({**self.space.settings, **chosen}):
                proposed = trial._suggest(parameter.key, self._distributions[parameter.key])
                chosen[parameter.name] = self.space.trainable(parameter, proposed, chosen)
        notes = self._seen.get_trials(deepcopy=False)[number].system_attrs
        return chosen, {key: value for key, value in notes.items() if key != "fixed_params"}

    def _optunas(self, number: int) -> BaseSampler:
        """Optuna's sampler, of a seed of its own for each trial: it would propose the same again and again."""
        settings = self.space.study
        # The points of one sequence belong to one seed.
        seeds = [settings.sampler_seed] if settings.sampler == "qmc" else [settings.sampler_seed, number]
        seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
        return SAMPLERS[settings.sampler](seed, startup_trials(settings.trials), number)

    def _show(self, trials: Sequence[TrialRecord]) -> None:
        """Brings what Optuna's sampler sees up to date: estimated final values; none of running trials.

        Trials that failed for their configuration count as worse than all others, by as much as those differ.
        """
        estimates = estimated_finals(trials)
        scores = [estimates[trial.number] for trial in trials if trial.number in estimates and trial.state != "failed"]
        worst, best = min(scores, default=0.0), max(scores, default=0.0)
        bad = worst - (best - worst or worst)
        storage, study_id = self._seen._storage, self._seen._study_id
        for key in storage.get_study_system_attrs(study_id):  # NSGA-II's parents, chosen by earlier estimates
            storage.set_study_system_attr(study_id, key, None)
        rows = self._seen.get_trials(deepcopy=False)
        for trial in trials[len(rows) :]:  # the study was opened again: they were asked for by another process
            params = self.space.by_key(trial.parameters)
            known = {key: self._distributions[key] for key in params}
            row = create_trial(state=TrialState.RUNNING, params=params, distributions=known, system_attrs=trial.notes)
            self._seen.add_trial(row)
        for trial, row in zip(trials, self._seen.get_trials(deepcopy=False), strict=True):
            row.params = self.space.by_key(trial.parameters)  # what is trained, not what was proposed
            if trial.state == "failed" and shows_bad_region(trial.cause):
                row.state, row.values = TrialState.COMPLETE, [bad, *trial.costs.values()]
            elif trial.state == "failed" or (trial.state == "pruned" and trial.score is None):
                row.state = TrialState.FAIL
            elif trial.score is not None:
                row.state, row.values = TrialState.COMPLETE, [estimates[trial.number], *trial.costs.values()]
