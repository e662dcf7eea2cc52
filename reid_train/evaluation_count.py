"""Counts what was evaluated on a study's test images: every look at them makes the next figure a little less honest.

The list is `evaluations` in the study's test_metrics.json: what each was for, and when. It is kept here, and not in
tuning/, because `reid_train.evaluate` and `reid_train.query` count too when their checkpoint lies in a study's folder.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.system.errors import UserError
from data.system.files import lock_at, read_json, write_json

DATABASE = "study.db"
"""The file that makes a folder a study's."""
TEST_METRICS = "test_metrics.json"


def study_of(folder: str | Path) -> Path | None:
    """The study that a folder or file lies in: the nearest folder above it, or itself, that holds a study.db."""
    place = Path(folder).resolve()
    return next((above for above in (place, *place.parents) if (above / DATABASE).is_file()), None)


def read_test_metrics(study: Path) -> dict[str, Any]:
    """What is recorded of the study's test images; empty before the first evaluation. Raises UserError: a damaged
    file is not begun anew, for the count of evaluations would be."""
    file = study / TEST_METRICS
    recorded: dict[str, Any] = read_json(file) if file.is_file() else {}
    if "mAP" in recorded:  # written before evaluations were counted
        recorded.setdefault("evaluations", [{"for": "search's end"}])
    return recorded


def record_evaluation(study: Path, purpose: str | None, figures: Mapping[str, Any] | None = None) -> None:
    """Adds an evaluation to the study's count, to be called before its figures are shown or written.

    `purpose` is what it was for, as "retrain, seed 0": the kind, a comma, which one; None, where it failed, counts
    nothing. `figures` take the place of those recorded of the winner. Raises UserError when it cannot be written.
    """
    file = study / TEST_METRICS
    try:
        with lock_at(study / f".{TEST_METRICS}.lock"):
            recorded = read_test_metrics(study)
            evaluations = recorded.pop("evaluations", [])
            if purpose is not None:
                evaluations.append({"for": purpose, "when": datetime.now(UTC).isoformat(timespec="seconds")})
            write_json(file, {**(recorded if figures is None else figures), "evaluations": evaluations})
    except OSError as error:
        raise UserError(
            f"{file}: cannot be written, and every evaluation on the test images is counted there: {error.strerror}; "
            "copy the checkpoint out of the study's folder to evaluate it apart"
        ) from error


def describe_count(evaluations: Sequence[Mapping[str, str]]) -> str:
    """`evaluated 3 times for this study (search's end, retrain 2 times)`"""
    kinds = Counter(evaluation["for"].split(",")[0] for evaluation in evaluations)
    listed = ", ".join(kind if count == 1 else f"{kind} {count} times" for kind, count in kinds.items())
    times = "once" if len(evaluations) == 1 else f"{len(evaluations)} times"
    return f"evaluated {times} for this study ({listed})"
