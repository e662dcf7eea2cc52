"""Plans a study before its first trial, and times the steps that `rungs: auto` plans by.

plan_study(study, data, pixels, resources, timed=True)  # "plan: about 40 configurations for 12 epochs, ..."
"""

import math
import os
import statistics
from typing import Any

from data.pixels.cache import Pixels
from data.pixels.sampler import steps_per_epoch
from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.errors import UserError, in_one_line
from data.system.limits import usable_cpus
from data.system.processes import HelperDied, in_processes
from data.system.wording import clock, counted, show_value
from reid_train.settings.config import TrainConfig
from tuning.decide.budget import Purse, closing_s
from tuning.decide.forecast import FULL_LENGTHS, STEP, choose_rungs, forecast_of
from tuning.decide.sampler import describe_order, learns_from
from tuning.record.study import Study
from tuning.run.resources import Resources
from tuning.space.settings import show_duration
from tuning.space.space import SearchSpace

FEWEST_STEPS = 18
"""Optimiser steps of the shortest schedule that is chosen. Schedules of 18 to 33 steps were seen to rank, those of 6 to
11 were not (tests/benchmarks/README.md)."""
PROBE_STEPS = 4
OVERLOADED = 1.5
"""Load a CPU from which on the machine does more than this search."""


def plan_study(study: Study, data: TrainingData, pixels: Pixels, resources: Resources, *, timed: bool) -> str | None:
    """The plan in one line; None where every trial has a length of its own.

    The rungs of `rungs: auto` are chosen before the first trial, and kept. For a time budget an epoch is `timed` first,
    in as many processes at once as there will be trials; else the rungs are num_epochs and a third of it. Raises
    UserError where not even one short schedule fits the budget.
    """
    space, settings = study.space, study.space.study
    concurrency, new = resources.concurrency, not study.trials()
    if settings.time_budget and timed and new:
        config = space.default_config()
        config = config.changed(num_threads=config.num_threads or resources.cpus)
        if not resources.gpus:  # a GPU may be there that trials are not given
            config = config.changed(device="cpu")
        print("timing a few steps, to plan what the time holds ...", flush=True)
        epoch_s = measure_epoch_s(config, data, pixels, 1 if resources.gpus else concurrency)
    else:
        epoch_s = Purse(study, None).pace_s()
    chosen = settings.rungs == "auto" and not space.searches_length
    if new:
        study.note(plan={"rungs": [], "epoch_s": epoch_s})
        if chosen:
            rungs = chosen_rungs(study, len(data.train), concurrency)
            study.note(plan={"rungs": list(rungs), "epoch_s": epoch_s})
    if space.searches_length:
        return None
    purse, plan = Purse(study, None, concurrency), study.plan
    rungs = plan.rungs_of(space.base_config())
    check_room(purse, rungs[0])
    said = f"plan: {forecast_of(purse).describe()}; {describe_budget(purse)}"
    if chosen and not new and (longer := chosen_rungs(study, len(data.train), concurrency)[-1]) > rungs[-1]:
        said += f"; the schedules are those of the first budget, a study of another --name would take {longer} epochs"
    return said


def plan_answer(study: Study, data: TrainingData, at_once: int) -> dict[str, Any]:
    """What `tuning.search --plan --json` gives beside the study's folder, for a study that is planned.

    `rungs`: epochs after which trials are compared; `configurations`: about how many reach each; `repeats` of the
    best; all three null where each trial has a length of its own. `epochs`: in all, null where that is not known;
    `time_budget_s`, null without one; `epoch_s`: seconds of an epoch, null where none was timed; `at_once`: trials side
    by side; `sampler`; `searched`: names of the searched settings; `first_trials`: how many configurations come before
    the sampler's; `learns_from_trial`: the first that follows from scores, null where none does; `images`,
    `identities`: of training; `held_out`: identities of validation.
    """
    space, purse = study.space, Purse(study, None)
    planned = None if space.searches_length else forecast_of(purse)
    return {
        "rungs": planned and planned.rungs,
        "configurations": planned and planned.trials,
        "repeats": planned and planned.repeats,
        "epochs": None if math.isinf(total := purse.total()) else round(total),
        "time_budget_s": space.study.time_budget,
        "epoch_s": purse.pace_s() or None,
        "at_once": at_once,
        "sampler": space.study.sampler,
        "searched": space.searched,
        "first_trials": len(space.first),
        "learns_from_trial": learns_from(space),
        "images": len(data.train),
        "identities": len({sample.identity for sample in data.train}),
        "held_out": len({sample.identity for sample in data.gallery}),
    }


