"""Refuses to go on with a study when what its scores depend on has changed.

That is the space, which tuning/record/study.py compares, and here the training images, the validation split, the code
that trains, and the weights of teachers and those that trials start from.

check_unchanged(study, fingerprint(samples), describe_split(data))  # a UserError says what is another now
"""

import shlex
from collections.abc import Mapping
from typing import NamedTuple, cast

from data.system.errors import UserError
from tuning.record import training_code
from tuning.record.facts import Facts
from tuning.record.old_studies import CODE_WITH_THE_SAME_NUMBERS
from tuning.record.study import Study

NAMES = {
    "data_fingerprint": "the training images' fingerprint",
    "validation_split": "the validation split",
    "training_code": "the code that trains",
    "teachers": "the teacher's weights",
    "starting_weights": "the file of weights that training starts from",
}
"""What belongs to a study beside its space, by the name among its Facts."""


class Change(NamedTuple):
    """Something that is not what it was when the study began."""

    name: str
    """One of NAMES."""
    was: str
    now: str

    def __str__(self) -> str:
        return f"{NAMES[self.name]} was {_short(self.was)}, is now {_short(self.now)}"


def check_unchanged(
    study: Study,
    data_fingerprint: str,
    validation_split: str,
    teachers: str | None = None,
    starting_weights: str | None = None,
    *,
    trains: bool = True,
) -> None:
    """Records what the study's scores depend on; raises UserError that names what has changed since it began.

    `trains`: whether anything is left to train; else the code may be another.
    """
    now = {"data_fingerprint": data_fingerprint, "validation_split": validation_split}
    now["training_code"] = training_code.digest()
    of_weights = {"teachers": teachers, "starting_weights": starting_weights}
    now |= {name: digest for name, digest in of_weights.items() if digest is not None}
    recorded = _recorded(study, now)
    changes = [Change(name, recorded[name], value) for name, value in now.items() if recorded[name] != value]
    changes = [change for change in changes if trains or change.name != "training_code"]
    if changes:
        commit = " (environment.json has the commit)" if any(c.name == "training_code" for c in changes) else ""
        raise UserError(
            f"{study.folder}: its trials would not compare with new ones: {'; '.join(map(str, changes))}; "
            f"restore that{commit}, choose another --name (--warm-start {shlex.quote(str(study.folder))} takes its "
            "best along), or remove the folder"
        )
    study.note(**cast(Facts, {name: value for name, value in now.items() if name not in study.facts}))


def _recorded(study: Study, now: Mapping[str, str]) -> dict[str, str]:
    """What the study began with. What is not on record counts as unchanged while the study has no trial."""
    unknown = dict.fromkeys(now, "not recorded") if study.trials() else dict(now)
    facts = cast(dict[str, str], study.facts)
    recorded = {name: facts.get(name, unknown[name]) for name in now}
    if "training_code" not in facts and "code" in facts:
        same = facts["code"] == CODE_WITH_THE_SAME_NUMBERS
        recorded["training_code"] = now["training_code"] if same else facts["code"]
    return recorded


def _short(value: str) -> str:
    """A digest's first digits; other texts as they are."""
    return value[:12] if len(value) == 64 else value
