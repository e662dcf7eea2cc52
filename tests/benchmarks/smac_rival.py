"""SMAC3's multi-fidelity facade under the benchmark's clock, by its own ask and tell.

Hyperband with random forests, eta 3, from the second-last rung to the top; each budget is a complete schedule. What is
handed over is its own incumbent. Parameters have the keys of Optuna's record; a choice is named by its place, since
ConfigSpace does not take choices of several types.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.simulation import Part, whole
from tests.benchmarks.truth import Task
from tuning.space.batches import nearest_trainable
from tuning.space.parameter import Parameter
from tuning.space.space import SearchSpace

TRIALS_PER_LENGTH = 1.5
"""Six trials of a round of Hyperband cost four full lengths; the facade takes a quarter of all trials as its start."""


class Smac:
    """The search."""

    def __init__(self, task: Task, seed: int, budget: float, workers: int):
        from smac import MultiFidelityFacade, Scenario

        self._task, self._keys = task, {parameter.key: parameter for parameter in task.space.parameters}
        self._parameters = dict[Any, dict[str, Any]]()
        self._folder = tempfile.TemporaryDirectory(prefix="equal-budget-smac-")
        scenario = Scenario(
            config_space(task.space, seed),
            output_directory=Path(self._folder.name),
            n_trials=max(round(TRIALS_PER_LENGTH * budget), workers),
            min_budget=task.table.rungs[-2],
            max_budget=task.table.rungs[-1],
            use_default_config=True,
            seed=seed,
        )
        self._smac = MultiFidelityFacade(
            scenario, None, initial_design=default_first(scenario), logging_level=False, overwrite=True
        )

    def next_part(self, left: float) -> Part | None:
        try:
            asked = self._smac.ask()
        except StopIteration:
            return None
        parameters = self._parameters.setdefault(asked.config, trainable(self._task.space, dict(asked.config)))
        return whole(parameters, str(round(asked.budget or 0)), asked)

    def tell(self, part: Part) -> None:
        from smac.runhistory import TrialValue

        self._smac.tell(part.about, TrialValue(cost=1 - part.score), save=False)

    def choice(self) -> Mapping[str, Any] | None:
        incumbents = self._smac.intensifier.get_incumbents()
        return self._parameters[incumbents[0]] if incumbents else None


def default_first(scenario: Any) -> Any:
    """The facade's initial design, but with the default before the random configurations, as all methods begin."""
    from smac import MultiFidelityFacade
    from smac.initial_design import RandomInitialDesign

    class DefaultFirst(RandomInitialDesign):
        def select_configurations(self) -> list[Any]:
            *drawn, default = super().select_configurations()
            return [default, *drawn]

    usual = MultiFidelityFacade.get_initial_design(scenario)
    return DefaultFirst(scenario, n_configs_per_hyperparameter=usual._n_configs_per_hyperparameter, max_ratio=0.25)


def trainable(space: SearchSpace, values: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that ConfigSpace's values stand for, with a batch that can be trained."""
    chosen: dict[str, Any] = {}
    for parameter in space.parameters:
        if parameter.applies({**space.settings, **chosen}):
            value = values.get(parameter.key)
            if value is None:  # the batch that another one gave way to had no value for it
                value = parameter.values()[0]
            elif parameter.kind == "categorical":
                value = parameter.choices[int(value)]
            else:
                (value,) = parameter.nearest(float(value))
            chosen[parameter.name] = nearest_trainable(space, parameter, value, chosen)
    return chosen


def config_space(space: SearchSpace, seed: int) -> Any:
    """The space as ConfigSpace has it; what no searched setting lets apply is left out."""
    from ConfigSpace import AndConjunction, ConfigurationSpace, InCondition

    default, found = space.default, ConfigurationSpace(seed=seed)
    for parameter in space.parameters:
        fixed = {name: allowed for name, allowed in parameter.when if name not in space.searched}
        if any(space.settings[name] not in allowed for name, allowed in fixed.items()):
            continue
        found.add(_hyperparameter(parameter, default.get(parameter.name)))
        conditions = []
        for name, allowed in parameter.when:
            if name in fixed:
                continue
            (other,) = (p for p in space.parameters if p.name == name)  # a condition on a setting of one range
            values = [_label(other, value) for value in allowed if other.contains(value)]
            conditions.append(InCondition(found[parameter.key], found[other.key], values))
        if len(conditions) > 1:
            found.add(AndConjunction(*conditions))
        elif conditions:
            found.add(conditions[0])
    return found


def _label(parameter: Parameter, value: Any) -> Any:
    """How ConfigSpace has a value."""
    if parameter.kind != "categorical":
        return value
    return next(str(n) for n, c in enumerate(parameter.choices) if c == value and type(c) is type(value))


def _hyperparameter(parameter: Parameter, default: Any) -> Any:
    from ConfigSpace import CategoricalHyperparameter, UniformFloatHyperparameter, UniformIntegerHyperparameter

    if default is None or not parameter.contains(default):
        default = None
    elif parameter.kind == "categorical":
        default = _label(parameter, default)
    if parameter.kind == "categorical":
        places = [str(place) for place in range(len(parameter.choices))]
        return CategoricalHyperparameter(parameter.key, places, default_value=default)
    kind = {"int": UniformIntegerHyperparameter, "float": UniformFloatHyperparameter}[parameter.kind]
    return kind(parameter.key, parameter.low, parameter.high, log=parameter.log, default_value=default)
