"""Trains the winner on all training identities, with several seeds, and evaluates every one on query and gallery.

retrain(Path("results/sample"), config, seeds=3, cache={"cache_dir": None, "limit_bytes": None})
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from data.pixels.bad_images import describe_left_out, usable_test_sets, usable_train
from data.pixels.cache import open_pixels
from data.sets.protocol import TestSet, images_of
from data.sets.splits import TrainingData, hold_out_images
from data.system.errors import UserError
from data.system.files import read_json, replacing, write_json, write_text
from data.system.wording import counted, in_spreadsheet, open_console
from reid_train.inference.checkpoint_errors import keep_threshold
from reid_train.inference.checkpoint_scores import evaluate_tests
from reid_train.inference.evaluation_count import record_evaluation, study_tested_on
from reid_train.measure.scores import COUNTS, LABELS
from reid_train.settings.config import TrainConfig, check_training, fit_defaults
from reid_train.training.check import check_start
from reid_train.training.folder import log_to, train_into
from reid_train.training.teacher import load_teacher
from tuning.result.best import card_or_warning
from tuning.result.tables import markdown_table, plain_table

SHORT = {"mAP_trapezoid": "mAP (trapezoid)", "rank1": "rank 1", "rank5": "rank 5", "rank10": "rank 10"}
"""Headings of the metrics' columns, where they are not the names themselves."""


def retrain(study: Path, config: TrainConfig, seeds: int, cache: dict[str, Any]) -> None:
    """Trains `config` with seeds 0 to `seeds` - 1 in the study's retrain/, and writes and prints the table of all."""
    cache_dir = cache["cache_dir"]
    samples, left_out = usable_train(**config.images, cache_dir=cache_dir)
    tests, test_left_out = usable_test_sets(**config.images, cache_dir=cache_dir)
    for line in filter(None, (describe_left_out(left_out, "training"), describe_left_out(test_left_out, "test"))):
        print(line, flush=True)
    data = hold_out_images(TrainingData(samples, [], []), seed=config.split_seed)
    folders = [study / "retrain" / f"{config.num_epochs}-epochs-seed-{seed}" for seed in range(seeds)]
    log_to(study / "retrain" / "retrain.log")
    check(config, data)
    check_start(fit_defaults(config, data)[0], data, folders)
    pixels = open_pixels(samples, height=config.image_height, width=config.image_width, **cache)
    # The test images too, so that a bad one is found before training and not after it.
    open_pixels(images_of(tests), height=pixels.height, width=pixels.width, **cache)
    figures = []
    for seed, folder in enumerate(folders):
        print(f"seed {seed}, {counted(config.num_epochs, 'epoch')}, {len(data.train)} images: {folder}", flush=True)
        train_into(config.changed(seed=seed), data, pixels, folder)
        print(keep_threshold(folder, data, pixels), flush=True)
        figures.append({"seed": seed, **test_metrics(folder, tests, config.device, cache)})
        card_or_warning(folder)
    write_results(study / "retrain", config.num_epochs, figures)


def check(config: TrainConfig, data: TrainingData) -> None:
    """Raises UserError, which names the option at fault, for a schedule or a teacher that does not fit the data."""
    try:
        check_training(fit_defaults(config, data)[0], data)
    except UserError as error:
        raise UserError(f"--epochs {config.num_epochs}: {error}") from error
    try:
        load_teacher(config, data)
    except UserError as error:
        raise UserError(f"{error}; or name one that has learned all identities: --teacher DIR") from error


def test_metrics(folder: Path, tests: Sequence[TestSet], device: str, cache: dict[str, Any]) -> dict[str, Any]:
    """The test metrics of one run, evaluated once, counted by its study where its test images are looked at, and kept
    in its folder."""
    file = folder / "test_metrics.json"
    with suppress(FileNotFoundError, UserError):  # a damaged one is measured again, and counted
        figures: dict[str, Any] = read_json(file)
        return figures
    metrics: dict[str, Any] = evaluate_tests(folder, tests, device=device, **cache)
    tested = [image.path for image in images_of(tests)]
    if study := study_tested_on(folder, tested, cache["cache_dir"]):
        record_evaluation(study, f"retrain, {folder.name}")
    write_json(file, metrics)
    return metrics


def write_results(folder: Path, epochs: int, figures: list[dict[str, Any]]) -> None:
    """Writes and prints a table of all seeds with mean and standard deviation, for each test set; no seed is
    selected."""
    metrics = [name for name in LABELS if name not in COUNTS]
    rows = [
        {"seed": of_seed["seed"], **({"test_set": name} if name else {}), **{key: of_test[key] for key in LABELS}}
        for of_seed in figures
        for name, of_test in of_seed.get("test_sets", {"": of_seed}).items()
    ]
    frame = pd.DataFrame(rows)
    with replacing(folder / "results.csv") as temporary:
        frame.map(in_spreadsheet).to_csv(temporary, index=False)
    title = f"retrained for {counted(epochs, 'epoch')} on all training identities, tested on query/gallery"
    header, text = ["seed", *(SHORT.get(name, name) for name in metrics)], f"# {title}\n"
    for name, of_test in figures[0].get("test_sets", {"": figures[0]}).items():
        shown = frame[frame["test_set"] == name] if name else frame
        cells = [[str(row["seed"]), *(f"{row[key]:.2%}" for key in metrics)] for _, row in shown.iterrows()]
        if len(shown) > 1:
            cells.append(["mean ± sd", *(f"{shown[key].mean():.2%} ± {shown[key].std():.2%}" for key in metrics)])
        of_set = f"test set {name}" if name else ""
        open_console().print(plain_table(", ".join(filter(None, (title, of_set))), header, cells))
        protocol = f"protocol: {of_test['protocol']}" if "protocol" in of_test else ""
        open_console().print(protocol, soft_wrap=True)
        parts = (of_set and f"## {of_set}", markdown_table(header, cells), protocol)
        text += "".join(f"\n{part.rstrip()}\n" for part in parts if part)
    write_text(folder / "summary.md", text)
    print(f"checkpoints, histories and results.csv are in {folder}")
