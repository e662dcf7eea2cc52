"""What a budget buys: how many trials reach each rung, and the epochs and time that this takes.

`rungs: auto` chooses the lengths and the promotion rate here, once; the study keeps them.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any, NamedTuple

from data.pixels.cache import Pixels
from data.pixels.sampler import steps_per_epoch
from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.errors import UserError
from data.system.wording import clock, counted
from reid_train.config import TrainConfig
from tuning.record.causes import failure_cause
from tuning.record.study import Study
from tuning.run.climb import Mode, lengths
from tuning.space.settings import StudySettings
from tuning.space.space import SearchSpace

FEWEST_STEPS = 18
"""Optimiser steps of the shortest schedule that is chosen. Schedules of 18 to 33 steps were seen to rank, those of 6 to
11 were not (tests/benchmarks/README.md)."""
MOST_RUNGS = 3
REDUCTIONS = (2, 3, 4)
FEWEST_AT_TOP = 2
"""Trials that a chosen plan promotes to the longest schedule, the fair sample apart."""
TIME_SHARE = 0.9
"""Share of a time budget that a plan fills: the rest is for starting, evaluating and what runs longer."""
PROBE_STEPS = 4


@dataclass(frozen=True)
class Plan:
    """Rungs, and how many trials are expected at each."""

    rungs: tuple[int, ...]
    """Epochs."""
    reduction: int
    promotion: Mode
    trials: tuple[int, ...]
    """By rung."""

    @property
    def epochs(self) -> int:
        """Of all trials."""
        return sum(
            count * length for count, length in zip(self.trials, lengths(self.rungs, self.promotion), strict=True)
        )

    def promoted_to_top(self, audit: int) -> int:
        """Trials that reach the longest schedule for their scores, not as part of the fair sample."""
        return self.trials[-1] - (_audited(self.trials[0], audit) if len(self.rungs) > 1 else 0)

    def describe(self, epoch_s: float, concurrency: int) -> str:
        """One line; `epoch_s` is 0 where the pace is not known yet."""
        first, *others = zip(self.trials, self.rungs, strict=True)
        steps = [f"{counted(first[0], 'trial')} to {counted(first[1], 'epoch')}"]
        steps += [f"{count} of them to {rung}" for count, rung in others]
        trained = f"{self.epochs} epochs"
        if others:
            trained += f" instead of {self.trials[0] * self.rungs[-1]}; {self.promotion}, best 1 in {self.reduction}"
        time_s = self.epochs * epoch_s / concurrency
        time = f", about {clock(time_s)} of training at {epoch_s:.3g} s an epoch" if epoch_s else ""
        return f"plan: {', '.join(steps)} ({trained}){time}"


class Room(NamedTuple):
    """Epochs that a time budget has room for."""

    epochs: float
    """One after the other."""
    at_once: int
    """Trials side by side."""

    def holds(self, plan: Plan) -> bool:
        """Whether all of it fits, and a trial's own epochs, which follow each other."""
        return sum(lengths(plan.rungs, plan.promotion)) <= self.epochs and plan.epochs <= self.epochs * self.at_once


