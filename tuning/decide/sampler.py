"""Which configuration to try next: a function of the trials so far.

    parameters, notes = Sampler(space, plan).propose(study.trials())  # None where everything has been tried

The space's first trials come first, then what the sampler proposes: the model (tuning/decide/proposals.py), for which
TPE stands in where it cannot, or one of Optuna's. Those learn from trials that were told a final value. Most trials of
a search with rungs never get one, so each is shown with the score that the model expects. No configuration is proposed
twice.
"""

from collections.abc import Callable, Sequence
from typing import Any, assert_never

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from data.system.wording import counted
from tuning.decide.optuna_private import PlacedQMCSampler, RewritableStudy
from tuning.decide.proposals import STARTUP as MODEL_STARTUP
from tuning.decide.proposals import distinct, drawn, propose
from tuning.decide.ranking import standing
from tuning.record.trial import TrialRecord, TrialState, distribution
from tuning.space.batches import nearest_trainable
from tuning.space.parameter import Parameter
from tuning.space.plan import Plan
from tuning.space.settings import SamplerName
from tuning.space.space import SearchSpace, key_of

STARTUP = 5
"""Trials before one of Optuna's samplers models anything."""
POPULATION = 8
"""Trials of a generation of nsga2, of which the first is drawn at random."""
MOST_MODELLED = 300
"""Trials from which on TPE proposes in the model's place, which would take seconds."""


def _tpe(seed: int, startup: int, number: int) -> BaseSampler:
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True
    )


OPTUNAS: dict[SamplerName, Callable[[int, int, int], BaseSampler]] = {
    "tpe": _tpe,
    "gp": lambda seed, startup, number: optuna.samplers.GPSampler(
        seed=seed, n_startup_trials=startup, deterministic_objective=False
    ),
    "cmaes": lambda seed, startup, number: optuna.samplers.CmaEsSampler(
        seed=seed, n_startup_trials=startup, warn_independent_sampling=False
    ),
    "random": lambda seed, startup, number: optuna.samplers.RandomSampler(seed=seed),
    "qmc": lambda seed, startup, number: PlacedQMCSampler(number, seed=seed, scramble=True),
    "nsga2": lambda seed, startup, number: optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION),
}
"""By name: from a seed, the number of startup trials and the number of the trial to propose."""
BLIND: tuple[SamplerName, ...] = ("random", "qmc")
"""Those whose proposals do not depend on scores: they are shown none."""


def learns_from(space: SearchSpace) -> int | None:
    """The number of trials from which on proposals follow from scores; None where they never do."""
    sampler, first = space.study.sampler, len(space.first)
    if sampler in BLIND:
        return None
    if sampler == "model" and not space.study.costs:
        return first if space.earlier else max(first, MODEL_STARTUP)
    return max(first, POPULATION if sampler == "nsga2" else STARTUP)


def describe_order(space: SearchSpace) -> str:
    """In which order a study tries configurations, in a line."""
    # The default is the first of the first trials.
    before = len(space.first) - len(space.warm_starts)
    kinds = ("first trial", before - 1), ("warm start", len(space.warm_starts))
    first = ["the default"] if before else []
    first += [counted(count, kind) for kind, count in kinds if count > 0]
    said = [f"order: first {', '.join(first)}"] if first else []
    sampler, learns = space.study.sampler, learns_from(space)
    if learns is None:
        return "; then ".join([*said, f"{sampler}, which learns nothing from scores"])
    models = sampler == "model" and not space.study.costs
    if between := learns - len(space.first):
        said.append(f"{counted(between, 'configuration')} {'spread over the space' if models else 'drawn at random'}")
    name = "the model of all scores" if models else "tpe" if sampler == "model" else sampler
    return "; then ".join([*said, f"from trial {learns} on what {name} proposes"])


