"""Trains a study's best configuration on the whole training folder, with several seeds, and evaluates each.

python -m tuning.retrain results/NAME [--epochs N] [--seeds K]

With --ablation instead: what each of its settings is worth, on the validation identities (tuning/result/ablation.py).
"""

import argparse
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from data.system.errors import UserError, exit_on_user_error
from data.system.options import add_cache_options, add_image_options, cache_options, image_options


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tuning.retrain",
        description="Trains the best configuration on all training identities, those of validation included; an image "
        "of each is kept out for the accuracy curve. Every seed's model is evaluated on query and gallery and none is "
        "selected. The same command goes on where an interrupted one stopped.",
    )
    parser.add_argument("study", metavar="results/NAME", help="the study's folder")
    parser.add_argument("--epochs", type=int, metavar="N", help="length of the schedule; default: the best trial's")
    parser.add_argument("--seeds", type=int, default=1, metavar="K", help="runs, with seeds 0 to K - 1; default: 1")
    parser.add_argument(
        "--ablation",
        action="store_true",
        help="trains from the default to the best configuration instead, one parameter at a time, validated as the "
        "trials were; query and gallery are not read",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="default: the study's")
    parser.add_argument(
        "--teacher", metavar="DIR", help="one that was trained on all training images, too; default: the study's"
    )
    add_image_options(parser, "default: the study's")
    add_cache_options(parser)
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    from reid_train.config import check_training, read_config
    from reid_train.evaluation_count import DATABASE

    study = Path(arguments.study)
    if not (study / DATABASE).is_file():
        raise UserError(f"{study}: holds no study ({DATABASE} is missing); give a search's folder, results/NAME")
    if not (study / "best_config.yaml").is_file():
        raise UserError(
            f"{study}: holds no best_config.yaml; finish its search first: `tuning.report {study}` names the command"
        )
    if arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds}: at least 1")
    if arguments.epochs is not None and arguments.epochs < 1:
        raise UserError(f"--epochs {arguments.epochs}: at least 1")
    changes = [f"num_epochs={arguments.epochs}"] if arguments.epochs is not None else []
    changes += [f"data_dir={json.dumps(arguments.data_dir)}"] if arguments.data_dir is not None else []
    changes += [f"teacher={json.dumps(arguments.teacher)}"] if arguments.teacher is not None else []
    changes += [f"{name}={value}" for name, value in image_options(arguments).items()]
    from tuning.record.lock import lock_folder

    lock = lock_folder(study / ("ablation" if arguments.ablation else "retrain"), "retraining")
    if arguments.ablation:
        from tuning.result.ablation import ablate

        ablate(study, read_config(str(study / "best_config.yaml"), changes), arguments.seeds, cache_options(arguments))
        lock.release()
        return
    config = read_config(str(study / "best_config.yaml"), [*changes, "holdout_images_per_identity=1"])

    from data.pixels.bad_images import describe_left_out, usable_test, usable_train
    from data.pixels.cache import open_pixels
    from data.sets.splits import TrainingData, hold_out_images
    from data.system.files import write_text
    from data.system.wording import counted
    from reid_train.run_folder import log_to, train_into
    from reid_train.teacher import load_teacher
    from tuning.record.study import Study
    from tuning.result.conclude import summary_text

    samples, left_out = usable_train(**config.images, cache_dir=arguments.cache_dir)
    query, gallery, test_left_out = usable_test(**config.images, cache_dir=arguments.cache_dir)
    for line in filter(None, (describe_left_out(left_out, "training"), describe_left_out(test_left_out, "test"))):
        print(line, flush=True)
    data = hold_out_images(TrainingData(samples, [], []), seed=config.split_seed)
    try:
        check_training(config, data)
    except UserError as error:
        raise UserError(f"--epochs {config.num_epochs}: {error}") from error
    try:
        load_teacher(config, data)
    except UserError as error:
        raise UserError(f"{error}; or name one that has learned all identities: --teacher DIR") from error
    pixels = open_pixels(samples, height=config.image_height, width=config.image_width, **cache_options(arguments))
    # The test images too, so that a bad one is found before training and not after it.
    open_pixels([*query, *gallery], height=pixels.height, width=pixels.width, **cache_options(arguments))
    log_to(study / "retrain" / "retrain.log")
    figures = []
    for seed in range(arguments.seeds):
        folder = study / "retrain" / f"{config.num_epochs}-epochs-seed-{seed}"
        print(f"seed {seed}, {counted(config.num_epochs, 'epoch')}, {len(data.train)} images: {folder}", flush=True)
        train_into(config.changed(seed=seed), data, pixels, folder)
        figures.append({"seed": seed, **test_metrics(folder, query, gallery, arguments.cache_dir)})
    write_results(study / "retrain", config.num_epochs, figures)
    write_text(study / "summary.md", summary_text(Study(study)))  # it tells how often was evaluated
    lock.release()


def test_metrics(folder: Path, query: Any, gallery: Any, cache_dir: Path | None) -> dict[str, Any]:
    """The test metrics of one run, evaluated once, counted by its study and kept in its folder."""
    from data.system.files import read_json, write_json
    from reid_train.checkpoint_scores import evaluate_checkpoint
    from reid_train.evaluation_count import record_evaluation, study_of
    from reid_train.measure.scores import summary

    file = folder / "test_metrics.json"
    with suppress(FileNotFoundError, UserError):  # a damaged one is measured again, and counted
        figures: dict[str, Any] = read_json(file)
        return figures
    metrics: dict[str, Any] = summary(evaluate_checkpoint(folder, query, gallery, cache_dir=cache_dir))
    if study := study_of(folder):
        record_evaluation(study, f"retrain, {folder.name}")
    write_json(file, metrics)
    return metrics


SHORT = {"mAP_trapezoid": "mAP (trapezoid)", "rank1": "rank 1", "rank5": "rank 5", "rank10": "rank 10"}
"""Headings of the metrics' columns, where they are not the names themselves."""


def write_results(folder: Path, epochs: int, figures: list[dict[str, Any]]) -> None:
    """Writes and prints the table of all seeds with mean and standard deviation; no seed is selected."""
    import pandas as pd

    from data.system.files import replacing, write_text
    from data.system.wording import counted, open_console
    from reid_train.measure.scores import COUNTS, LABELS
    from tuning.result.tables import markdown_table, plain_table

    frame = pd.DataFrame(figures).drop(columns="intervals", errors="ignore")
    with replacing(folder / "results.csv") as temporary:
        frame.to_csv(temporary, index=False)
    metrics = [name for name in LABELS if name not in COUNTS]
    header = ["seed", *(SHORT.get(name, name) for name in metrics)]
    rows = [[str(row["seed"]), *(f"{row[name]:.2%}" for name in metrics)] for row in figures]
    if len(frame) > 1:
        spread = (f"{frame[name].mean():.2%} ± {frame[name].std():.2%}" for name in metrics)
        rows.append(["mean ± sd", *spread])
    title = f"retrained for {counted(epochs, 'epoch')} on all training identities, tested on query/gallery"
    open_console().print(plain_table(title, header, rows))
    write_text(folder / "summary.md", f"# {title}\n\n{markdown_table(header, rows)}\n")
    print(f"checkpoints, histories and results.csv are in {folder}")


if __name__ == "__main__":
    main()
