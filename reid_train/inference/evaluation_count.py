"""Counts the evaluations on a study's test images: each one makes the next figure a little less honest.

    record_evaluation(study, "retrain, seed 0")
    describe_count(read_test_metrics(study)["evaluations"])  # "evaluated once for this study (retrain)"

The list `evaluations` in the study's test_metrics.json tells what each was for, and when. `reid_train.evaluate` and
`reid_train.query` count too when their checkpoint lies in a study's folder: that is why this is not in tuning/. Images
of another data set are no look at the study's own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.pixels.digests import content_digests
from data.sets.readers import read_test
from data.system.errors import UserError
from data.system.files import lock_at, read_json, write_json
from reid_train.settings.config import read_config

DATABASE = "study.db"
"""The file that makes a folder a study's."""
TEST_METRICS = "test_metrics.json"
BEST_CONFIG = "best_config.yaml"
"""The winner's settings in a study's folder, which say where its images are."""


def study_tested_on(checkpoint: str | Path, images: Sequence[str], cache_dir: Path | None = None) -> Path | None:
    """The folder of the study in which a checkpoint lies, if one of the images is among its test images or that cannot
    be told; None otherwise. `cache_dir` remembers digests of files."""
    study = study_above(checkpoint)
    return study if study is not None and images and _shows_own_test(study, images, cache_dir) else None


def study_above(folder: str | Path) -> Path | None:
    """The study in whose folder something lies; None where it lies in none."""
    place = Path(folder).resolve()
    return next((above for above in (place, *place.parents) if (above / DATABASE).is_file()), None)


def _shows_own_test(study: Path, paths: Sequence[str], cache_dir: Path | None) -> bool:
    """By what the files hold, wherever they lie."""
    try:
        config = read_config(str(study / BEST_CONFIG))
        query, gallery = read_test(**{name: value for name, value in config.images.items() if name != "on_bad_image"})
        own = content_digests([sample.path for sample in (*query, *gallery)], cache_dir=cache_dir)
        return not set(own).isdisjoint(content_digests(paths, cache_dir=cache_dir))
    except UserError:
        return True


def read_test_metrics(study: Path) -> dict[str, Any]:
    """What is recorded about the study's test images; empty before the first evaluation. Raises UserError for a damaged
    file, since a new one would begin to count anew."""
    file = study / TEST_METRICS
    recorded: dict[str, Any] = read_json(file) if file.is_file() else {}
    if "mAP" in recorded:  # written before evaluations were counted
        recorded.setdefault("evaluations", [{"for": "search's end"}])
    return recorded


def record_evaluation(study: Path, purpose: str | None, figures: Mapping[str, Any] | None = None) -> None:
    """Adds an evaluation to the study's count; to be called before its figures are shown or written.

    `purpose` says what it was for: the kind, a comma, which one ("retrain, seed 0"). None, for an evaluation that
    failed, counts nothing. `figures` replace the winner's recorded ones. Raises UserError when the file cannot be
    written.
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