class Sampler:
    """Proposes configurations. The same record gives the same proposal, whoever asked for the earlier ones."""

    def __init__(self, space: SearchSpace, plan: Plan):
        self.space, self.plan = space, plan
        directions = [StudyDirection.MAXIMIZE, *(StudyDirection.MINIMIZE for _ in self.space.study.costs)]
        self._shown = RewritableStudy(directions)
        """The trials as Optuna's sampler is shown them."""
        self._with_parameters = 0
        """How many of its rows have the parameters that were trained."""

    def propose(self, trials: Sequence[TrialRecord]) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The next trial's parameters, and notes that Optuna's sampler wants to find with the trial the next time;
        None where every configuration of the space has been tried. `trials` are all so far, by number.

        The space's first trials and warm starts come first; what they leave open is sampled.
        """
        number = len(trials)
        known = {key_of(trial.parameters) for trial in trials}
        if number >= len(self.space.first) and self.models(trials):
            rng = np.random.default_rng([self.space.study.sampler_seed, number])
            proposed = propose(self.space, standing(self.space, self.plan, trials), rng)
            return None if proposed is None else (proposed, {})
        chosen, notes = self._ask(trials)
        if key_of(chosen) not in known:
            return chosen, notes
        left = distinct(drawn(self.space, np.random.default_rng([self.space.study.sampler_seed, number])), known, 1)
        return (left[0], notes) if left else None

    def models(self, trials: Sequence[TrialRecord]) -> bool:
        """Whether the model proposes: it is asked for, knows one metric, takes too long for very many trials, and must
        rank."""
        study = self.space.study
        if study.sampler != "model" or study.costs or len(trials) >= MOST_MODELLED:
            return False
        known = standing(self.space, self.plan, trials)
        return not known.runs or known.ranks

    def _ask(self, trials: Sequence[TrialRecord]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What Optuna's sampler proposes, or the next first trial."""
        number, study = len(trials), self._shown.study
        self._show_parameters(trials)
        if self.space.study.sampler not in BLIND:
            self._show_scores(trials)
        if number < len(self.space.first):
            first = self.space.first[number]
            own = [p for p in self.space.parameters if p.name in first and p.contains(first[p.name])]
            study.enqueue_trial({parameter.key: first[parameter.name] for parameter in own})
        study.sampler = self._optunas(number)
        trial = study.ask()
        chosen: dict[str, Any] = {}
        for parameter in self.space.parameters:
            if parameter.applies({**self.space.settings, **chosen}):
                chosen[parameter.name] = nearest_trainable(self.space, parameter, suggest(trial, parameter), chosen)
        notes = self._shown.rows()[number].system_attrs
        return chosen, {key: value for key, value in notes.items() if key != "fixed_params"}

    def _optunas(self, number: int) -> BaseSampler:
        """Optuna's sampler with a seed of its own for each trial: with one seed it would always propose the same."""
        settings = self.space.study
        # All points of one sequence need one seed.
        seeds = [settings.sampler_seed] if settings.sampler == "qmc" else [settings.sampler_seed, number]
        seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
        name = "tpe" if settings.sampler == "model" else settings.sampler
        return OPTUNAS[name](seed, STARTUP, number)

    def _show_parameters(self, trials: Sequence[TrialRecord]) -> None:
        """Brings the parameters that Optuna's sampler sees up to date, and forgets what it kept of the rows before."""
        self._shown.forget_sampler()
        known = {parameter.key: distribution(parameter) for parameter in self.space.parameters}
        for trial in trials[len(self._shown.rows()) :]:  # an earlier process asked for these
            params = self.space.by_key(trial.parameters)
            distributions = {key: known[key] for key in params}
            row = create_trial(
                state=OptunaState.RUNNING, params=params, distributions=distributions, system_attrs=trial.notes
            )
            self._shown.study.add_trial(row)
        rows = self._shown.rows()
        for trial, row in zip(trials[self._with_parameters :], rows[self._with_parameters :], strict=True):
            row.params = self.space.by_key(trial.parameters)  # what is trained, not what was proposed
        self._with_parameters = len(trials)

    def _show_scores(self, trials: Sequence[TrialRecord]) -> None:
        """Shows expected values; none for running trials.

        Trials that failed because of their configuration are shown below the worst score, by the range of all scores.
        """
        estimates = standing(self.space, self.plan, trials).expected
        scores = [estimates[t.number] for t in trials if t.number in estimates and t.state is not TrialState.FAILED]
        worst, best = min(scores, default=0.0), max(scores, default=0.0)
        bad = worst - (best - worst or worst)
        for trial, row in zip(trials, self._shown.rows(), strict=True):
            if trial.state is TrialState.FAILED and trial.cause is not None and trial.cause.shows_bad_region:
                row.state, row.values = OptunaState.COMPLETE, [bad, *trial.costs.values()]
            elif trial.state is TrialState.FAILED or (trial.state is TrialState.PRUNED and trial.score is None):
                row.state = OptunaState.FAIL
            elif trial.score is not None:
                row.state, row.values = OptunaState.COMPLETE, [estimates[trial.number], *trial.costs.values()]


def suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    """Optuna's proposal for a parameter."""
    key, low, high, log = parameter.key, parameter.low, parameter.high, parameter.log
    match parameter.kind:
        case "categorical":
            return trial.suggest_categorical(key, parameter.choices)
        case "int":
            return trial.suggest_int(key, int(low), int(high), step=int(parameter.step or 1), log=log)
        case "float":
            return trial.suggest_float(key, low, high, step=parameter.step, log=log)
        case _ as other:
            assert_never(other)
