"""The verdict: what can be said of the winner, in a sentence.

verdict(study, found, compared, winner=0, default=1, own_sd=0.01)
# "winner: trial 7, val_mAP 0.412 expected over seeds (90% interval 0.398 to 0.426); better than the default …"
"""

import numpy as np
from scipy import stats

from data.system.wording import counted, show_value
from tuning.confirm.candidates import LEVEL, Candidate, Comparison
from tuning.record.study import Study

TOLD_APART = 0.975
"""Probability from which one is called better than another: the 95 % interval of their difference leaves 0 out."""

OUTCOMES = {
    "better than the default": "better than the default",
    "it cannot be told from the default": "not distinguishable from the default",
    "worse than the default": "worse than the default",
    "whether that is more than luck cannot be told": "may be luck",
    "nothing that was found is expected to be better": "the default itself",
}
"""What a verdict's sentence says of winner and default, and that in a few words."""


def outcome_of(sentence: str) -> str | None:
    """What a verdict says of the winner against the default, in a few words; None where it could not compare them."""
    return next((short for said, short in OUTCOMES.items() if f"; {said}" in sentence), None)


def verdict(
    study: Study, found: list[Candidate], compared: Comparison, *, winner: int, default: int, own_sd: float
) -> str:
    """A sentence about the candidate `winner`, and how it compares with the candidate `default`.

    `own_sd` is how much their difference may be another on other validation identities.
    """
    said = f"winner: {found[winner].of}, {_expected(study, compared, winner)}{_among(found, compared, winner)}"
    if winner == default:
        others = any(one.runs for place, one in enumerate(found) if place != default)
        return f"{said}; nothing that was found is expected to be better" if others else said
    if (trained := _longest_of_default(study, found[default])) == 0:
        return f"{said}; the default was never trained, so that the two cannot be compared"
    above = float(compared.mean_C[winner] - compared.mean_C[default])
    sd = float(np.hypot(compared.sd_of_difference(winner, default), own_sd))
    half = float(stats.norm.ppf(TOLD_APART)) * sd
    difference = f"by {_signed(above)} (95% interval {_signed(above - half)} to {_signed(above + half)})"
    for name, cost in found[winner].costs.items():
        if cost != found[default].costs[name]:
            difference += f", {name} {show_value(cost)} instead of {show_value(found[default].costs[name])}"
    if not found[default].runs:
        difference += f"; the default was trained for {counted(trained, 'epoch')} alone"
    if not compared.tells_noise:
        return (
            f"{said}; it differs from the default {difference}; whether that is more than luck cannot be told: no "
            "configuration was trained twice, and there are few scores"
        )
    better = float(stats.norm.cdf(above / sd))
    if better <= 1 - TOLD_APART:
        return f"{said}; worse than the default {difference}"
    if better < TOLD_APART:
        return f"{said}; it cannot be told from the default, from which it differs {difference}"
    return f"{said}; better than the default {difference}"


def _expected(study: Study, compared: Comparison, winner: int) -> str:
    low, high = compared.interval(winner)
    said = f"{study.space.study.metric} {compared.mean_C[winner]:.3f} expected over seeds"
    said += f" ({LEVEL:.0%} interval {low:.3f} to {high:.3f})"
    reached, rungs = max(trial.rung for trial in study.trials()), study.plan.rungs
    return f"{said} after {reached} of {rungs[-1]} epochs" if rungs and reached < rungs[-1] else said


def _among(found: list[Candidate], compared: Comparison, winner: int) -> str:
    """How sure the choice is."""
    count = sum(one.eligible and bool(one.runs) for one in found)
    if count == 1:
        return ", the only one that was trained so long"
    if not compared.tells_noise:
        return f", chosen from {count}"
    return f", the best of {count} that were trained so long with probability {compared.p_best_C[winner]:.2f}"


def _longest_of_default(study: Study, default: Candidate) -> int:
    """Epochs of the default's longest schedule; 0 where it had none."""
    own = [trial.rung for trial in study.trials() if study.space.is_default(trial.parameters)]
    top = study.plan.rungs[-1] if study.plan.rungs else 1
    return max([*own, top if default.runs else 0])


def _signed(difference: float) -> str:
    return f"{round(difference, 3) + 0.0:+.3f}"  # no -0.000
