"""Plans a study before its first trial, and times the steps that `rungs: auto` plans by.

plan_study(study, data, pixels, probes=2, concurrency=2)  # "plan: 40 trials to 12 epochs, 13 of them to 36 (...)"
"""

import math
import statistics

from data.pixels.cache import Pixels
from data.pixels.sampler import steps_per_epoch
from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.errors import UserError, in_one_line
from data.system.processes import in_processes
from reid_train.settings.config import TrainConfig
from tuning.decide.forecast import TIME_SHARE, Budget, choose_plan, fitted, forecast
from tuning.record.study import Study
from tuning.space.space import SearchSpace

FEWEST_STEPS = 18
"""Optimiser steps of the shortest schedule that is chosen. Schedules of 18 to 33 steps were seen to rank, those of 6 to
11 were not (tests/benchmarks/README.md)."""
PROBE_STEPS = 4


def plan_study(study: Study, data: TrainingData, pixels: Pixels, *, probes: int, concurrency: int) -> str | None:
    """The plan in one line; None where every trial has a length of its own.

    With `rungs: auto` the plan is chosen when the study begins, and kept. For a time budget an epoch is timed first, in
    `probes` processes at once; with 0 it is not timed, and the plan follows from the number of trials alone.
    """
    space, settings = study.space, study.space.study
    if space.searches_length:
        return None
    budget_s = settings.time_budget
    if settings.rungs == "auto" and "plan" not in study.facts:
        config = space.default_config()
        epoch_s, budget = 0.0, None
        if budget_s and probes:
            epoch_s = measure_epoch_s(config, data, pixels, probes)
            budget = Budget((budget_s - study.elapsed_s) * TIME_SHARE / epoch_s, concurrency)
        plan = choose_plan(settings, config.num_epochs, shortest_schedule(space, len(data.train)), budget).plan
        study.note(plan={"rungs": list(plan.rungs or ()), "reduction": plan.reduction, "epoch_s": epoch_s})
    plan = study.plan
    if plan.rungs is None:
        plan = plan.with_rungs(plan.rungs_of(space.base_config()))
    expected = forecast(plan, settings.trials)
    chosen = study.facts.get("plan")
    epoch_s = study.epoch_s or (chosen["epoch_s"] if chosen else 0.0)
    if budget_s and epoch_s:
        expected = fitted(expected, Budget(budget_s * TIME_SHARE / epoch_s, concurrency)) or expected
    text = expected.describe(epoch_s, concurrency)
    return (
        text if expected.trials[0] == settings.trials else f"{text}; no time for more of the {settings.trials} trials"
    )


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