def chosen_rungs(study: Study, images: int, concurrency: int) -> tuple[int, ...]:
    """Those of `rungs: auto`."""
    space, settings = study.space, study.space.study
    num_epochs, shortest = space.default_config().num_epochs, shortest_schedule(space, images)
    if settings.trials is not None and settings.epochs is None and settings.time_budget is None:
        return choose_rungs(num_epochs, shortest, None)  # so many configurations, whatever they take
    budget, purse = float("inf"), Purse(study, None, concurrency)
    if settings.epochs is not None:
        budget = settings.epochs
    if settings.time_budget and (pace_s := purse.pace_s()):
        seconds = purse.left_s() if not study.trials() else settings.time_budget
        # One schedule after the other must end in time, too.
        longest = STEP / (STEP + 1) * seconds / pace_s
        budget = min(budget, seconds * concurrency / pace_s, FULL_LENGTHS * longest)
    return choose_rungs(num_epochs, shortest, None if budget == float("inf") else max(budget, 0.0))


def check_room(purse: Purse, shortest: int) -> None:
    """Raises UserError where the budget of a new study holds no schedule at all."""
    study, settings = purse.study, purse.settings
    if study.trials() or purse.holds(shortest):
        return
    if settings.epochs is not None and settings.epochs < shortest:
        raise UserError(f"--epochs {settings.epochs}: the shortest schedule has {shortest}; give at least that")
    pace_s = purse.pace_s()
    least_s = study.elapsed_s + closing_s(pace_s) + 1.1 * shortest * pace_s
    load, busy = os.getloadavg()[0], ""
    if load > OVERLOADED * usable_cpus():
        busy = f" (other programs are computing here, load {load:.1f}; idle, it is faster)"
    raise UserError(
        f"--time-budget {show_duration(settings.time_budget or 0)}: not even one schedule of "
        f"{counted(shortest, 'epoch')} fits, at {pace_s:.3g} s an epoch{busy}; give at least "
        f"{math.ceil(least_s / 60)}m, or take smaller images or num_epochs"
    )


def describe_budget(purse: Purse) -> str:
    """The budget in words."""
    settings, pace_s = purse.settings, purse.pace_s()
    if settings.time_budget is None:
        return f"{purse.total():.0f} epochs in all"
    return f"{clock(settings.time_budget)} in all at {pace_s:.3g} s an epoch, {purse.at_once} at once"


def default_outside(space: SearchSpace) -> list[str]:
    """A line where the default, which the winner is compared with, lies outside of what is searched."""
    outside = space.outside(space.default)
    if not outside:
        return []
    values = ", ".join(f"{name} {show_value(space.default[name])}" for name in outside)
    return [f"note: the default lies outside of what is searched: {values}; a first trial would replace it"]


def tried_first(study: Study, at_once: int) -> list[str]:
    """For a new study, in which order configurations are tried, and what there is to say of it."""
    return [] if study.trials() else [describe_order(study.space), *starts_alone(study, at_once)]


def starts_alone(study: Study, at_once: int) -> list[str]:
    """A line where first trials and warm starts are all that a new study tries, so that nothing is searched."""
    space, purse = study.space, Purse(study, None, at_once)
    holds_all = purse.most_trials not in (None, space.study.most_trials)  # there is no other configuration
    if study.trials() or space.searches_length or holds_all:
        return []
    tried = forecast_of(purse).trials[0]
    if len(space.first) < tried:
        return []
    option = "--time-budget" if space.study.time_budget else "--epochs" if space.study.epochs else "--trials"
    return [
        f"note: the default, first trials and warm starts are {len(space.first)}, and the budget holds "
        f"{counted(tried, 'configuration')}: no other is tried; raise {option}, or give fewer of them"
    ]


def shortest_schedule(space: SearchSpace, training_images: int) -> int:
    """Epochs that have FEWEST_STEPS steps with the largest batch, and a warm-up of 2 steps with the least pct_start."""
    steps = steps_per_epoch(training_images, space.largest("batch_size"))
    return math.ceil(max(FEWEST_STEPS, 2 / space.smallest("pct_start")) / steps)


def measure_epoch_s(config: TrainConfig, data: TrainingData, pixels: Pixels, concurrency: int) -> float:
    """Seconds of an epoch, from a few steps in as many processes at once as the search will have trials.

    Validation counts as a third of a training step an image: it computes no gradients. Raises UserError where the
    steps fail.
    """
    part = _part(config, data)
    try:
        step_s = statistics.mean(in_processes("tuning.prepare.probes:step_s", config, part, pixels, count=concurrency))
    except HelperDied:
        raise
    except Exception as error:  # out of memory, say: whatever stops these steps would stop the trials
        raise UserError(
            f"rungs: auto timed a few steps, which failed: {type(error).__name__}: {in_one_line(error)}; "
            "mend that, or give the rungs as a list"
        ) from error
    validation = (len(data.query) + len(data.gallery)) / 3 / config.batch_size
    return step_s * (steps_per_epoch(len(data.train), config.batch_size) + validation)


def _part(config: TrainConfig, data: TrainingData) -> TrainingData:
    """The images of a few training identities: enough for PROBE_STEPS steps."""
    part, identities = list[Sample](), set[int]()
    for sample in sorted(data.train, key=lambda sample: sample.identity):
        full = len(part) >= PROBE_STEPS * config.batch_size
        if full and sample.identity not in identities and len(identities) >= config.batch_size:
            break
        part.append(sample)
        identities.add(sample.identity)
    return TrainingData(part, [], [])