def make_plan(settings: StudySettings, rungs: Sequence[int], reduction: int, trials: int) -> Plan:
    """The plan that these rungs make of so many trials."""
    audited = _audited(trials, settings.audit)
    counts = [trials]
    for _ in rungs[1:]:
        counts.append(min(counts[-1], max(1, (counts[-1] - audited) // reduction) + audited))
    return Plan(tuple(rungs), reduction, settings.promotion, tuple(counts))


def plan_study(
    study: Study, settings: StudySettings, data: TrainingData, pixels: Pixels, *, probes: int, concurrency: int
) -> str | None:
    """Says what is planned; with `rungs: auto` that is chosen when the study begins, and then belongs to it.

    An epoch is timed in `probes` processes at once where that is needed; 0: the plan follows the trials alone.
    None where every trial has a length of its own.
    """
    space, budget_s = study.space, settings.time_budget
    if any(parameter.name == "num_epochs" for parameter in space.parameters):
        return None
    chosen: dict[str, Any] = study.attributes.get("plan", {})
    if space.study.rungs == "auto":
        if not chosen:
            config = space.config(space.default())
            epoch_s, room = 0.0, None
            if budget_s and probes:
                epoch_s = measure_epoch_s(config, data, pixels, probes)
                room = Room((budget_s - study.elapsed_s) * TIME_SHARE / epoch_s, concurrency)
            plan = choose_plan(settings, config.num_epochs, shortest_schedule(space, len(data.train)), room)
            chosen = {"rungs": list(plan.rungs), "reduction": plan.reduction, "epoch_s": epoch_s}
            study.set_attribute("plan", chosen)
        space = study.space = replace(space, planned=(tuple(chosen["rungs"]), chosen["reduction"]))
    plan = make_plan(settings, space.rungs(space.base_config()), space.reduction, settings.trials)
    study.set_attribute("rungs", list(plan.rungs))
    epoch_s = study.epoch_s or chosen.get("epoch_s", 0.0)
    if budget_s and epoch_s:
        plan = fitted(settings, plan, Room(budget_s * TIME_SHARE / epoch_s, concurrency)) or plan
    text = plan.describe(epoch_s, concurrency)
    return text if plan.trials[0] == settings.trials else f"{text}; no time for more of the {settings.trials} trials"


def _audited(trials: int, audit: int) -> int:
    return trials // audit if audit else 0


def choose_plan(settings: StudySettings, num_epochs: int, shortest: int, room: Room | None = None) -> Plan:
    """The plan for `rungs: auto`: the one that prunes least among those that fit.

    The longest rung has `num_epochs`, the others are a `reduction`th of the next one, `shortest` epochs at least; at
    least FEWEST_AT_TOP trials are promoted to the top. Without a `room` every plan fits, and the one with the fewest
    epochs is taken. Where none fits, the plan has fewer trials than were asked for. Raises UserError where not even
    one trial fits.
    """
    plans = [
        make_plan(settings, rungs, reduction, settings.trials)
        for rungs, reduction in _candidates(settings, num_epochs, shortest)
    ]
    plans = [plan for plan in plans if len(plan.rungs) == 1 or plan.epochs < settings.trials * num_epochs]
    # Enough climb, where that can be had at all.
    plans = [plan for plan in plans if plan.promoted_to_top(settings.audit) >= FEWEST_AT_TOP] or plans
    if room is None:
        return min(plans, key=lambda plan: plan.epochs)
    if fitting := [plan for plan in plans if room.holds(plan)]:
        return max(fitting, key=lambda plan: plan.epochs)
    for plan in sorted(plans, key=lambda plan: plan.epochs):
        if fewer := fitted(settings, plan, room):
            return fewer
    raise UserError(
        f"time budget: no trial of {num_epochs} epochs fits, there is time for {max(0.0, room.epochs):.1f} epochs; "
        "raise --time-budget, or lower num_epochs or the image size"
    )


def fitted(settings: StudySettings, plan: Plan, room: Room) -> Plan | None:
    """The plan with as many of its trials as there is room for; None where not one fits."""
    for trials in range(plan.trials[0], 0, -1):
        fewer = make_plan(settings, plan.rungs, plan.reduction, trials)
        if room.holds(fewer):
            return fewer
    return None


def _candidates(settings: StudySettings, num_epochs: int, shortest: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Rungs and reductions to choose from."""
    given = "reduction" in settings.model_fields_set
    for reduction in (settings.reduction,) if given else REDUCTIONS:
        for count in range(1, MOST_RUNGS + 1):
            rungs = tuple(round(num_epochs / reduction**power) for power in range(count - 1, -1, -1))
            if count == 1 or rungs[0] >= shortest:
                yield rungs, reduction


def shortest_schedule(space: SearchSpace, training_images: int) -> int:
    """Epochs that have FEWEST_STEPS steps with the largest batch, and a warm-up of 2 steps with the least pct_start."""
    steps = steps_per_epoch(training_images, space.largest("batch_size"))
    return math.ceil(max(FEWEST_STEPS, 2 / space.smallest("pct_start")) / steps)


def measure_epoch_s(config: TrainConfig, data: TrainingData, pixels: Pixels, concurrency: int) -> float:
    """Seconds of an epoch, from a few steps in as many processes at once as the search will have trials.

    Validation is reckoned at a third of a training step an image: it is the forward half. Raises UserError where the
    steps fail.
    """
    part = _part(config, data)
    try:
        with ProcessPoolExecutor(concurrency, mp_context=get_context("spawn")) as pool:
            probes = [pool.submit(_step_s, config, part, pixels) for _ in range(concurrency)]
            step_s = statistics.mean(probe.result() for probe in probes)
    except Exception as error:  # out of memory, say: whatever stops these steps would stop the trials
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"rungs: auto timed a few steps, which failed: {type(error).__name__}: {reason}; "
            "mend that, or give the rungs as a list"
        ) from error
    validation = (len(data.query) + len(data.gallery)) / 3 / config.batch_size
    return step_s * (steps_per_epoch(len(data.train), config.batch_size) + validation)


def warn_of_largest(space: SearchSpace, data: TrainingData, pixels: Pixels, together: int) -> str | None:
    """A line when a step of the space's largest batch, images and backbone does not fit, in so many processes at once.

    The search goes on: such trials fail with that cause, and the sampler learns to avoid them.
    """
    size, images_per_identity = max(space.batches, key=lambda pair: pair[0])
    batch: dict[str, Any] = {"batch_size": size, "images_per_identity": images_per_identity}
    height, width = max(space.image_sizes(), key=math.prod)
    layers = {name: space.largest(name) for name in ("fc_layers", "fc_width")}
    largest = {"image_height": height, "image_width": width, **layers}
    three_steps: dict[str, Any] = {"num_epochs": 3, "pct_start": 0.9}  # an epoch each; one is made
    config = space.config({**batch, **largest, "last_stride": space.smallest("last_stride"), "pretrained": "none"})
    config = config.changed(**three_steps)
    learning = {freeze for values in space.reach("freeze") for freeze in values} - {"backbone"}
    if not learning:  # a head alone, and a backbone that keeps nothing for gradients
        return None
    config = config.changed(freeze=min(learning, key=("none", config.freeze, *sorted(learning)).index))
    backbones = sorted({name for names in space.reach("backbone") for name in names})
    # As many identities as there are, and no more images than a step takes.
    ranked, seen = list[tuple[int, Sample]](), Counter[int]()
    for sample in data.train:
        seen[sample.identity] += 1
        ranked.append((seen[sample.identity], sample))
    part = TrainingData([sample for _, sample in sorted(ranked)[: config.batch_size]], [], [])
    try:
        with ProcessPoolExecutor(together, mp_context=get_context("spawn")) as pool:
            steps = [pool.submit(_step_cause, config, backbones, part, pixels) for _ in range(together)]
            cause = next(filter(None, [step.result() for step in steps]), None)
    except BrokenProcessPool:
        cause = "its process was killed, for want of memory most likely"
    if cause is None or cause.startswith("diverged"):
        return None
    setting = f"batch_size={config.batch_size} at {config.image_height} x {config.image_width}"
    at_once = f" in {counted(together, 'trial')} at once" if together > 1 else ""
    where = space.source.at("search" if ("search", "batch_size") in space.source.lines else "fixed", "batch_size")
    way_out = "lower batch_size or the image size" + (", or study.concurrency" if together > 1 else "")
    return f"warning: {where}: a step of {setting}{at_once} fails ({cause}); {way_out}: such trials will fail"


def _step_cause(config: TrainConfig, backbones: list[str], part: TrainingData, pixels: Pixels) -> str | None:
    """Why a step with the largest of the backbones fails; None when it does not."""
    import torch

    from reid_train.checkpoint import build_model
    from reid_train.loop import train_epochs

    def weights(name: str) -> int:
        with torch.device("meta"):
            return sum(
                weight.numel()
                for weight in build_model(config.changed(backbone=name), identities=1).backbone.parameters()
            )

    try:
        next(train_epochs(config.changed(backbone=max(backbones, key=weights)), part, pixels))
    except Exception as error:
        return failure_cause(error, config.batch_size)
    return None


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


def _step_s(config: TrainConfig, part: TrainingData, pixels: Pixels) -> float:
    """Seconds of a step in the second of two epochs: the first pays for what is made once."""
    from reid_train.loop import train_epochs

    probe = config.changed(num_epochs=2, pct_start=0.5)
    *_, last = train_epochs(probe, part, pixels)
    return config.batch_size / last.images_per_s
