"""The batches that a space may ask for: pairs of batch_size and images_per_identity that can be trained.

Not every batch_size is a multiple of every images_per_identity, and small data has too few identities for some pairs.
A pair that cannot be trained is never proposed: the nearest that can be takes its place.

    nearest_trainable(space, batch_size, 30, {"images_per_identity": 4})  # 32: 30 is no multiple of 4
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from data.sets.splits import TrainingData
from data.system.errors import UserError
from data.system.wording import counted
from reid_train.settings.config import check_fit, fit_defaults
from tuning.space.parameter import Parameter
from tuning.space.plan import Plan
from tuning.space.space import BATCH, Batch, SearchSpace


def batch_combinations(space: SearchSpace) -> list[Batch]:
    """Every pair of batch_size and images_per_identity that the space may ask for, those nearest the default first."""
    sizes, images = (
        sorted(
            {value for values in space.reach(name) for value in values},
            key=lambda value: _distance(space.settings[name], value),
        )
        for name in BATCH
    )
    return list(itertools.product(sizes, images))


def nearest_trainable(space: SearchSpace, parameter: Parameter, value: Any, chosen: Mapping[str, Any]) -> Any:
    """The value, or where it makes no batch that can be trained, the nearest one that does.

    `chosen` has the values of the parameters before this one. Such a value always exists: a space that may
    leave none is refused when it is read.
    """
    if parameter.name not in BATCH:
        return value
    following = space.parameters[space.parameters.index(parameter) + 1 :]
    nearest = sorted(parameter.values(), key=lambda other: _distance(value, other))
    return next(other for other in nearest if _leads_to_batch(space, {**chosen, parameter.name: other}, following))


def has_batches(space: SearchSpace) -> bool:
    """Whether a batch that can be trained exists whatever is chosen for the other parameters."""
    return _leads_to_batch(space, {}, space.parameters)


def _leads_to_batch(space: SearchSpace, chosen: Mapping[str, Any], following: Sequence[Parameter]) -> bool:
    """Whether the BATCH parameters among `following` can make a batch that can be trained, whatever the others are."""
    known, deciding = {**space.settings, **chosen}, space.deciding(BATCH)
    for place, parameter in enumerate(following):
        if parameter.name in deciding and parameter.applies(known):
            rest = following[place + 1 :]
            values = parameter.values() if parameter.name in BATCH else _told_apart(space, parameter)
            ways = (_leads_to_batch(space, {**chosen, parameter.name: value}, rest) for value in values)
            return any(ways) if parameter.name in BATCH else all(ways)
    return (known[BATCH[0]], known[BATCH[1]]) in space.batches


def _told_apart(space: SearchSpace, parameter: Parameter) -> list[Any]:
    """One value of each group that the conditions treat alike: the range itself may hold billions of values."""
    conditions = [allowed for p in space.parameters for name, allowed in p.when if name == parameter.name]
    named = [value for allowed in conditions for value in allowed if parameter.contains(value)]
    middle = (parameter.low + parameter.high) / 2
    all_values = {
        "categorical": parameter.choices,
        "int": range(int(parameter.low), int(parameter.high) + 1, int(parameter.step or 1)),
        "float": (parameter.low, middle, parameter.high),
    }[parameter.kind]
    other = [value for value in itertools.islice(all_values, len(named) + 1) if value not in named][:1]
    return list({tuple(value in allowed for allowed in conditions): value for value in [*named, *other]}.values())


def _distance(value: Any, other: Any) -> float:
    """How far apart two values of a BATCH setting are; null is infinitely far from every number."""
    if value == other:
        return 0.0
    return math.inf if value is None or other is None else abs(math.log(value / other))


def fit_to_data(space: SearchSpace, data: TrainingData) -> tuple[SearchSpace, str | None]:
    """The space with the batches that can be trained on this data, and a line about those that cannot, if any.

    A batch needs enough identities for P x K, and enough steps for a warm-up in the shortest schedule. Raises UserError
    where no batch is left.
    """
    images, identities = len(data.train), len({sample.identity for sample in data.train})
    space, said = _with_fitting_default(space, data)
    longest = space.base_config().changed(num_epochs=space.smallest("num_epochs"))
    epochs = min(schedule.num_epochs for schedule in Plan.of(space.study).schedules_of(longest))
    given = {"pct_start": space.smallest("pct_start")} if "pct_start" in {*space.fixed, *space.searched} else {}
    shortest = longest.changed(num_epochs=epochs, **given)
    fitting, problems = [], list[UserError]()
    for batch in space.batches:
        try:
            config, adapted = fit_defaults(shortest.changed(**dict(zip(BATCH, batch, strict=True))), data)
            check_fit(config, images, identities)
            fitting.append(batch)
            said = said or [f"{line} in the shortest schedule" for line in adapted]
        except UserError as error:
            problems.append(error)
    fitted, where = replace(space, batches=tuple(fitting)), _place_of(space, problems)
    if not has_batches(fitted):
        held_out = len({sample.identity for sample in data.gallery})
        schedule = f"the shortest schedule has {counted(epochs, 'epoch')}"
        raise UserError(f"{where}: {problems[0]} ({schedule}, {held_out} identities are held out for validation)")
    every = len(batch_combinations(space))
    if len(fitting) == every:
        return fitted, f"note: {'; '.join(said)}" if said else None
    why = f" ({problems[0]})" if problems else ""
    left_out = f"{every - len(fitting)} of {every} combinations of batch_size and images_per_identity cannot be trained"
    return fitted, f"note: {where}: {left_out}{why}; the nearest that can be is trained in its place"


def _with_fitting_default(space: SearchSpace, data: TrainingData) -> tuple[SearchSpace, list[str]]:
    """The space with another default of images_per_identity, and a line about it, where the batch is nowhere set and
    the data has too few identities for the default."""
    if {*BATCH} & {*space.fixed, *space.searched}:
        return space, []
    config, said = fit_defaults(space.base_config().changed(pct_start=0.5), data)
    if not said:
        return space, []
    k = config.images_per_identity
    return replace(space, fixed={**space.fixed, BATCH[1]: k}, batches=((config.batch_size, k),)), said


def _place_of(space: SearchSpace, problems: Sequence[UserError]) -> str:
    """File and line of the setting that the first problem is about, or of a searched one of BATCH."""
    lines = space.source.lines
    searched = [name for name in BATCH if ("search", name) in lines]
    setting = (problems[0].setting if problems else None) or (searched[-1] if searched else BATCH[0])
    if setting in space.source.assigned:
        return f"--set {setting}"
    return space.source.at("search" if ("search", setting) in lines else "fixed", setting)
