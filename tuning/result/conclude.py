"""What follows the trials: the winner's weights, its evaluation on the test images, tables, plots, the summary.

conclude(study, record, data, pixels, cache={"cache_dir": None, "limit_bytes": None})
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml

from data.pixels.bad_images import usable_test_sets
from data.pixels.cache import Pixels
from data.sets.readers import find_reader
from data.sets.splits import TrainingData
from data.system.errors import UserError, printable
from data.system.files import read_json, write_json, write_text
from data.system.limits import usable_cpus
from data.system.wording import open_console
from reid_train.checkpoints.checkpoint import build_model
from reid_train.checkpoints.pretrained import load_pretrained
from reid_train.errors import ERRORS
from reid_train.inference.checkpoint_errors import errors_on_validation
from reid_train.inference.checkpoint_scores import evaluate_tests
from reid_train.inference.embedder import load_model
from reid_train.inference.evaluation_count import TEST_METRICS, read_test_metrics, record_evaluation
from reid_train.inference.threshold import threshold_file, write_threshold
from reid_train.model.device import choose_device
from reid_train.training.inputs import Pictures
from reid_train.training.validation import validate
from tuning.confirm.winner import Winner, confirm
from tuning.decide.pareto import best_trials
from tuning.record.folders import BEST, BEST_CONFIG, BEST_LABEL
from tuning.record.job import WEIGHTS_IN
from tuning.record.study import Study
from tuning.result.best import drop_repeats, keep_best
from tuning.result.summary import print_results, write_results
from tuning.space.space import names_a_file


def conclude(study: Study, record: Study, data: TrainingData, pixels: Pixels, cache: dict[str, Any]) -> None:
    """Writes all that a finished search leaves and prints it. Steps that are done already are not done again.

    `record` is that of the repeats; `cache` says how decoded pixels are kept, as to `open_pixels`.
    """
    if not best_trials(study):
        write_results(study)  # the causes are on record there
        raise_causes(study)
    best = confirm(study, record, data, pixels)
    write_json(study.folder / "untrained.json", untrained_metrics(study, data, pixels))
    write_best_config(study, best)
    keep_best(study.folder, best)
    drop_repeats(study, record)
    write_errors(study, data, pixels)
    test_once(study, **cache)
    write_results(study)
    print_results(study, open_console())


def raise_causes(study: Study) -> NoReturn:
    """Raises UserError that tells why no trial completed a schedule."""
    trials = study.trials()
    causes = sorted({str(trial.cause) for trial in trials if trial.cause is not None})
    raise UserError(
        f"{study.folder}: none of {len(trials)} trials completed a schedule"
        + (f"; causes: {'; '.join(causes[:3])}" if causes else "; raise --time-budget, --epochs or --trials")
    )


def write_best_config(study: Study, best: Winner) -> None:
    """Writes best_config.yaml: all settings of the winner, as reid_train.train takes them, but for a default
    that adapts to the length of the schedule."""
    values = best.config.model_dump(mode="json", exclude={"pct_start"} - best.config.model_fields_set)
    text = yaml.safe_dump(values, sort_keys=False)
    begin = f"# {best.of} of {study.folder.name}\n"
    paths = [name for name in ("data_dir", *WEIGHTS_IN) if is_relative(name, values[name])]
    if paths:
        begin += printable(f"# {', '.join(paths)}: counted from {Path.cwd()}") + "\n"
    write_text(study.folder / BEST_CONFIG, f"{begin}{text}")


def is_relative(setting: str, value: str | None) -> bool:
    """Whether the value of a setting is a path that means something else in another folder."""
    named = value is not None and (setting == "data_dir" or names_a_file(value))
    return named and not os.path.isabs(os.path.expanduser(str(value)))  # noqa: PTH111, PTH117 - Path's may raise


def test_once(study: Study, *, cache_dir: Path | None, limit_bytes: int | None = None) -> None:
    """Evaluates best/ on query and gallery, unless that was done or --no-test is given; writes and counts it in
    test_metrics.json.

    Where several drivers share a study, one does it for all.
    """
    best = read_json(study.folder / BEST / BEST_LABEL)
    recorded = read_test_metrics(study.folder)
    if "mAP" in recorded and recorded.get("best") == best:
        return
    if study.facts.get("test_left_alone"):
        if "mAP" in recorded:  # they are of an earlier winner
            record_evaluation(study.folder, None, {"best": best})
        return
    others = study.facts.get("test_metrics", {})
    if others.get("best") == best:
        write_json(study.folder / TEST_METRICS, others)
        return
    config = study.space.base_config()
    try:
        tests, left_out = usable_test_sets(**config.images, cache_dir=cache_dir)
        evaluated = evaluate_tests(
            study.folder / BEST,
            tests,
            device=config.device,
            num_threads=usable_cpus(),
            cache_dir=cache_dir,
            limit_bytes=limit_bytes,
        )
    except UserError as error:  # a missing folder or a broken image: the search is not lost for it
        record_evaluation(study.folder, None, {"best": best, "not_evaluated": str(error)})
        return
    reader, _ = find_reader(config.data_dir, config.dataset, config.name_pattern)
    left = {"images_left_out": [Path(path).name for path in left_out]} if left_out else {}
    figures = {"best": best, "dataset": reader.name, **evaluated, **left}
    record_evaluation(study.folder, f"search's end, {best['of']}", figures)
    if study.shared:
        study.note(test_metrics=read_test_metrics(study.folder))


def write_errors(study: Study, data: TrainingData, pixels: Pixels) -> None:
    """Writes errors.json, and threshold.json in best/: where the winner errs on the validation identities, and from
    which similarity on it is the same. Nothing is done where they are the winner's already."""
    started, file, best = time.monotonic(), study.folder / ERRORS, study.folder / BEST
    try:
        model = load_model(best, device=study.space.base_config().device)
        if threshold_file(best).is_file() and _weights_of(file) == model.digest:
            return
        torch.set_num_threads(usable_cpus())
        report = errors_on_validation(model, data, pixels)
        if report["threshold"] is not None:
            write_threshold(best, report["threshold"])
        write_json(file, report)
    except UserError as error:  # the search is not lost for it
        print(f"where the winner errs was not measured: {error}", flush=True)
        return
    print(
        f"where the winner errs, on the validation identities: {file} ({time.monotonic() - started:.0f} s)", flush=True
    )


def _weights_of(file: Path) -> str | None:
    """The digest of the weights that an errors.json is of."""
    with suppress(FileNotFoundError, UserError):
        recorded = read_json(file)
        return recorded.get("weights_sha256") if isinstance(recorded, dict) else None
    return None


def untrained_metrics(study: Study, data: TrainingData, pixels: Pixels) -> dict[str, float]:
    """Validation metrics of the network before training: what any score is to be compared with."""
    with suppress(FileNotFoundError, UserError):  # what is not there, or is damaged, is measured again
        recorded: dict[str, float] = read_json(study.folder / "untrained.json")
        return recorded
    config = study.space.default_config()
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = build_model(config, len({sample.identity for sample in data.train}))
    load_pretrained(model, config.pretrained)
    torch.set_num_threads(usable_cpus())
    device = choose_device(config.device)
    held_out = data._replace(holdout=())
    return validate(model.to(device), config, held_out, Pictures(pixels, device, torch.float32), {})
